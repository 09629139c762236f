"""The baseline without learning: planted attacks are found, normal traffic is called as rarely as said."""

import numpy as np
import pytest
from scipy.stats import binom

from mechlab.errors import MechlabError
from reproductions.can_ids.baseline import Baseline, judge_baseline
from reproductions.can_ids.folder import open as open_folder
from reproductions.can_ids.judging import Scored, judged
from reproductions.can_ids.prepare import prepared
from reproductions.can_ids.statistics import Intervals, statistics


@pytest.fixture(scope="module")
def prepared_graphs(can_folder, tmp_path_factory):
    return prepared(open_folder(can_folder), cache=tmp_path_factory.mktemp("cache"), window=50, stride=50)[0]


@pytest.fixture(scope="module")
def found(prepared_graphs):
    return judge_baseline(prepared_graphs, false_positive_rate=0.1, seconds=0.5)


def test_floods_random_ids_and_injected_messages_are_found(found):
    known = found["groups"]["test_01_known_vehicle_known_attack"]["attacks"]
    unknown = found["groups"]["test_03_known_vehicle_unknown_attack"]["attacks"]
    assert known["dos"]["single_auroc"]["rate"] > 0.95
    assert known["fuzzing"]["single_auroc"]["unknown"] > 0.95
    assert unknown["malfunction"]["single_auroc"]["interval"] > 0.9
    for one in (known["dos"], known["fuzzing"], unknown["malfunction"]):
        assert one["auroc"] > 0.9 and one["f1"] > 0.6


def test_normal_windows_of_other_recordings_are_called_about_as_often_as_promised(graphs, bus):
    logs = [bus(seconds=30.0, seed=seed) for seed in range(3)]
    training, validation, test = (graphs(log, attack="none") for log in logs)
    baseline = Baseline.of(training)
    threshold = np.sort(baseline.scores(validation))[-int(0.1 * len(validation))]
    called = int((baseline.scores(test) > threshold).sum())
    assert called <= binom.ppf(1 - 1e-6, len(test), 0.2)


def test_labels_that_mean_nothing_have_an_auroc_of_chance(graphs, bus):
    training, test = graphs(bus(seconds=20.0), attack="none"), graphs(bus(seconds=20.0, seed=9))
    scores = Baseline.of(training).scores(test)
    aurocs = []
    for seed in range(10):
        labels = (np.random.default_rng(seed).random(len(test)) < 0.5).astype(np.int64)
        test.y[:] = labels
        aurocs.append(judged(Scored(graphs=test, scores=scores, threshold=0.0))[""]["auroc"])
    assert abs(np.mean(aurocs) - 0.5) < 0.06


def test_a_window_at_the_threshold_is_not_called(graphs, bus):
    windows = graphs(bus(seconds=5.0, attack="dos"))
    at, above = (np.full(len(windows), score) for score in (0.5, np.nextafter(0.5, 1)))
    called = [
        judged(Scored(graphs=windows, scores=scores, threshold=0.5))[""]["recall"] for scores in (at, above)
    ]
    assert called == [0.0, 1.0]


def test_the_numbers_of_a_window_by_hand(graphs, bus):
    log = bus(seconds=5.0)
    one = graphs(log, attack="none")
    values = statistics(one, Intervals.of(one))
    shares = np.unique(log.ids[:100], return_counts=True)[1] / 100
    assert values[0, 0] == pytest.approx(np.log(99 / (log.time[99] - log.time[0])))
    assert values[0, 1] == pytest.approx(-(shares * np.log(shares)).sum())
    assert (values[:, 2] <= 0).all() and (values[:, 3] == 0).all()


def test_doubling_time_moves_the_rate_by_log_two_and_no_entropy(graphs, bus):
    log = bus(seconds=5.0)
    slow = type(log)(
        time=2 * log.time, ids=log.ids, payload=log.payload, length=log.length, attack=log.attack
    )
    one, two = graphs(log, attack="none"), graphs(slow, attack="none")
    values, other = statistics(one, Intervals.of(one)), statistics(two, Intervals.of(one))
    assert np.allclose(values[:, 0] - other[:, 0], np.log(2))
    assert np.array_equal(values[:, [1, 3]], other[:, [1, 3]])


def test_a_message_between_two_of_its_id_halves_the_interval(graphs):
    from reproductions.can_ids.log import Log

    def periodic(times):
        size = len(times)
        return Log(time=np.array(times), ids=np.full(size, 5, dtype=np.uint32),
                   attack=np.zeros(size, dtype=bool), length=np.zeros(size, dtype=np.uint8),
                   payload=np.zeros((size, 8), dtype=np.uint8))  # fmt: skip

    usual = graphs(periodic(np.arange(40) * 0.1), window=10, attack="none", stride=10)
    with_one = graphs(periodic([0.0, 0.1, 0.15, *np.arange(2, 9) * 0.1]), window=10, stride=10)
    assert statistics(with_one, Intervals.of(usual))[0, 2] == pytest.approx(np.log(0.5), abs=1e-5)


def test_a_row_of_metrics_says_what_it_rests_on(found):
    row = found["groups"]["test_01_known_vehicle_known_attack"]
    assert {"windows", "attack_windows", "blocks", "accuracy", "precision", "recall", "f1", "f1_macro",
            "auroc", "ap", "fpr_at_recall", "intervals", "attacks", "single_auroc"} == set(row)  # fmt: skip
    assert row["f1_macro"] == pytest.approx(np.mean([one["f1"] for one in row["attacks"].values()]))
    assert row["attack_windows"] == sum(one["attack_windows"] for one in row["attacks"].values())
    for name, bounds in row["intervals"].items():
        assert bounds is None or (0 <= bounds[0] <= bounds[1] <= 1), name
    assert row["blocks"] >= 12


def test_the_same_graphs_have_the_same_scores(prepared_graphs):
    one, two = (Baseline.of(prepared_graphs.of_split("train")).scores(prepared_graphs) for _ in range(2))
    assert np.array_equal(one, two)


@pytest.mark.parametrize(
    ("words", "told"),
    [({"false_positive_rate": 1e-4}, "promise no false-positive rate of 0.0001; give longer logs, or"),
     ({"recall": 1.5}, "recall of 1.5"), ({"seconds": 0.0}, "block of 0")],
)  # fmt: skip
def test_what_cannot_be_judged_is_one_sentence(prepared_graphs, words, told):
    with pytest.raises(MechlabError, match=told):
        judge_baseline(prepared_graphs, **{"false_positive_rate": 0.1, **words})


def test_the_rate_that_is_proposed_can_be_promised(prepared_graphs):
    with pytest.raises(MechlabError, match="or more") as fault:
        judge_baseline(prepared_graphs, false_positive_rate=1e-3)
    proposed = float(str(fault.value).split("--false-positives ")[1].split()[0])
    assert judge_baseline(prepared_graphs, false_positive_rate=proposed)["false_positive_rate"] == proposed


def test_without_tests_or_normals_there_is_no_baseline(prepared_graphs):
    with pytest.raises(MechlabError, match="needs test and validation windows"):
        judge_baseline(prepared_graphs.of_split("train"))
    with pytest.raises(MechlabError, match="more than 10 normal training windows"):
        Baseline.of(prepared_graphs.span(0, 5))
