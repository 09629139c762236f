"""Each probe's figure, drawn from the result that the probe itself gives of a small made-up recording."""

from pathlib import Path

import numpy as np
import pytest
from matplotlib.text import Text

import probes
from figures import style
from figures.render import figure, known
from mechlab import systems
from mechlab.recording import Writer
from mechlab.recording import open as open_recording
from mechlab.result import Evidence, Null, Result
from mechlab.specs import Item

NAMES = (
    "coreset_coverage",
    "cross_task_cka",
    "distillation_signal",
    "energy_rank",
    "gaussianity",
    "gradient_concentration",
    "noise_influence",
    "shortcut",
    "tail_training",
)
GRID = (4, 4)
MAPS = ("item", "row", "column")


@pytest.fixture
def record(tmp_path):
    """Write quantities (key, values, axes, coordinates) of `images` images and measure them with a probe."""

    def write(probe, quantities, *, images, seed=0, defective=0, system="moleflow", split="test", **parts):
        train = {"system": system, "parts": parts, "tasks": [["gear"], ["weave"]], "seed": seed}
        attributes = {"run_id": "run", "spec": {}, "provenance": {}, "train": train}
        items = [
            Item(sha256=f"{at:064x}", class_name="gear", split=split, label=int(at >= images - defective),
                 defect="scratch" if at >= images - defective else "good", image=f"embedded:gear/{at}")
            for at in range(images)
        ]  # fmt: skip
        folder = tmp_path / f"{len(list(tmp_path.iterdir()))}"
        with Writer.create(folder, attributes=attributes) as writer:
            writer.items(items)
            for key, values, axes, coordinates in quantities:
                arrays = {axis: np.asarray(value) for axis, value in coordinates.items()}
                writer.append(key, values, axes=axes, coordinates=arrays, unit="1")
        with open_recording(folder) as recording:
            return systems.probe(probe).measure(recording)

    return write


def per_image(images, **more):
    n = np.zeros(images, np.int32)
    return {"item": np.arange(images), "stage": n, "adapter": n} | more


@pytest.fixture
def judged(record, rng):
    def gradient(name, **parts):
        scores = rng.standard_normal((12, *GRID))
        quantities = [("score/patch", scores, MAPS, per_image(12))]
        for loss in ("mean", "tail:0.7:0.1", "tail:1:0.1"):
            where = per_image(12, loss=np.array([loss] * 12))
            for key in ("row_contribution/total", "input_gradient/adapted"):
                quantities.append((key, np.exp(scores) + 0.1, MAPS, where))
        return record(name, quantities, images=12, tail_ratio=0.1, **parts)

    def tail_training():
        runs = [
            gradient("tail_training", seed=seed, tail_weight=weight)
            for seed in (0, 1)
            for weight in (0.0, 0.7)
        ]
        return Evidence.joined(runs)

    def gaussianity():
        latents = rng.standard_normal((12, *GRID, 6))
        return record("gaussianity", [("latent/latent", latents, (*MAPS, "dim"), per_image(12))], images=12)

    def energy_rank():
        axes, last = ("stage", "fan_out", "fan_in"), {"stage": np.array([1], np.int32)}
        runs = []
        for seed in range(2):
            deltas = [rng.standard_normal((1, 12, 2)) @ rng.standard_normal((1, 2, 8)) for _ in range(3)]
            keys = [f"weight_delta/flow.{at}.subnet.s1.base.weight" for at in range(3)]
            quantities = [(key, delta, axes, last) for key, delta in zip(keys, deltas, strict=True)]
            runs.append(record("energy_rank", quantities, images=0, seed=seed))
        return Evidence.joined(runs)

    def cross_task_cka():
        runs = []
        for seed in range(2):
            latents = rng.standard_normal((8, *GRID, 6))
            both = np.concatenate([latents, latents + rng.standard_normal(latents.shape)])
            n = np.arange(16)
            where = {"item": n % 8, "stage": np.zeros(16, np.int32), "adapter": (n // 8).astype(np.int32)}
            keys = ("latent/latent", "latent/flow.0")
            quantities = [(key, both, (*MAPS, "dim"), where) for key in keys]
            runs.append(record("cross_task_cka", quantities, images=8, seed=seed))
        return Evidence.joined(runs)

    def shortcut():
        keys = ("image/mean", "image/std", "image/distance", "score/image")
        quantities = [(key, rng.standard_normal(24), ("item",), per_image(24)) for key in keys]
        return record("shortcut", quantities, images=24, defective=12)

    def coreset_coverage():
        runs = []
        for ratio in (0.01, 0.1):
            for coreset in ("greedy", "random"):
                maps = rng.uniform(0, 1, (8, *GRID)) + (coreset == "random") + 0.1 / ratio
                masks = np.zeros((8, 16, 16), bool)
                masks[4:, 4:8, 4:8] = True
                distance = ("activation/bank.0.distance", maps, MAPS, per_image(8))
                scores = [("score/image", maps.max(axis=(1, 2)), ("item",), per_image(8)),
                          ("score/patch", maps, MAPS, per_image(8)),
                          ("score/mask", masks, ("item", "height", "width"), per_image(8))]  # fmt: skip
                words = {"system": "patchcore", "ratio": ratio, "coreset": coreset}
                for split, more, defective in (("train", [], 0), ("test", scores, 4)):
                    for seed in range(2):
                        runs.append(record("coreset_coverage", [distance, *more], images=8, seed=seed,
                                           defective=defective, split=split, **words))  # fmt: skip
        return Evidence.joined(runs)

    def noise_influence():
        runs = []
        for seed in range(2):
            quantities = []
            for level in ("noise.0.layer1", "noise.0.layer2"):
                values = rng.uniform(0.05, 0.2, (8, 20, 6))
                roles = {"influence": values, "distance": values.mean(axis=2, keepdims=True), "std": values,
                         "start": values}  # fmt: skip
                quantities += [(f"activation_subsample/{level}.{role}", value, ("item", "draw", "dim"),
                                per_image(8)) for role, value in roles.items()]  # fmt: skip
                trace = np.array([[[4, 0.5, 4, 4], [4, 0.4, 3, 5]]]) * (1 + seed)
                quantities.append((f"weight/{level}.trace", trace, ("stage", "fan_out", "fan_in"),
                                   {"stage": np.zeros(1, np.int32)}))  # fmt: skip
            runs.append(record("noise_influence", quantities, images=8, seed=seed, split="train",
                               system="rd-noising"))  # fmt: skip
        return Evidence.joined(runs)

    def distillation_signal():
        arms = (("vgae", "teacher"), ("vgae", "without"), ("vgae", "both"), ("gat", "teacher"),
                ("gat", "without"), ("gat", "soft labels"))  # fmt: skip
        rows = []
        for seed in range(2):
            for system, arm in arms:
                found = [("auroc", "known", 0.9), ("ap", "known", 0.9), ("log_odds", "known", 2.2)]
                if arm != "teacher":
                    found += [("cka", "latent/latent", 0.5), ("agreement", "known vehicles", 0.8)]
                if system == "gat":
                    found.append(("calibration_error", "known vehicles", 0.1))
                nulls = [(f"{kind}_null", place, 0.0) for kind, place, _ in found[3:]]
                rows += [(seed, system, arm, kind, place, value + 0.1 * rng.random())
                         for kind, place, value in (*found, *nulls)]  # fmt: skip
        names = systems.probe("distillation_signal").COLUMNS
        columns = {name: tuple(row[at] for row in rows) for at, name in enumerate(names)}
        return Evidence(
            probe="distillation_signal", replication="seed", columns=columns, details={"runs": ()}
        )

    def judge(name):
        made = {"gradient_concentration": lambda: gradient(name), "tail_training": tail_training,
                "gaussianity": gaussianity, "energy_rank": energy_rank, "cross_task_cka": cross_task_cka,
                "shortcut": shortcut, "coreset_coverage": coreset_coverage,
                "noise_influence": noise_influence,
                "distillation_signal": distillation_signal}[name]()  # fmt: skip
        return systems.probe(name).judge(made)

    return judge


def drawn(result):
    with style.house():
        module = figure(result.probe)
        ax = style.canvas(module.size(result))
        module.draw(result, ax)
        ax.get_figure().draw_without_rendering()
    return ax


def panels(ax):
    """Every panel that is shown, also those inside others."""
    return [one for child in ax.child_axes for one in (child, *panels(child)) if one.axison]


def texts(ax):
    return [text.get_text() for text in ax.get_figure(root=True).findobj(Text) if text.get_text()]


def test_every_probe_has_a_figure_of_its_name():
    files = {path.stem for path in Path(probes.__path__[0]).glob("*.py")} - {"__init__"}
    assert files and files <= set(known())
    for name in files:
        assert figure(name).INPUT is Result


@pytest.mark.parametrize("name", NAMES)
def test_every_panel_is_filled_by_the_tables_of_its_own_probe(judged, name):
    result = judged(name)
    ax = drawn(result)
    assert not [text for text in texts(ax) if "this result has no" in text]
    shown = panels(ax)
    assert len(shown) >= 2
    for panel in shown:
        xy = np.concatenate(
            [np.asarray(line.get_xydata(), dtype=float) for line in panel.lines if len(line.get_xdata())]
        )
        assert np.isfinite(xy).any(), panel.get_title(loc="left")
        axis_labels = (panel.get_xlabel(), panel.get_ylabel())
        assert any(axis_labels), "a panel names what its axes hold"


@pytest.mark.parametrize("name", NAMES)
def test_effect_null_threshold_n_and_verdict_are_on_the_figure(judged, name):
    result = judged(name)
    ax = drawn(result)
    title = ax.get_title(loc="left").replace("\n", " ").replace("\u00a0", " ")
    assert title.startswith(result.verdict.capitalize())
    assert f"n = {result.n} {result.replication}" in title
    top = ax.child_axes[0]
    points = {line.get_marker(): line.get_xdata() for line in top.lines if line.get_marker() in "Ds"}
    assert points["D"][0] == result.effect
    assert points["s"][-1] == result.null.value
    thresholds = [line for line in top.lines if line.get_linestyle() == "--"]
    assert len(thresholds) == (2 if name == "cross_task_cka" else 1)
    assert top.get_xlabel() == result.unit


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("n", [0, 1])
def test_a_result_without_effect_and_tables_is_drawn_as_undecided(make_result, name, n):
    bare = make_result(name, verdict="undecided", effect=None, interval=None, n=n, n_to_decide=6,
                       null=Null(kind="analytic", value=0.0))  # fmt: skip
    told = texts(drawn(bare))
    assert any("Undecided (about 6 images" in text.replace("\n", " ") for text in told)
    assert any("this result has no" in text for text in told)


@pytest.mark.parametrize("name", NAMES)
def test_a_huge_effect_is_drawn(make_result, name):
    ax = drawn(make_result(name, effect=1e9, interval=(1e8, 1e10), hypothesis="word " * 200))
    low, high = ax.child_axes[0].get_xlim()
    assert low <= 0.0 and high >= 1e10
    assert len(ax.get_title(loc="left").splitlines()) <= 9


def test_the_threshold_of_a_ratio_stands_at_its_logarithm(make_result):
    ax = drawn(make_result("gradient_concentration"))
    (line,) = (line for line in ax.child_axes[0].lines if line.get_linestyle() == "--")
    assert line.get_xdata()[0] == pytest.approx(np.log(1.2))


def test_contributions_are_drawn_over_distance_beside_the_weights_alone(judged):
    result = judged("gradient_concentration")
    ax = drawn(result)
    rows = [row for row in result.tables["distance"] if row["loss"] == "mean"]
    panel = next(one for one in panels(ax) if "distance" in one.get_title(loc="left"))
    data = [line.get_ydata() for line in panel.lines]
    seen = [row["mean"] for row in rows if row["mean"] is not None]
    assert any(
        np.allclose(np.asarray(one, float)[: len(seen)], seen) for one in data if len(one) == len(rows)
    )
    assert panel.get_yscale() == "log"


def test_each_seed_is_a_line_from_without_to_with(judged):
    result = judged("tail_training")
    panel = drawn(result).child_axes[1]
    lines = [list(line.get_ydata()) for line in panel.lines if len(line.get_xdata()) == 2]
    for row in result.tables["pairs"]:
        assert [row["without"], row["with"]] in lines


def test_every_dimension_is_counted(judged):
    result = judged("gaussianity")
    panel = next(
        one for one in panels(drawn(result)) if one.get_title(loc="left") == "Each dimension of the latent"
    )
    assert sum(patch.get_data().values.sum() for patch in panel.patches) == len(result.tables["dims"]) == 6
    assert panel.get_ylabel() == "dimensions (of 6)"


def test_the_layers_stand_over_the_range_of_random_changes(judged):
    result = judged("energy_rank")
    panel = drawn(result).child_axes[1]
    np.testing.assert_allclose(
        panel.lines[0].get_ydata(), [row["ratio_mean"] for row in result.tables["layers"]]
    )
    assert next(tick.get_text() for tick in panel.get_xticklabels()) == "flow.0.subnet.s1.base"


def test_trivial_statistics_stand_over_the_range_of_permuted_labels(judged):
    result = judged("shortcut")
    panel = drawn(result).child_axes[1]
    (row,) = result.tables["classes"]
    (bar,) = panel.patches
    assert (bar.get_y(), bar.get_y() + bar.get_height()) == pytest.approx((row["null_low"], row["null_high"]))


def test_radii_stand_over_the_share_of_patches_greedy_beside_random(judged):
    result = judged("coreset_coverage")
    panel = drawn(result).child_axes[1]
    seen = [[row["mean"] for row in result.tables["sizes"] if (row["coreset"], row["quantity"]) == pair]
            for pair in (("greedy", "radius"), ("random", "radius"))]  # fmt: skip
    lines = [container.lines[0] for container in panel.containers]
    assert [list(line.get_ydata()) for line in lines[:2]] == seen
    assert list(lines[0].get_xdata()) == [1.0, 10.0] and panel.get_xscale() == "log"
    assert "feature distance" in panel.get_ylabel()


def test_the_shape_of_the_noise_stands_beside_isotropic_noise_and_its_course_over_epochs(judged):
    result = judged("noise_influence")
    shape, course = drawn(result).child_axes[1:]
    wanted = [row["mean"] for row in result.tables["tenths"] if row["level"].endswith("layer1")][:10]
    lines = [container.lines[0] for container in shape.containers]
    assert len(lines) == 4 and list(lines[0].get_ydata()) == wanted
    assert any(line.get_linestyle() == ":" and set(line.get_ydata()) == {1.0} for line in shape.lines)
    points = course.containers[0].lines[0]
    assert list(points.get_xdata()) == [1, 2]
    assert list(points.get_ydata()) == pytest.approx([0.125, 0.1])


def test_arms_stand_side_by_side_and_what_is_not_judged_below_the_effect(judged):
    result = judged("distillation_signal")
    top, detection, likeness, judging = drawn(result).child_axes
    names = [tick.get_text().replace("\n", " ") for tick in top.get_yticklabels()]
    assert names[0] == "effect" and "gat: soft labels over without" in names
    assert "vgae: both over without" not in names  # that is the effect
    lines = {container.get_label(): container.lines[0] for container in detection.containers}
    assert set(lines) == {"teacher", "without", "both", "soft labels"}
    assert len({line.get_marker() for line in lines.values()}) == 4
    wanted = [row["mean"] for row in result.tables["arms"]
              if (row["arm"], row["quantity"]) == ("without", "auroc")]  # fmt: skip
    assert list(lines["without"].get_ydata()) == wanted
    nulls = next(line for line in likeness.lines if line.get_label() == "null")
    assert len(nulls.get_ydata()) == 2 and max(nulls.get_ydata()) < 0.2
    assert [panel.get_ylabel() for panel in judging.child_axes] == [
        "agreement with the teacher",
        "calibration error",
    ]
