"""Is the model right? Data sets, backbones and one directory a system."""
