"""Frozen backbones: any timm network by name, its weights, its patch features, and their shared cache."""
