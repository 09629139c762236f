"""A checkpoint is whole, holds no pickle, and says when it does not fit."""

import pytest
import torch
from safetensors import SafetensorError

from mechlab.errors import MechlabError
from mechlab.train import checkpoint
from mechlab.train.checkpoint import Position


def saved(toy, path):
    toy.add_task(0)
    position = Position(task=0, epoch=1, step=3, losses=(0.1, 0.2), recorded=(7, 5))
    checkpoint.save(path, toy, position=position, optimizer=None)
    return position


def test_position_and_weights_survive(toy, tmp_path):
    with torch.no_grad():
        toy.base += 1.5
    position = saved(toy, tmp_path / "c")
    twin = type(toy)()
    twin.add_task(0)
    checkpoint.load_weights(tmp_path / "c", twin)
    assert torch.equal(twin.base, toy.base)
    assert checkpoint.position(tmp_path / "c") == position


def test_no_file_of_a_checkpoint_is_a_pickle(toy, tmp_path):
    saved(toy, tmp_path / "c")
    assert sorted(file.suffix for file in (tmp_path / "c").iterdir()) == [
        ".json",
        ".safetensors",
        ".safetensors",
    ]


def test_a_truncated_checkpoint_is_one_sentence(toy, tmp_path):
    saved(toy, tmp_path / "c")
    file = tmp_path / "c" / "weights.safetensors"
    file.write_bytes(file.read_bytes()[:-5])
    with pytest.raises(MechlabError, match="does not fit this model or is damaged"):
        checkpoint.load_weights(tmp_path / "c", toy)


def test_a_checkpoint_of_another_architecture_is_one_sentence(toy, tmp_path):
    saved(toy, tmp_path / "c")
    with pytest.raises(MechlabError, match="does not fit this model"):
        checkpoint.load_weights(tmp_path / "c", type(toy)(dim=5))


def test_missing_weights_are_one_sentence(toy, tmp_path):
    with pytest.raises(MechlabError, match="has no weights; train the run again"):
        checkpoint.load_weights(tmp_path, toy)


@pytest.mark.parametrize("file", ["weights", "generators"])
def test_a_disk_that_is_full_is_one_sentence_and_leaves_no_checkpoint(toy, tmp_path, monkeypatch, file):
    plain = checkpoint.save_file

    def save_file(tensors, path):
        if path.stem == file:
            raise SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)")
        plain(tensors, path)

    monkeypatch.setattr(checkpoint, "save_file", save_file)
    with pytest.raises(MechlabError, match=r"cannot write .*: the disk is full; free some space and run"):
        saved(toy, tmp_path / "c")
    assert not list(tmp_path.iterdir())
