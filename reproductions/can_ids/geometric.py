"""The one door to torch_geometric, whose import warns of what PyTorch deprecates in it."""

import warnings

with warnings.catch_warnings():
    warnings.filterwarnings("ignore", message=".*torch.jit.script.* is deprecated")
    from torch_geometric.data import Batch, Data
    from torch_geometric.nn import GATConv, GATv2Conv, JumpingKnowledge, TransformerConv

__all__ = ["Batch", "Data", "GATConv", "GATv2Conv", "JumpingKnowledge", "TransformerConv"]
