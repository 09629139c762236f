"""Reverse distillation: a student rebuilds the maps of a frozen teacher from one narrow embedding of them."""
