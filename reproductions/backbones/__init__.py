"""Frozen backbones: any timm network by name, its weights, patch features of one width, and their shared cache."""
