"""The nearest patches of a bank: found by chunks of one matrix product, or by FAISS; distances taken anew.

|q - b|² = |q|² - 2 q·b + |b|² loses digits where q and b are near each other, and FAISS returns squared
distances; so both only find the neighbours, and their distances are norms of differences.
"""

from importlib import import_module

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from mechlab.errors import MechlabError

CHUNK = 1 << 22  # numbers that are held at a time


def nearest(
    queries: Float[Tensor, "query dim"], bank: Float[Tensor, "patch dim"], *, count: int, search: str = "gemm"
) -> tuple[Float[Tensor, "query near"], Int[Tensor, "query near"]]:
    """Return Euclidean distances to the `count` nearest patches, ascending, and their indices.

    Distances are differentiable in the queries.

    Raises:
        MechlabError: more neighbours than the bank has patches, or FAISS that is not installed.
    """
    if not 1 <= count <= len(bank):
        raise MechlabError(
            f"{count} neighbours are asked of a bank of {len(bank)} patches; ask for 1 to {len(bank)}, or "
            "keep more patches with a higher ratio."
        )
    with torch.no_grad():
        found = (_by_faiss if search == "faiss" else _by_products)(queries, bank, count)
    distances = torch.cat(
        [
            torch.linalg.vector_norm(part[:, None] - bank[near], dim=2)
            for part, near in zip(
                *_chunks(queries, found, rows=CHUNK // (count * bank.shape[1])), strict=True
            )
        ]
    )
    order = distances.argsort(dim=1, stable=True)
    return distances.gather(1, order), found.gather(1, order)


def _chunks(queries: Tensor, found: Tensor, *, rows: int) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...]]:
    return queries.split(max(1, rows)), found.split(max(1, rows))


def _by_products(queries: Tensor, bank: Tensor, count: int) -> Int[Tensor, "query near"]:
    squares = torch.linalg.vecdot(bank, bank)
    found = []
    for part in queries.split(max(1, CHUNK // len(bank))):
        away = torch.addmm(squares, part, bank.T, alpha=-2.0)  # without |q|², which orders nothing
        found.append(
            away.argmin(dim=1, keepdim=True) if count == 1 else away.topk(count, largest=False).indices
        )
    return torch.cat(found)


def _by_faiss(queries: Tensor, bank: Tensor, count: int) -> Int[Tensor, "query near"]:
    try:
        faiss = import_module("faiss")
    except ModuleNotFoundError as fault:
        raise MechlabError(
            "search = faiss needs the package 'faiss', which is not installed; install faiss-cpu, or set "
            "search to gemm."
        ) from fault
    index = faiss.IndexFlatL2(bank.shape[1])
    index.add(np.ascontiguousarray(bank.float().cpu().numpy()))
    _squared, found = index.search(np.ascontiguousarray(queries.float().cpu().numpy()), count)
    return torch.from_numpy(np.asarray(found, dtype=np.int64)).to(queries.device)
