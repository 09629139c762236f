from math import log

import numpy as np
import pytest
from scipy.stats import binom

from mechlab.errors import MechlabError
from mechlab.result import Evidence
from mechlab.specs import Item
from probes import distillation_signal as probe

KNOWN, OTHER = "known_vehicle_known_attack", "unknown_vehicle_known_attack"
GROUPS = {"logs/kia": KNOWN, "logs/spark": OTHER}
WINDOWS = 120  # of a log, half a second each, every third block of 5 s under attack
TOLD = {
    "teacher": {"size": "teacher"},
    "without": {},
    "latent": {"distill": "t", "reconstruction_weight": 0.0},
    "reconstruction": {"distill": "t", "latent_weight": 0.0},
    "both": {"distill": "t"},
    "soft labels": {"distill": "t"},
}
LABELS = (np.arange(2 * WINDOWS) // 10) % 3 == 2


def windows(*, shift=0.0, split="test"):
    found = []
    for at in range(2 * WINDOWS):
        name, start = ("kia", "spark")[at // WINDOWS], 0.5 * (at % WINDOWS) + shift
        found.append(
            Item(
                sha256=f"{at + int(1e6 * shift):064x}",
                class_name="car",
                split=split,
                label=int(LABELS[at]),
                defect="dos" if LABELS[at] else "good",
                image=f"logs/{name}@{start:.6f}",
            )
        )
    return found


@pytest.fixture
def recorded(record):
    """Write what a run of an arm makes of the windows; by default its scores tell attacks a little."""

    def write(
        arm,
        *,
        seed=0,
        scores=None,
        layers=None,
        system="vgae",
        items=None,
        facts=None,
        leave=(),
        name=None,
        **changes,
    ):
        rng = np.random.default_rng([seed, sorted(TOLD).index(arm)])
        n, where = np.zeros(2 * WINDOWS, np.int32), {"item": np.arange(2 * WINDOWS)}
        scores = LABELS + rng.standard_normal(2 * WINDOWS) if scores is None else scores
        layers = rng.standard_normal((2 * WINDOWS, 6)) if layers is None else layers
        every = where | {"stage": n, "adapter": n}
        quantities = [
            ("score/window", scores.astype(np.float64), ("item",), where | {"stage": n}),
            ("activation/level.0", layers, ("item", "dim"), every),
            ("latent/latent", layers[:, :4], ("item", "dim"), every),
        ]
        parts = TOLD[arm] | {"split": "time"} | changes.pop("parts", {})
        if "distill" in parts and parts["distill"] == "t":
            parts["distill"] = f"{system}-teacher-{seed}"
        train = {
            "system": system,
            "parts": parts,
            "tasks": [["car"]],
            "seed": seed,
            "epochs": 4,
            "batch_size": 64,
            "features": [],
        } | changes
        return record(
            [one for one in quantities if one[0] not in leave],
            items=items or windows(),
            train=train,
            name=name or f"{system}-{arm}-{seed}",
            facts={"groups": GROUPS} if facts is None else facts,
        )

    return write


def values(evidence, quantity, *, arm, place=None):
    rows = zip(*(evidence.columns[name] for name in probe.COLUMNS), strict=True)
    return [
        value
        for _, _, own, kind, where, value in rows
        if (own, kind) == (arm, quantity) and place in (None, where)
    ]


def evidence(gains, *, without=2.0, system="vgae", arm="both"):
    """The log odds of an arm and of none, one known group, a seed a gain."""
    rows = []
    for seed, more in enumerate(gains):
        rows += [
            (seed, system, "without", "log_odds", KNOWN, without),
            (seed, system, arm, "log_odds", KNOWN, without + float(more)),
        ]
    columns = {name: tuple(row[at] for row in rows) for at, name in enumerate(probe.COLUMNS)}
    return Evidence(probe="distillation_signal", replication="seed", columns=columns, details={"runs": ()})


def test_log_odds_of_an_area_are_finite_also_where_no_pair_is_wrong():
    assert probe.log_odds(0.8, pairs=100) == pytest.approx(log(4))
    assert probe.log_odds(0.5, pairs=7) == 0.0
    assert probe.log_odds(1.0, pairs=100) == pytest.approx(log(199))
    assert probe.log_odds(0.0, pairs=100) == pytest.approx(-log(199))


def test_a_student_that_is_its_teacher_has_a_likeness_of_one(recorded, rng):
    scores, layers = LABELS + rng.standard_normal(2 * WINDOWS), rng.standard_normal((2 * WINDOWS, 6))
    same = {"scores": scores, "layers": layers}
    found = probe.measure_together([recorded("teacher", **same), recorded("both", **same)])
    assert values(found, "cka", arm="both") == pytest.approx([1.0, 1.0])
    assert values(found, "agreement", arm="both") == pytest.approx([1.0])
    assert max(np.abs(values(found, "cka_null", arm="both"))) < 0.3
    assert abs(values(found, "agreement_null", arm="both")[0]) < 0.4
    assert values(found, "auroc", arm="both") == values(found, "auroc", arm="teacher")
    assert not values(found, "cka", arm="teacher")


def test_an_area_is_that_of_its_group_and_the_judged_one_of_known_vehicles_alone(recorded):
    scores = np.where(np.arange(2 * WINDOWS) < WINDOWS, LABELS, ~LABELS).astype(float)
    found = probe.measure_together([recorded("teacher"), recorded("without", scores=scores)])
    assert values(found, "auroc", arm="without", place=KNOWN) == [1.0]
    assert values(found, "auroc", arm="without", place=OTHER) == [0.0]
    pairs = int(LABELS[:WINDOWS].sum()) * int((~LABELS[:WINDOWS]).sum())
    assert values(found, "log_odds", arm="without") == [probe.log_odds(1.0, pairs=pairs)]
    (row,) = [row for row in found.details["runs"] if (row["arm"], row["group"]) == ("without", KNOWN)]
    assert (row["windows"], row["blocks"], row["low"]) == (WINDOWS, 12, None)
    (row,) = [row for row in found.details["runs"] if (row["arm"], row["group"]) == ("teacher", KNOWN)]
    assert row["low"] < row["auroc"] < row["high"]


def test_scale_of_scores_and_rotation_of_layers_do_not_matter(recorded, rng):
    scores, layers = LABELS + rng.standard_normal(2 * WINDOWS), rng.standard_normal((2 * WINDOWS, 6))
    turned = layers.copy()
    turned[:, :4] = layers[:, :4] @ np.linalg.qr(rng.standard_normal((4, 4)))[0]
    teacher = recorded("teacher", layers=layers + rng.standard_normal(layers.shape))
    plain, moved = (
        recorded("latent", scores=scores, layers=layers),
        recorded("both", scores=np.exp(3 * scores), layers=10 * turned + 5),
    )
    found = probe.measure_together([teacher, plain, moved])
    for quantity in ("auroc", "ap", "log_odds", "agreement", "cka"):
        one, other = (values(found, quantity, arm=arm) for arm in ("latent", "both"))
        assert one == pytest.approx(other, abs=1e-9), quantity


def test_the_order_of_the_recordings_does_not_matter(recorded):
    runs = [recorded(arm, seed=seed) for seed in (0, 1) for arm in ("teacher", "without", "both")]
    one, other = (probe.judge(probe.measure_together(given)) for given in (runs, runs[::-1]))
    assert one.effect == pytest.approx(other.effect)
    key = lambda row: (row["arm"], row["group"], row["quantity"])  # noqa: E731
    assert sorted(one.tables["arms"], key=key) == sorted(other.tables["arms"], key=key)


def test_what_a_signal_puts_into_a_student_is_found_and_nothing_where_nothing_is(recorded):
    runs = []
    for seed in range(6):
        rng = np.random.default_rng(seed)
        layers, noise = rng.standard_normal((2 * WINDOWS, 6)), rng.standard_normal(2 * WINDOWS)
        near = layers + 0.2 * rng.standard_normal(layers.shape)
        runs += [
            recorded("teacher", seed=seed, layers=layers, scores=3.0 * LABELS + noise),
            recorded("without", seed=seed, scores=LABELS + rng.standard_normal(2 * WINDOWS)),
            recorded("latent", seed=seed, layers=near, scores=LABELS + rng.standard_normal(2 * WINDOWS)),
            recorded("both", seed=seed, layers=near, scores=3.0 * LABELS + noise),
        ]
    result = probe.judge(probe.measure_together(runs))
    assert (result.verdict, result.n) == ("supported", 6)
    assert result.null.interval[0] < 0 < result.null.interval[1] < result.interval[0]
    gains = {(row["arm"], row["against"]): row for row in result.tables["gains"] if row["n"]}
    assert gains["latent", "without"]["low"] < 0 < gains["latent", "without"]["high"]
    assert ("reconstruction", "without") not in gains
    likeness = {(row["arm"], row["place"]): row for row in result.tables["layers"]}
    assert likeness["both", "latent/latent"]["low"] > 0.8
    assert likeness["without", "latent/latent"]["high"] < 0.2
    assert abs(likeness["both", "latent/latent"]["null"]) < 0.1
    agree = {row["arm"]: row for row in result.tables["agreement"]}
    assert agree["both"]["low"] > 0.9 and abs(agree["both"]["null"]) < 0.2
    assert agree["without"]["high"] < 0.3


def test_what_logs_alone_give_counts_for_nothing(recorded):
    towers = np.repeat([[5.0], [-5.0]], WINDOWS, axis=0) * np.ones(6)
    both = {GROUP: KNOWN for GROUP in GROUPS}
    rng = np.random.default_rng(3)
    runs = [
        recorded(arm, layers=towers + rng.standard_normal((2 * WINDOWS, 6)), facts={"groups": both})
        for arm in ("teacher", "both")
    ]
    found = probe.measure_together(runs)
    assert np.abs(values(found, "cka", arm="both")).max() < 0.2  # over both logs together it is above 0.8


def test_a_gat_is_judged_by_its_decisions_and_by_what_its_probabilities_are_worth(recorded):
    sure = np.where(LABELS, 4.0, -4.0)
    wrong = sure.copy()
    wrong[np.flatnonzero(~LABELS[:WINDOWS])[:16]] = 4.0
    runs = [
        recorded("teacher", system="gat", scores=sure),
        recorded("soft labels", system="gat", scores=wrong),
    ]
    found = probe.measure_together(runs)
    assert values(found, "agreement", arm="soft labels") == [pytest.approx(1 - 16 / WINDOWS)]
    called = LABELS[:WINDOWS].mean(), (wrong[:WINDOWS] > 0).mean()
    chance = called[0] * called[1] + (1 - called[0]) * (1 - called[1])
    assert values(found, "agreement_null", arm="soft labels") == [pytest.approx(chance)]
    error = 1 / (1 + np.exp(4.0))
    assert values(found, "calibration_error", arm="teacher") == [pytest.approx(error)]
    assert values(found, "calibration_error", arm="soft labels")[0] > 0.1
    assert values(found, "calibration_error_null", arm="soft labels")[0] < 0.03
    assert not values(
        probe.measure_together([recorded("teacher", seed=1)]), "calibration_error", arm="teacher"
    )


def test_a_layer_without_spread_has_no_likeness_and_stops_nothing(recorded):
    layers = np.ones((2 * WINDOWS, 6))
    found = probe.measure_together([recorded("teacher"), recorded("both", layers=layers)])
    assert values(found, "cka", arm="both") == []
    assert len(values(found, "auroc", arm="both")) == 2


@pytest.mark.parametrize(
    ("gains", "verdict"),
    [
        ([0.5, 0.6, 0.55, 0.52, 0.58, 0.6], "supported"),
        ([0.0, 0.05, -0.05, 0.02, 0.01, 0.0], "refuted"),
        ([-0.5, -0.6, -0.4, -0.5, -0.6, -0.5], "refuted"),
        ([0.0, 0.5, 0.1, 0.4, 0.2, 0.3], "undecided"),
        ([0.5, 0.6, 0.55, 0.52, 0.58], "undecided"),
    ],
    ids=["gain", "none", "loss", "wide", "five seeds"],
)
def test_all_three_verdicts_come_out(gains, verdict):
    result = probe.judge(evidence(gains))
    assert (result.verdict, result.n) == (verdict, len(gains))
    assert result.effect == pytest.approx(np.mean(gains))
    assert result.null.value == 0.0
    assert (result.n_to_decide is None) == (verdict != "undecided")


def test_a_gain_at_the_threshold_is_decided_no_more_often_than_one_time_in_twenty():
    rng, repeats = np.random.default_rng(6), 100
    draws = log(1.25) + 0.1 * rng.standard_normal((repeats, 6))
    decided = sum(probe.judge(evidence(gains)).verdict != "undecided" for gains in draws)
    assert decided <= binom.ppf(0.999, repeats, 0.05)


def test_other_signals_and_models_decide_nothing():
    for words in ({"arm": "latent"}, {"system": "gat", "arm": "soft labels"}):
        result = probe.judge(evidence([1.0] * 6 + [1.1], **words))
        assert (result.verdict, result.effect, result.n) == ("undecided", None, 0)
        assert "no seed has a VGAE student with both signals" in result.reason
        assert any(row["n"] == 7 for row in result.tables["gains"])


def test_a_gain_is_a_mean_over_the_groups_that_both_arms_have():
    found = evidence([1.0])
    more = {
        name: (*column, value)
        for (name, column), value in zip(
            found.columns.items(), (0, "vgae", "both", "log_odds", "another", 9.0), strict=True
        )
    }
    cells = probe._cells(Evidence(probe="distillation_signal", replication="seed", columns=more))
    assert probe.gain(cells, "vgae", "both", "without", "log_odds") == {0: 1.0}


def test_the_planned_students_differ_in_what_they_are_told_alone():
    plan = probe.plan()
    by_system = {}
    for arm in plan.arms:
        if "teacher" not in arm.name:
            by_system.setdefault(arm.system, []).append(arm)
    assert {len(arms) for arms in by_system.values()} == {4, 2}
    for arms in by_system.values():
        plain = [
            {key: value for key, value in arm.settings.items() if not key.endswith("_weight")} for arm in arms
        ]
        assert all(one == plain[0] for one in plain) and len({arm.preset for arm in arms}) == 1
        assert ["distill" in arm.runs for arm in arms] == [False] + [True] * (len(arms) - 1)
    assert plan.arms[0].name == "vgae teacher" and plan.arms[0].runs == {}
    assert probe.judge(evidence([0.0, 0.1])).decision_rule == plan.decision_rule


@pytest.mark.parametrize(
    ("one", "other", "told"),
    [
        ({"arm": "without"}, {"arm": "both"}, "no teacher of seed 0 is among the runs of vgae"),
        ({"arm": "teacher"}, {"arm": "both", "seed": 1}, "no teacher of seed 1 is among"),
        ({"arm": "teacher"}, {"arm": "teacher", "parts": {"window": 50}}, "are both the vgae 'teacher'"),
        ({"arm": "teacher"}, {"arm": "both", "parts": {"distill": "vgae-x"}}, "was taught by 'vgae-x'"),
        ({"arm": "teacher"}, {"arm": "both", "items": windows(shift=0.25)}, "were recorded on other windows"),
        ({"arm": "teacher"}, {"arm": "both", "items": windows(split="train")}, "that it was trained"),
        ({"arm": "teacher"}, {"arm": "both", "leave": ("latent/latent",)}, "has no 'latent/latent'"),
        ({"arm": "teacher", "facts": {}}, {"arm": "both"}, "does not say of which logs"),
        ({"arm": "teacher"}, {"arm": "both", "system": "moleflow"}, "is of moleflow, which"),
    ],
    ids=[
        "no teacher",
        "of another seed",
        "two teachers",
        "another teacher",
        "windows",
        "split",
        "latent",
        "logs",
        "system",
    ],
)
def test_recordings_that_cannot_be_compared_are_refused(recorded, one, other, told):
    runs = [recorded(**words, name=name) for words, name in ((one, None), (other, "second"))]
    with pytest.raises(MechlabError, match=told):
        probe.measure_together(runs)


@pytest.mark.parametrize(
    ("changes", "key"),
    [
        ({"epochs": 9}, "epochs"),
        ({"parts": {"alpha": 0.3}}, "alpha"),
        ({"parts": {"hidden": [8, 8, 3]}}, "hidden"),
    ],
)
def test_students_that_differ_in_more_than_their_teaching_are_refused(recorded, changes, key):
    runs = [recorded("teacher"), recorded("latent"), recorded("both", **changes)]
    with pytest.raises(MechlabError, match=f"differ in '{key}' as well"):
        probe.measure_together(runs)


def test_a_student_without_a_teacher_may_leave_out_what_only_a_teacher_reads(recorded):
    runs = [recorded("teacher"), recorded("without"), recorded("both", parts={"alpha": 0.3})]
    assert len(values(probe.measure_together(runs), "auroc", arm="both")) == 2


def test_one_recording_alone_is_refused(recorded):
    with pytest.raises(MechlabError, match="no teacher of seed 0"):
        probe.measure(recorded("both"))


def test_the_null_spans_the_pairs_of_students_without_a_teacher():
    rows = [(seed, "vgae", "without", "log_odds", KNOWN, value) for seed, value in enumerate([1.0, 2.0, 4.0])]
    columns = {name: tuple(row[at] for row in rows) for at, name in enumerate(probe.COLUMNS)}
    null = probe.judge(
        Evidence(probe="distillation_signal", replication="seed", columns=columns, details={"runs": ()})
    ).null
    assert null.interval == pytest.approx(tuple(np.quantile([-3, -2, -1, 1, 2, 3], (0.025, 0.975))))
