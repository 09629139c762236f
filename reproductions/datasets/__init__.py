"""Data sets: one adapter a file, each with `open(root)`; `catalog` lists them and imports nothing heavy."""
