"""What is timed is a log with attacks, the same in every form of text."""

import numpy as np

from benchmarks import can_preprocess
from reproductions.can_ids.reading import read


def test_every_form_holds_the_same_messages(tmp_path):
    one, two, three = (
        read(can_preprocess.written(tmp_path, form, messages=20_500)) for form in can_preprocess.FORMS
    )
    assert one.digest == two.digest and one.attack.any() and np.array_equal(one.payload, three.payload)
    assert np.array_equal(one.ids, three.ids) and np.array_equal(one.time, three.time)


def test_a_rate_is_messages_over_seconds_and_holds_from_the_target_on(monkeypatch):
    monkeypatch.setattr(can_preprocess, "MESSAGES", 400_000)
    found = can_preprocess.rate("x", [1.0, 2.0, 4.0], against="y")
    assert found.value == 200_000 and found.holds
    assert not can_preprocess.rate("x", [2.5], against="y").holds
