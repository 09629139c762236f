"""PatchCore: a memory of normal patches, thinned by greedy k-center, and distances to it."""
