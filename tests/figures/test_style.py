import matplotlib
import numpy as np
import pytest

from figures import style

RGB = {
    name: np.array([int(code[at : at + 2], 16) for at in (1, 3, 5)]) for name, code in style.COLOURS.items()
}


def luminance(colour):
    """WCAG 2.1 relative luminance of an sRGB colour, 0 to 1."""
    part = colour / 255
    linear = np.where(part <= 0.04045, part / 12.92, ((part + 0.055) / 1.055) ** 2.4)
    return float(linear @ [0.2126, 0.7152, 0.0722])


@pytest.mark.parametrize("name", [name for name in RGB if name not in {"mask", "defective"}])
def test_text_colours_can_be_read_on_white(name):
    assert 1.05 / (luminance(RGB[name]) + 0.05) >= 4.5


def test_normal_and_defective_differ_for_every_kind_of_eye():
    # Viénot, Brettel & Mollon 1999: protanopia and deuteranopia of linear RGB
    protan = np.array([[0.11238, 0.88762, 0.0], [0.11238, 0.88762, 0.0], [0.00401, -0.00401, 1.0]])
    deutan = np.array([[0.29275, 0.70725, 0.0], [0.29275, 0.70725, 0.0], [-0.02234, 0.02234, 1.0]])
    one, other = ((RGB[name] / 255) ** 2.2 for name in ("normal", "defective"))
    for eye in (np.eye(3), protan, deutan):
        assert np.linalg.norm(eye @ (one - other)) > 0.3


def test_the_house_leaves_no_trace_and_heeds_no_settings_of_the_user():
    with matplotlib.rc_context({"font.size": 40.0, "xtick.direction": "in"}):
        with style.house():
            assert matplotlib.rcParams["xtick.direction"] == "out"
            assert matplotlib.rcParams["font.size"] == 9.0
        assert matplotlib.rcParams["font.size"] == 40.0


def test_panels_tile_their_axes_in_reading_order():
    with style.house():
        ax = style.canvas((4.0, 3.0))
        first, second, third, _ = style.panels(ax, rows=[1.0, 2.0], columns=2, gaps=(0.5, 0.6))
        size = np.array([4.0, 3.0])
        boxes = [panel.get_position(original=True) for panel in (first, second, third)]
        assert [*(first.get_window_extent().size / 100)] == pytest.approx([1.75, 0.8])
    assert boxes[1].x0 > boxes[0].x1 and boxes[2].y1 < boxes[0].y0
    assert (boxes[1].x0 - boxes[0].x1) * size[0] == pytest.approx(0.5)


@pytest.mark.parametrize(("ends", "wanted"), [((1.0, 1e6), [1, 1e3]), ((40.0, 90.0), [50])])
def test_a_logarithmic_axis_has_plain_numbers(ends, wanted):
    with style.house():
        ax = style.canvas((3.0, 2.0))
        ax.plot([1, 2], ends)
        style.logarithmic(ax, "y")
        ticks = ax.yaxis.get_major_locator().tick_values(*ends)
        told = {ax.yaxis.get_major_formatter()(value) for value in ticks}
    assert {f"{value:g}" for value in wanted} <= told
    assert not any("$" in text for text in told)
