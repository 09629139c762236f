"""`mechlab record`: schedules and reductions as options, and what is refused of them."""

import json

import numpy as np
import pytest

from mechlab import recording

LATENT = ("--site", "latent", "--quantity", "latent")
IMAGES = 8  # a class has in its test split


def record(mechlab, run, *words):
    status, out, err = mechlab("record", run.path, *words, "--json")
    assert status == 0, err
    return recording.open(json.loads(out)["recording"])


@pytest.mark.parametrize(
    ("words", "chosen"),
    [
        pytest.param((), range(IMAGES), id="all"),
        pytest.param(("--every", 3), (0, 3, 6), id="every"),
        pytest.param(("--first", 2), (0, 1), id="first"),
        pytest.param(("--at", 1, "--at", 5), (1, 5), id="at"),
        pytest.param(("--log-spaced", 1), (0, 1, 2, 4), id="log-spaced"),
        pytest.param(("--log-spaced", 1, "--first", 4), (0, 1, 2), id="log-spaced and first"),
        pytest.param(("--every", 2, "--limit", 5), (0, 2, 4), id="every and limit"),
    ],
)
def test_a_schedule_chooses_images_of_each_class(mechlab, small_run, words, chosen):
    with record(mechlab, small_run, *LATENT, *words) as found:
        latent, table = found["latent/latent"], found.items
        items = latent.coordinates["item"].tolist()
    for name in ("bolt", "nut"):
        of_class = [row for row, item in enumerate(table) if item.class_name == name]
        assert [item for item in items if item in of_class] == [of_class[place] for place in chosen]


def test_reductions_are_those_of_the_whole_latent(mechlab, small_run):
    with record(mechlab, small_run, *LATENT) as found:
        whole = found["latent/latent"].read().astype(np.float64)
    flat = whole.reshape(len(whole), -1, whole.shape[-1])
    expected = {
        "norm": {"norm": np.linalg.norm(whole, axis=-1)},
        "moments": {"mean": flat.mean(axis=1), "variance": flat.var(axis=1)},
        "covariance": {"covariance": np.stack([np.cov(image.T, bias=True) for image in flat])},
        "subsample:1": {"subsample": flat[:, :1]},
    }
    for reduction, parts in expected.items():
        with record(mechlab, small_run, *LATENT, "--reduction", reduction) as found:
            assert set(found) == {f"latent_{part}/latent" for part in parts}
            for part, values in parts.items():
                read = found[f"latent_{part}/latent"]
                np.testing.assert_allclose(read.read(), values, rtol=1e-4, atol=1e-5)
                assert read.axes[0] == "item"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        pytest.param(("--at", 2, "--every", 3), "has both at and every; give one of", id="at and every"),
        pytest.param(("--at", 2, "--log-spaced", 1), "has both at and log_spaced", id="at and log-spaced"),
        pytest.param(("--at", 99), "never fires: at = [99], and there are 8 images of a class", id="behind"),
        pytest.param(("--at", 4, "--first", 4), "never fires: no step of at = [4] is below", id="at, first"),
        pytest.param(("--reduction", "momnts"), "Did you mean 'moments'", id="reduction"),
        pytest.param(("--reduction", "subsample"), "a number of places, e.g. subsample:64", id="no number"),
        pytest.param(("--reduction", "moments:2"), "moments takes no number", id="number too many"),
    ],
)
def test_a_schedule_or_reduction_that_cannot_be_is_one_sentence(mechlab, small_run, words, message):
    before = sorted(small_run.recordings())
    status, out, err = mechlab("record", small_run.path, *LATENT, *words)
    assert (status, out) == (1, "")
    assert message in err
    assert "Traceback" not in err and err.count("Error:") == 1
    assert sorted(small_run.recordings()) == before, "nothing is left behind"


@pytest.mark.parametrize(
    "words",
    [("--every", 0), ("--at", -1), ("--first", 0), ("--log-spaced", 0), ("--dtype", "int8"), ("--evry", 2)],
    ids=lambda words: words[0],
)
def test_an_option_out_of_its_range_is_a_fault_of_usage(mechlab, small_run, words):
    status, out, err = mechlab("record", small_run.path, *LATENT, *words)
    assert (status, out) == (2, "")
    assert "Error: " in err


def test_each_site_has_its_own_schedule_reduction_and_precision(mechlab, small_run):
    words = ("--every", 4, "--dtype", "float64", *LATENT, "--first", 3, "--at", 0, "--at", 2)
    more = ("--site", "flow.*.log_det", "--quantity", "log_det", "--reduction", "sum")
    norms = ("--dtype", "float16", "--site", "adapted", "--quantity", "activation", "--reduction", "norm")
    with record(mechlab, small_run, *words, *norms[2:], "--dtype", "float16", *more) as found:
        table = found.items
        first = [row for row, item in enumerate(table) if item.class_name == "bolt"]

        def chosen(key):
            return [first.index(item) for item in found[key].coordinates["item"] if item in first]

        assert (chosen("latent/latent"), found["latent/latent"].dtype) == ([0, 2], np.float64)
        norm = found["activation_norm/adapted"]
        assert (chosen("activation_norm/adapted"), norm.dtype) == ([0, 4], np.float16)
        sums = found.keys("log_det_sum/*")
        assert len(sums) > 1 and all(chosen(key) == [0, 4] for key in sums)


def test_options_and_a_file_give_the_same_recording(mechlab, small_run, tmp_path):
    (tmp_path / "plan.yaml").write_text(
        "- {site: latent, quantity: latent, every: 3}\n"
        "- {site: adapted, quantity: activation, reduction: norm, dtype: float16}\n"
    )
    words = (*LATENT, "--every", 3)
    words += ("--site", "adapted", "--quantity", "activation", "--reduction", "norm", "--dtype", "float16")
    told = [
        json.loads(mechlab("record", small_run.path, *way, "--json")[1])["recording"]
        for way in (words, ("--plan", "plan.yaml"))
    ]
    assert told[0] == told[1]


PLAN = ("--plan", "plan.yaml")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        pytest.param((*LATENT, "--every", 2, "--every", 3),
                     "--every 2 and --every 3 were both given for 'latent'; give one after each", id="twice"),
        pytest.param(("--dtype", "float16", "--dtype", "float64", *LATENT),
                     "--dtype float16 and --dtype float64 were both given for all sites", id="all twice"),
        pytest.param((*PLAN, "--log-spaced", 2),
                     "--log-spaced was given without --site, so nothing reads it", id="beside a file"),
        pytest.param((*PLAN, *LATENT), "--plan plan.yaml and --site 'latent' were both given", id="both"),
        pytest.param((*LATENT, "--site", "adapted"), "2 sites and 1 quantities were given", id="a quantity"),
        pytest.param(("--plan", "."), "the plan '.' is unreadable: Is a directory", id="a folder"),
        pytest.param(("--at", 3, *LATENT, "--every", 2, "--at", 1), "has both at and every", id="schedules"),
    ],
)  # fmt: skip
def test_an_option_that_nothing_reads_is_one_sentence(mechlab, small_run, tmp_path, words, message):
    (tmp_path / "plan.yaml").write_text("- {site: latent, quantity: latent}\n")
    before = sorted(small_run.recordings())
    status, out, err = mechlab("record", small_run.path, *words)
    assert (status, out) == (1, "")
    assert message in err and err.count("Error:") == 1
    assert sorted(small_run.recordings()) == before
