"""The sine embedding of a place."""

import math

import pytest
import torch

from mechlab.errors import MechlabError
from reproductions.moleflow.position import sine_embedding


def test_first_half_tells_the_column_and_second_half_the_row():
    embedding = sine_embedding((3, 5), dim=8)
    assert embedding.shape == (3, 5, 8)
    assert torch.equal(embedding[0, :, :4], embedding[2, :, :4])
    assert torch.equal(embedding[:, 0, 4:], embedding[:, 4, 4:])
    assert len({tuple(place.tolist()) for place in embedding.flatten(0, 1)}) == 15


def test_values_are_interleaved_sines_and_cosines():
    embedding = sine_embedding((4, 4), dim=8)[2, 3]
    slow = 3 / 10_000 ** (2 / 4)
    assert embedding[:4].tolist() == pytest.approx([math.sin(3), math.cos(3), math.sin(slow), math.cos(slow)])
    assert embedding[4:6].tolist() == pytest.approx([math.sin(2), math.cos(2)])


@pytest.mark.parametrize("dim", [6, 0, 3])
def test_sizes_that_do_not_fit_are_refused(dim):
    with pytest.raises(MechlabError, match="multiple of 4"):
        sine_embedding((2, 2), dim=dim)
