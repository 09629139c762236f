"""What a detector's scores are worth: ranking, pixel, region and threshold metrics, in NumPy and exact."""
