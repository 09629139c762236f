"""Laws of the smoothing of maps (M38): mixtures, widths by class, and one form for equal words."""

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from mechlab.errors import MechlabError
from mechlab.metrics.class_metrics import Scoring
from mechlab.metrics.maps import smooth, upsample
from mechlab.metrics.smoothing import Smoothing
from mechlab.runs.settings import EvaluationSettings
from mechlab.specs import validated


@pytest.fixture
def maps(rng):
    return rng.standard_normal((3, 20, 24))


def test_a_mixture_is_the_weighted_sum_of_its_gaussians(maps):
    expected = np.stack([0.6 * gaussian_filter(one, 2) + 0.4 * gaussian_filter(one, 4) for one in maps])
    np.testing.assert_allclose(Smoothing.read("0.6*2+0.4*4").default.apply(maps), expected, atol=1e-13)


def test_one_width_is_plain_smoothing_to_the_bit(maps):
    for sigma in (0.0, 2.0, 4.0):
        np.testing.assert_array_equal(Smoothing.read(sigma).default.apply(maps), smooth(maps, sigma))
    np.testing.assert_array_equal(Smoothing.read(0).default.apply(maps), maps)
    np.testing.assert_allclose(Smoothing.read("0.5*3+0.5*3").default.apply(maps), smooth(maps, 3), atol=1e-14)


@pytest.mark.parametrize("words", ["2", "0.6*2+0.4*4", "0.2*0+0.3*1+0.5*9"])
def test_a_constant_map_stays_constant_and_a_mean_stays_the_mean(maps, words):
    mixture = Smoothing.read(words).default
    np.testing.assert_allclose(mixture.apply(np.full((1, 9, 9), -3.7)), -3.7, rtol=1e-13)
    np.testing.assert_allclose(mixture.apply(maps).mean(axis=(1, 2)), maps.mean(axis=(1, 2)), atol=1e-13)


def test_a_class_has_its_own_width(maps):
    scoring = Scoring(aggregation="max", value=None, sigma="4,screw=2,pill=0.6*2+0.4*4")
    whole = upsample(maps, 40)
    for name, expected in (
        ("bottle", smooth(whole, 4.0)),
        ("screw", smooth(whole, 2.0)),
        ("pill", 0.6 * smooth(whole, 2.0) + 0.4 * smooth(whole, 4.0)),
    ):
        np.testing.assert_array_equal(scoring.pixel_maps(maps, size=40, class_name=name), expected)


def test_image_scores_never_change(maps):
    for sigma in (0.0, "0.6*2+0.4*4", "4,a=2"):
        found = Scoring(aggregation="top_k", value=3.0, sigma=sigma).image_scores(maps)
        np.testing.assert_array_equal(
            found, Scoring(aggregation="top_k", value=3.0, sigma=4.0).image_scores(maps)
        )


@pytest.mark.parametrize(
    ("words", "canonical"),
    [
        ("4", 4.0), (2, 2.0), ("1*2", 2.0), (" 0.4*4 + 0.6*2 ", "0.6*2+0.4*4"), ("4,b=1,a=2.0", "4,a=2,b=1"),
        ("4,a=4", 4.0), ("4, a = 2", "4,a=2"),
    ],
)  # fmt: skip
def test_equal_words_have_one_form_that_reads_back(words, canonical):
    found = Smoothing.read(words)
    assert found.words == canonical
    assert type(found.words) is type(canonical)
    assert Smoothing.read(canonical).words == canonical
    assert EvaluationSettings(sigma=words).sigma == canonical


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (-1, "a width below 0"),
        ("nan", "a width below 0"),
        ("inf", "a width below 0"),
        ("four", "cannot be read; give pixels"),
        ("", "cannot be read"),
        (None, "cannot be read"),
        ("0.6*2+0.5*4", "do not sum to 1"),
        ("2*2+-1*4", "a weight that is none"),
        ("2+4", "do not sum to 1"),
        ("4,2", "names no class once"),
        ("4,a=1,a=2", "names no class once"),
        ("4,=2", "names no class once"),
    ],
)
def test_other_words_are_refused(words, sentence):
    with pytest.raises(MechlabError, match=sentence):
        validated(EvaluationSettings, {"sigma": words}, what="evaluation")


def test_a_class_that_is_not_there_is_refused_with_the_nearest():
    Smoothing.read("4,screw=2").refuse_strangers(["screw", "pill"])
    with pytest.raises(MechlabError, match=r"named 'scerw'\. Did you mean 'screw'"):
        Smoothing.read("4,scerw=2").refuse_strangers(["screw", "pill"])


def test_image_scores_of_the_map_are_aggregated_from_what_is_smoothed(maps):
    scoring = Scoring(aggregation="max", value=None, sigma=2.0, map_size=40)
    whole = smooth(upsample(maps, 40), 2.0)
    np.testing.assert_allclose(scoring.image_scores(maps), whole.max(axis=(1, 2)), rtol=1e-12)
    np.testing.assert_array_equal(scoring.pixel_maps(maps, size=40, class_name="any"), whole)


def test_the_class_of_a_map_is_unknown_where_image_scores_are_made_of_it():
    with pytest.raises(MechlabError, match="give one sigma for all, or image_from=patches"):
        EvaluationSettings(image_from="map", sigma="4,screw=2")
    assert EvaluationSettings(image_from="map", sigma="0.6*2+0.4*4").sigma == "0.6*2+0.4*4"
