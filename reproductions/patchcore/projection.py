"""Random projections that keep distances: fewer channels for the choice of a coreset.

Sources: Johnson & Lindenstrauss 1984 (Gaussian); Li, Hastie & Church 2006 (very sparse: a share 1 / sqrt(D)
of the entries is not zero). Both are scaled so that squared distances are kept on average.
"""

import math

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from mechlab.errors import MechlabError


def projection(kind: str, *, dim: int, to: int, seed: list[int]) -> Float[Tensor, "dim to"]:
    """Return a random matrix, "gaussian" or "sparse", from `dim` channels `to` fewer; the same for a seed.

    Raises:
        MechlabError: as many channels as before, or more.
    """
    if to >= dim:
        raise MechlabError(
            f"projection_dim = {to} does not project features of {dim} channels; give fewer than {dim}, or "
            "set projection to none."
        )
    rng = np.random.default_rng(seed)
    if kind == "gaussian":
        values = rng.standard_normal((dim, to), dtype=np.float32)
    else:
        share = 1 / math.sqrt(dim)
        drawn = rng.random((dim, to), dtype=np.float32)
        values = ((drawn < share / 2).astype(np.float32) - (drawn > 1 - share / 2)) / math.sqrt(share)
    return torch.from_numpy(np.asarray(values / math.sqrt(to), dtype=np.float32))
