"""The loop that the coreset is measured against takes the same patches, and millions are streamed."""

from types import SimpleNamespace

import torch

from benchmarks import coreset, coreset_large
from benchmarks.coreset import clustered, exactness, library, loop
from reproductions.patchcore.coreset import k_center


def test_the_loop_takes_the_same_patches():
    patches = clustered(800, 24).double()
    assert k_center(patches, 60, start=5).tolist() == loop(patches, 60, start=5)
    assert torch.equal(clustered(50, 8), clustered(50, 8))


def test_exactness_counts_picks_that_differ(monkeypatch):
    monkeypatch.setattr("benchmarks.coreset.PATCHES_EXACT", 400)
    monkeypatch.setattr("benchmarks.coreset.PICKS_EXACT", 40)
    assert exactness().holds
    monkeypatch.setattr("benchmarks.coreset.k_center", lambda patches, count: torch.zeros(count))
    assert exactness().value == 39


class Library:
    """What a library's sampler has: a projection by which it thins, and picks."""

    def __init__(self, embedding, sampling_ratio):
        self.embedding, self.count = embedding, int(len(embedding) * sampling_ratio)
        self.model = SimpleNamespace(transform=lambda patches: patches[:, :3])

    def select_coreset_idxs(self):
        return loop(self.model.transform(self.embedding), self.count)


def test_a_library_is_held_against_where_it_is_there(monkeypatch):
    monkeypatch.setattr(coreset, "import_module", lambda _: SimpleNamespace(KCenterGreedy=Library))
    seen, whole = [], coreset.k_center
    monkeypatch.setattr(
        coreset, "k_center", lambda patches, count: seen.append(patches.shape) or whole(patches, count)
    )
    found = library(clustered(4000, 24), pairs=3)
    assert (found.name, found.n, found.target) == ("coreset-anomalib", 3, 0.1)
    assert found.value > 0 and "to 3 channels" in found.against
    assert set(seen) == {(4000, 3)}  # the same projection on both sides


def test_a_library_that_cannot_be_imported_is_absent_and_not_beaten(monkeypatch):
    def missing(name):
        raise ModuleNotFoundError(f"No module named {name!r}")

    monkeypatch.setattr(coreset, "import_module", missing)
    found = library(clustered(100, 8), pairs=3)
    assert (found.value, found.n, found.holds) == (None, 0, None)
    assert (
        found.against == "anomalib cannot be imported: No module named 'anomalib.models.components.sampling'"
    )


def test_a_streamed_memory_keeps_one_percent(monkeypatch, capsys):
    monkeypatch.setattr(coreset_large, "CHUNK", 700)
    found = coreset_large.millions(2000, dim=32, to=8)
    assert (found["patches"], found["kept"]) == (2000, 20)
    assert "20 of 20 picks, 0 s left" in capsys.readouterr().err


def test_a_sample_covers_worse_than_all_patches_and_better_than_a_random_subset(monkeypatch):
    monkeypatch.setattr(coreset_large, "FEWER", 3000)
    monkeypatch.setattr(coreset_large, "SAMPLES", (300,))
    monkeypatch.setattr(coreset_large, "DIM", 160)
    sampled, random = coreset_large.samples()
    assert (sampled.name, random.name) == ("coreset-large-sample-10", "coreset-large-random")
    assert 1.0 <= sampled.value < random.value
