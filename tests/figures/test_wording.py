import pytest

from figures import wording


@pytest.mark.parametrize(
    ("value", "text"),
    [(None, "n/a"), (0.0, "0"), (0.123456, "0.123"), (12.0, "12"), (1234.0, "1234"), (1e-9, "1.00e-09"),
     (2e12, "2.00e+12"), (-0.5, "-0.5"), (float("nan"), "not finite"), (True, "yes"), (20, "20"),
     (123456, "123456")],
)  # fmt: skip
def test_numbers_are_short_and_never_silently_absent(value, text):
    assert wording.number(value) == text


def test_a_long_name_keeps_its_ends():
    short = wording.label("metal_nut_with_a_very_long_suffix_17", limit=16)
    assert len(short) == 16
    assert short.startswith("metal_nut") and short.endswith("x_17")


@pytest.mark.parametrize("name", ["日本", "a\x00b", "tab\tline\nbreak", "한글", "‮evil"])
def test_what_the_font_lacks_becomes_a_box_or_a_space(name):
    shown = wording.label(name)
    assert all(one.isascii() or one == "\u25a1" for one in shown)
    assert "\n" not in shown and "\x00" not in shown


@pytest.mark.parametrize(("n", "unit", "text"), [(1, "class", "n = 1 class"), (3, "class", "n = 3 classes")])
def test_n_is_said_with_its_unit(make_result, n, unit, text):
    assert wording.replicates(make_result(n=n, replication=unit)).replace(wording.FIRM, " ") == text


def test_the_heading_has_verdict_effect_null_and_n(make_result):
    told = wording.heading(make_result()).replace(wording.FIRM, " ")
    for part in ("Supported: A trivial", "0.875", "[0.812, 0.938]", "image AUROC", "null 0.562",
                 "[0.5, 0.625]", "n = 80 images"):  # fmt: skip
        assert part in told.replace("\n", " ")


def test_an_undecided_heading_names_the_n_that_would_decide(make_result):
    result = make_result(verdict="undecided", effect=None, interval=None, n_to_decide=140)
    told = wording.heading(result).replace("\n", " ")
    assert "Undecided (about 140 images would decide)" in told
    assert "no effect could be estimated" in told
