"""Streaming debiased CKA equals the n x n estimator; invariances; planted and null; principal angles."""

import numpy as np
import pytest

from mechlab.stats.similarity import CKA, cka_debiased, principal_angles


def hsic_by_gram(x, y):
    """HSIC_1 of Song et al. 2012, written with n x n matrices."""
    n = len(x)
    k, m = x @ x.T, y @ y.T
    np.fill_diagonal(k, 0.0)
    np.fill_diagonal(m, 0.0)
    one = np.ones(n)
    terms = np.trace(k @ m) + (one @ k @ one) * (one @ m @ one) / ((n - 1) * (n - 2))
    return (terms - 2 / (n - 2) * (one @ k @ m @ one)) / (n * (n - 3))


def cka_by_gram(x, y):
    x, y = x - x.mean(axis=0), y - y.mean(axis=0)
    return hsic_by_gram(x, y) / np.sqrt(hsic_by_gram(x, x) * hsic_by_gram(y, y))


def related(rng, n, dim, other, offset=0.0):
    x = rng.standard_normal((n, dim))
    y = x @ rng.standard_normal((dim, other)) / np.sqrt(dim) + 0.5 * rng.standard_normal((n, other))
    return x + offset, y - 3 * offset


def streamed(x, y, chunks):
    cka = CKA()
    for a, b in zip(np.array_split(x, chunks), np.array_split(y, chunks), strict=True):
        cka.update(a, b)
    return cka.value()


@pytest.mark.parametrize("shape", [(400, 30, 20), (50, 80, 70), (4, 6, 5), (5, 1, 2), (60, 100, 20)])
@pytest.mark.parametrize("offset", [0.0, 100.0])
@pytest.mark.parametrize("chunks", [1, 4])
def test_one_pass_equals_the_gram_estimator(rng, shape, offset, chunks):
    x, y = related(rng, *shape, offset)
    expected = cka_by_gram(x, y)
    assert streamed(x, y, chunks) == pytest.approx(expected, abs=1e-9)
    assert cka_debiased(x, y) == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("chunks", [2, 3, 7, 50])
def test_the_chunks_do_not_matter(rng, chunks):
    x, y = related(rng, 200, 12, 9, 5.0)
    assert streamed(x, y, chunks) == pytest.approx(streamed(x, y, 1), abs=1e-12)


@pytest.mark.parametrize("kind", [np.float16, np.float32])
def test_low_precision_input_is_summed_in_double(rng, kind):
    x, y = (one.astype(kind) for one in related(rng, 1000, 24, 24, 100.0))
    expected = cka_by_gram(x.astype(np.float64), y.astype(np.float64))
    assert streamed(x, y, 5) == pytest.approx(expected, abs=1e-9)


def test_rotation_scale_and_shift_do_not_matter(rng):
    x, y = related(rng, 150, 10, 8)
    rotation = np.linalg.qr(rng.standard_normal((10, 10)))[0]
    assert cka_debiased(7 * x @ rotation + 2, 0.1 * y - 1) == pytest.approx(cka_debiased(x, y), abs=1e-12)


def test_it_is_symmetric_and_one_with_itself(rng):
    x, y = related(rng, 150, 10, 8)
    assert cka_debiased(x, y) == pytest.approx(cka_debiased(y, x), abs=1e-14)
    assert cka_debiased(x, x) == pytest.approx(1.0, abs=1e-12)


def test_the_same_rows_in_another_order_do_not_matter(rng):
    x, y = related(rng, 150, 10, 8)
    order = rng.permutation(150)
    assert cka_debiased(x[order], y[order]) == pytest.approx(cka_debiased(x, y), abs=1e-12)


def test_independent_representations_give_zero_on_average_where_the_biased_form_does_not(rng):
    values, biased = [], []
    for _ in range(40):
        x, y = rng.standard_normal((100, 60)), rng.standard_normal((100, 60))
        values.append(cka_debiased(x, y))
        x, y = x - x.mean(axis=0), y - y.mean(axis=0)
        biased.append(np.sum((x.T @ y) ** 2) / np.linalg.norm(x.T @ x) / np.linalg.norm(y.T @ y))
    assert abs(np.mean(values)) < 4 * np.std(values) / np.sqrt(40)
    assert min(values) < 0  # small negatives are reported as they are
    assert np.mean(biased) > 0.3


def test_a_planted_shared_signal_is_found(rng):
    shared = rng.standard_normal((300, 5))
    x = np.hstack([shared, rng.standard_normal((300, 5))])
    y = np.hstack([shared @ np.linalg.qr(rng.standard_normal((5, 5)))[0], rng.standard_normal((300, 5))])
    assert cka_debiased(x, y) == pytest.approx(0.5, abs=0.06)  # 5 of 10 directions of equal variance


def test_broken_rows_are_refused(rng):
    x = rng.standard_normal((10, 3))
    with pytest.raises(ValueError, match="at least four rows, not 3"):
        cka_debiased(x[:3], x[:3])
    with pytest.raises(ValueError, match="at least four rows, not 3"):
        cka_debiased(rng.standard_normal((3, 9)), rng.standard_normal((3, 9)))
    with pytest.raises(ValueError, match="at least four rows, not 0"):
        CKA().value()
    with pytest.raises(ValueError, match="no spread between its rows"):
        cka_debiased(x, np.ones((10, 3)))
    with pytest.raises(ValueError, match="finite"):
        cka_debiased(x, np.full((10, 3), np.nan))
    with pytest.raises((TypeError, ValueError)):
        cka_debiased(x, x[:9])
    cka = CKA()
    cka.update(x, x)
    cka.update(x[:0], x[:0])
    assert cka.rows == 10
    with pytest.raises(ValueError, match="after"):
        cka.update(x[:, :2], x)


@pytest.mark.parametrize("angle", [0.0, 1e-9, 0.3, 1.2, np.pi / 2 - 1e-9, np.pi / 2])
@pytest.mark.parametrize("extra", [0, 2], ids=["equal dimensions", "a larger space"])
def test_a_planted_angle_is_found_beside_a_shared_direction(rng, angle, extra):
    for _ in range(10):
        frame = np.linalg.qr(rng.standard_normal((20, 3 + extra)))[0]
        a = np.delete(frame, 2, axis=1)
        b = np.stack([frame[:, 0], np.cos(angle) * frame[:, 1] + np.sin(angle) * frame[:, 2]], axis=1)
        np.testing.assert_allclose(principal_angles(a, b), [0.0, angle], atol=1e-14)


def test_repeated_columns_add_no_direction(rng):
    a = rng.standard_normal((10, 2))
    assert principal_angles(np.hstack([a, a]), rng.standard_normal((10, 3))).shape == (2,)


def test_spaces_without_directions_are_refused(rng):
    with pytest.raises(ValueError, match="no directions"):
        principal_angles(np.zeros((5, 2)), rng.standard_normal((5, 2)))
    with pytest.raises(ValueError, match=r"infs or NaNs"):
        principal_angles(np.full((5, 2), np.nan), rng.standard_normal((5, 2)))
    with pytest.raises((TypeError, ValueError)):
        principal_angles(rng.standard_normal((5, 2)), rng.standard_normal((6, 2)))


def test_angles_depend_on_spaces_alone(rng):
    a, b = rng.standard_normal((15, 3)), rng.standard_normal((15, 5))
    found = principal_angles(a, b)
    assert found.shape == (3,)
    assert np.all(np.diff(found) >= 0)
    rotation = np.linalg.qr(rng.standard_normal((15, 15)))[0]
    mixed = a @ rng.standard_normal((3, 3))
    np.testing.assert_allclose(principal_angles(rotation @ mixed, rotation @ b), found, atol=1e-12)
    np.testing.assert_allclose(principal_angles(b, a), found, atol=1e-12)
