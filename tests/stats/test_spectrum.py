"""Spectra and ranks: planted ranks found, invariances, the rank of chance against Marchenko-Pastur."""

import numpy as np
import pytest

from mechlab.stats.spectrum import (
    effective_rank,
    energy_at,
    energy_rank,
    lora_spectrum,
    random_energy_rank,
    singular_values,
    stable_rank,
)


def planted(rng, fan_out, fan_in, values):
    """A matrix with the given singular values."""
    left = np.linalg.qr(rng.standard_normal((fan_out, len(values))))[0]
    right = np.linalg.qr(rng.standard_normal((fan_in, len(values))))[0]
    return (left * values) @ right.T


@pytest.mark.parametrize("shape", [(30, 20), (20, 30), (20, 20), (1, 5)])
@pytest.mark.parametrize("kind", [np.float32, np.float64])
def test_singular_values_equal_numpy(rng, shape, kind):
    delta = rng.standard_normal(shape).astype(kind)
    expected = np.linalg.svd(delta.astype(np.float64), compute_uv=False)
    np.testing.assert_allclose(singular_values(delta), expected, rtol=1e-10)


@pytest.mark.parametrize("rank", [1, 3, 7, 20])
def test_a_planted_rank_is_found(rng, rank):
    delta = planted(rng, 40, 25, np.full(rank, 2.5))
    assert energy_rank(delta, energy=1.0) == rank
    assert energy_rank(delta, energy=0.95) == int(np.ceil(0.95 * rank))
    assert effective_rank(delta) == pytest.approx(rank, rel=1e-5)
    assert stable_rank(delta) == pytest.approx(rank)


@pytest.mark.parametrize(("energy", "rank"), [(0.5, 1), (0.8, 1), (0.801, 2), (0.96, 2), (0.97, 3), (1.0, 3)])
def test_energy_rank_of_known_values(energy, rank):
    values = np.sqrt(np.array([4.0, 80.0, 16.0]))  # shares 0.80, 0.96, 1.00; order does not matter
    assert energy_rank(values, energy=energy) == rank


def test_energy_at_is_the_closed_form_and_inverts_energy_rank(rng):
    values = np.sqrt(np.array([80.0, 16.0, 4.0]))
    assert [energy_at(values, k) for k in range(5)] == pytest.approx([0, 0.8, 0.96, 1, 1])
    delta = rng.standard_normal((30, 22))
    for energy in (0.3, 0.9, 0.99):
        rank = energy_rank(delta, energy=energy)
        assert energy_at(delta, rank) >= energy > energy_at(delta, rank - 1)


@pytest.mark.parametrize("measure", [energy_rank, effective_rank, stable_rank], ids=lambda one: one.__name__)
def test_scale_rotation_and_transposition_do_not_matter(rng, measure):
    delta = planted(rng, 30, 20, 0.8 ** np.arange(20))
    left, right = (np.linalg.qr(rng.standard_normal((n, n)))[0] for n in (30, 20))
    expected = pytest.approx(measure(delta), rel=1e-6)
    for changed in (1e-30 * delta, 1e12 * delta, left @ delta @ right, delta.T, singular_values(delta)):
        assert measure(changed) == expected


def test_effective_and_stable_rank_by_hand():
    values = np.array([1.0, 1.0, 2.0])
    assert effective_rank(values) == pytest.approx(np.exp(0.5 * np.log(4) + 0.5 * np.log(2)))
    assert stable_rank(values) == pytest.approx(1.5)


@pytest.mark.parametrize("shape", [(40, 6, 30), (5, 8, 30), (40, 8, 3)])
def test_the_lora_spectrum_is_that_of_the_product(rng, shape):
    fan_out, rank, fan_in = shape
    up, down = rng.standard_normal((fan_out, rank)), rng.standard_normal((rank, fan_in))
    expected = np.linalg.svd(up @ down, compute_uv=False)[: min(shape)]
    np.testing.assert_allclose(lora_spectrum(up, down), expected, rtol=1e-10)


def test_the_rank_of_chance_is_that_of_marchenko_pastur(rng):
    """At shape ratio 1/2 the density of squared singular values is known; take its 95 % energy quantile."""
    ratio, rows = 0.5, 200
    low, high = (1 - np.sqrt(ratio)) ** 2, (1 + np.sqrt(ratio)) ** 2
    grid = np.linspace(low, high, 200001)[1:-1]
    density = np.sqrt((high - grid) * (grid - low)) / (2 * np.pi * ratio * grid)
    energy_above = np.cumsum((grid * density)[::-1]) / np.sum(grid * density)
    share = np.cumsum(density[::-1])[np.argmax(energy_above >= 0.95)] / np.sum(density)
    found = random_energy_rank((rows, int(rows / ratio)), energy=0.95, draws=5, seed=0)
    assert np.all(np.abs(found - share * rows) <= 2)


def test_a_random_matrix_is_not_found_low_rank_and_a_planted_one_is(rng):
    null = random_energy_rank((60, 40), draws=40, seed=1)
    fresh = [energy_rank(rng.standard_normal((60, 40))) for _ in range(200)]
    low = np.quantile(null, 0.025)
    assert np.mean(np.array(fresh) < low) < 0.1
    noisy = planted(rng, 60, 40, np.full(4, 30.0)) + 0.3 * rng.standard_normal((60, 40))
    assert energy_rank(noisy) < null.min()


def test_a_low_rank_null_is_capped_by_its_rank():
    null = random_energy_rank((60, 40), draws=10, seed=0, rank=5)
    assert null.max() <= 5
    assert null.min() >= 4


def test_a_seed_repeats_and_another_differs():
    shape = (50, 30)
    first = random_energy_rank(shape, draws=30, seed=3)
    np.testing.assert_array_equal(first, random_energy_rank(shape, draws=30, seed=3))
    assert (first != random_energy_rank(shape, draws=30, seed=4)).any()


@pytest.mark.parametrize("measure", [energy_rank, effective_rank, stable_rank], ids=lambda one: one.__name__)
def test_a_matrix_of_zeros_has_no_rank(measure):
    with pytest.raises(ValueError, match="matrix of zeros"):
        measure(np.zeros((3, 4)))


def test_broken_input_is_refused(rng):
    with pytest.raises(ValueError, match="finite values"):
        singular_values(np.array([[np.inf, 0.0]]))
    with pytest.raises(ValueError, match="finite values"):
        lora_spectrum(np.full((3, 2), np.nan), np.zeros((2, 3)))
    for energy in (0.0, 1.5):
        with pytest.raises(ValueError, match="no share"):
            energy_rank(rng.standard_normal((3, 3)), energy=energy)
    with pytest.raises(ValueError, match="no number of directions"):
        energy_at(rng.standard_normal((3, 3)), -1)
    with pytest.raises(ValueError, match="must be at least 1"):
        random_energy_rank((3, 3), draws=0, seed=0)
