"""Images turned, and images damaged by a piece of themselves."""

import numpy as np
import pytest

from reproductions.datasets.augmentation import AREA, cut_and_pasted, rectangle, turned


@pytest.fixture
def image(rng) -> np.ndarray:
    return rng.integers(0, 256, (40, 40, 3), dtype=np.uint8)


@pytest.mark.parametrize("quarters", [-2, -1, 0, 1, 2])
def test_quarter_turns_only_move_pixels(quarters, image):
    np.testing.assert_array_equal(turned(image, 90.0 * quarters), np.rot90(image, quarters))


def test_a_turn_keeps_the_middle_and_lets_black_in_at_the_corners():
    image = np.full((41, 41, 3), 200, dtype=np.uint8)
    found = turned(image, 45.0)
    assert (found[20, 20] == 200).all()
    assert (found[0, 0] == 0).all()


def test_only_what_the_mask_names_is_changed_and_it_comes_from_the_image(image):
    for seed in range(50):
        damaged, mask = cut_and_pasted(image, np.random.default_rng(seed))
        np.testing.assert_array_equal(damaged[~mask], image[~mask])
        rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
        piece = damaged[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
        assert mask.sum() == piece.shape[0] * piece.shape[1]  # a rectangle
        windows = np.lib.stride_tricks.sliding_window_view(image, piece.shape)[..., 0, :, :, :]
        assert (windows == piece).all(axis=(-1, -2, -3)).any()


def test_damage_has_the_published_sizes(image):
    shares = [cut_and_pasted(image, np.random.default_rng(seed))[1].mean() for seed in range(300)]
    assert AREA[0] * 0.8 < min(shares) < 0.04
    assert 0.12 < max(shares) < AREA[1] * 1.1


def test_one_generator_draws_one_damage(image):
    one, two, other = (cut_and_pasted(image, np.random.default_rng(seed))[1] for seed in (1, 1, 2))
    assert np.array_equal(one, two)
    assert not np.array_equal(one, other)


@pytest.mark.parametrize("size", [(1, 1), (2, 3), (14, 14)])
def test_a_rectangle_is_never_empty_and_lies_inside(size, rng):
    for _ in range(20):
        mask = rectangle(*size, rng)
        assert mask.shape == size
        assert mask.any()
