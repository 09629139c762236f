"""How does it look? One file a probe, and the pictures of a run."""
