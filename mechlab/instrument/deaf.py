"""Models whose hooks do not see what runs, or see it under another name: refused, with the way out."""

import torch
from torch import nn

from mechlab.errors import MechlabError

# Wrappers by the name of their type, so that none of them is imported. Hooks on what they wrap see a part.
_WRAPPERS = {
    "DataParallel": "runs copies of the model in several threads, and each copy calls the same hooks",
    "DistributedDataParallel": "averages gradients over ranks after the hooks have read this rank's own",
    "FullyShardedDataParallel": "keeps a shard of each parameter, so that no gradient has its own shape",
    "FSDPModule": "keeps a shard of each parameter, so that no gradient has its own shape",
}


def refuse_deaf(model: nn.Module) -> None:
    """Refuse scripted, compiled and data-parallel models: MechlabError with the reason and what to do."""
    for path, module in model.named_modules():
        name = path or type(model).__name__
        compiled = hasattr(module, "_orig_mod") or getattr(module, "_compiled_call_impl", None) is not None
        if compiled or isinstance(module, torch.jit.ScriptModule):
            kind = "compiled" if compiled else "scripted"
            raise MechlabError(
                f"'{name}' is {kind}, so hooks do not see what runs inside it; record the model before "
                "torch.compile or torch.jit.script."
            )
        for base in type(module).__mro__:
            if base.__name__ in _WRAPPERS and base.__module__.startswith("torch."):
                raise MechlabError(
                    f"'{name}' is wrapped in {base.__name__}, which {_WRAPPERS[base.__name__]}; record the "
                    "model before it is wrapped, or the wrapped model in one process."
                )
