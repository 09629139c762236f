"""What a measured number is worth: intervals, permutation, power, similarity, spectra, normality."""
