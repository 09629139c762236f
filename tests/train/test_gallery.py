"""Which images are shown is a rule."""

import numpy as np

from mechlab.train.gallery import chosen


def test_the_median_of_each_kind_and_the_worst_normal_are_shown():
    defects = ["good"] * 5 + ["dent"] * 3 + ["scratch"]
    scores = np.array([1.0, 5.0, 2.0, 3.0, 4.0, 9.0, 7.0, 8.0, 6.0])
    assert chosen(defects, scores) == [3, 1, 7, 8]


def test_a_single_normal_image_is_shown_once():
    assert chosen(["good", "dent"], np.array([1.0, 2.0])) == [0, 1]


def test_a_class_without_defects_has_a_gallery():
    assert chosen(["good", "good"], np.array([1.0, 2.0])) == [0, 1]
