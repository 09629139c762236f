import numpy as np
import pytest

from figures import style
from figures.forest import Row, forest, size, verdict_panel


@pytest.fixture
def ax():
    with style.house():
        yield style.canvas((6.4, 2.0))


def drawn(ax, marker):
    return [line.get_xydata()[0].tolist() for line in ax.lines if line.get_marker() == marker]


def test_effect_null_and_threshold_stand_in_one_panel(ax, make_result):
    verdict_panel(make_result(), ax, lines={"threshold 0.75": 0.75})
    (panel,) = ax.child_axes
    assert drawn(panel, "D") == [[0.875, 1.0]]
    assert drawn(panel, "s") == [[0.5625, 0.0]]
    intervals = [line.get_xydata().tolist() for line in panel.lines if line.get_linewidth() == 2.2]
    assert intervals == [[[0.8125, 1.0], [0.9375, 1.0]], [[0.5, 0.0], [0.625, 0.0]]]
    (threshold,) = (line for line in panel.lines if line.get_linestyle() == "--")
    assert set(threshold.get_xdata()) == {0.75}
    assert panel.get_xlabel() == "image AUROC"
    assert [tick.get_text() for tick in panel.get_yticklabels()] == ["effect", "null: permutation"]
    low, high = panel.get_xlim()
    assert low < 0.5 and high > 0.9375


def test_the_title_is_the_verdict_in_words(ax, make_result):
    verdict_panel(make_result(verdict="refuted"), ax, lines={})
    assert ax.get_title(loc="left").startswith("Refuted: A trivial statistic")


def test_an_effect_that_could_not_be_estimated_is_said_and_not_drawn(ax, make_result):
    verdict_panel(make_result(verdict="undecided", effect=None, interval=None), ax, lines={})
    (panel,) = ax.child_axes
    assert drawn(panel, "D") == []
    assert "not estimated" in [text.get_text() for text in panel.texts]


@pytest.mark.parametrize("value", [0.0, 1e-12, -1e6, 3e9])
def test_extreme_effects_stay_inside_the_panel(ax, value):
    forest(ax, [Row(name="effect", value=value, kind="effect"), Row(name="null", value=0.0, kind="null")],
           unit="nats", lines={"threshold": value / 2})  # fmt: skip
    ax.get_figure().draw_without_rendering()
    low, high = ax.get_xlim()
    assert low <= value <= high and low <= 0.0 <= high
    assert np.isfinite([low, high]).all()


def test_every_row_adds_to_the_height():
    assert size(5, details=[])[1] - size(4, details=[])[1] == pytest.approx(0.32)
