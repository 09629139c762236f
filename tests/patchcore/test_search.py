"""Neighbours and their distances: a loop over all pairs, near twins, and FAISS's squares."""

import sys
from types import ModuleType

import numpy as np
import pytest
import torch

from mechlab.errors import MechlabError
from reproductions.patchcore import search
from reproductions.patchcore.search import nearest


class Flat:
    """What FAISS's IndexFlatL2 does: squared distances, ascending, and indices."""

    def __init__(self, dim):
        self.dim = dim

    def add(self, bank):
        self.bank = bank

    def search(self, queries, count):
        away = ((queries[:, None] - self.bank[None]) ** 2).sum(-1)
        found = np.argsort(away, axis=1, kind="stable")[:, :count]
        return np.take_along_axis(away, found, axis=1), found


@pytest.fixture
def points(rng):
    return torch.from_numpy(rng.standard_normal((90, 7))), torch.from_numpy(rng.standard_normal((41, 7)))


@pytest.mark.parametrize("count", [1, 3, 41])
@pytest.mark.parametrize("chunk", [1 << 22, 100], ids=["one chunk", "many chunks"])
def test_equal_to_all_pairs(points, monkeypatch, count, chunk):
    monkeypatch.setattr(search, "CHUNK", chunk)
    queries, bank = points
    pairs = (queries[:, None] - bank[None]).square().sum(-1).sqrt()
    distances, index = nearest(queries, bank, count=count)
    assert torch.allclose(distances, pairs.sort(dim=1).values[:, :count], rtol=1e-12, atol=0)
    assert torch.equal(index, pairs.argsort(dim=1)[:, :count])


def test_near_twins_keep_their_digits(rng):
    bank = torch.from_numpy(100 + rng.standard_normal((50, 16))).float()
    queries = bank.clone()
    queries[:, 0] += 2.0**-12
    distances, index = nearest(queries, bank, count=1)
    assert torch.equal(index[:, 0], torch.arange(50))
    assert torch.allclose(distances, (queries - bank).norm(dim=1, keepdim=True), rtol=1e-6, atol=0)
    assert nearest(bank, bank, count=1)[0].max() == 0


def test_faiss_finds_the_same_and_its_squares_are_not_taken_for_distances(points, monkeypatch):
    fake = ModuleType("faiss")
    fake.IndexFlatL2 = Flat
    monkeypatch.setitem(sys.modules, "faiss", fake)
    queries, bank = (part.float() for part in points)
    by_faiss, by_products = (nearest(queries, bank, count=3, search=kind) for kind in ("faiss", "gemm"))
    assert torch.equal(by_faiss[1], by_products[1])
    assert torch.allclose(by_faiss[0], by_products[0], rtol=1e-6)


def test_the_real_faiss_agrees(points):
    pytest.importorskip("faiss", reason="faiss-cpu is optional and not installed")
    queries, bank = (part.float() for part in points)
    found = nearest(queries, bank, count=3, search="faiss")
    assert torch.equal(found[1], nearest(queries, bank, count=3)[1])


def test_distances_are_differentiable(points):
    queries = points[0].clone().requires_grad_(True)
    nearest(queries, points[1], count=2)[0].sum().backward()
    assert queries.grad is not None and torch.isfinite(queries.grad).all() and queries.grad.abs().sum() > 0


def test_more_neighbours_than_patches_and_a_faiss_that_is_absent_are_refused(points, monkeypatch):
    with pytest.raises(
        MechlabError, match="42 neighbours are asked of a bank of 41 patches; ask for 1 to 41"
    ):
        nearest(*points, count=42)
    monkeypatch.setitem(sys.modules, "faiss", None)
    with pytest.raises(MechlabError, match="install faiss-cpu, or set search to gemm"):
        nearest(*points, count=1, search="faiss")
