from dataclasses import replace

import numpy as np
import pytest
from matplotlib.text import Text

from figures import accuracy_matrix, gallery, score_histograms, style, table, training
from figures.page.content import ClassScores

MODULES = (accuracy_matrix, gallery, score_histograms, table, training)


@pytest.fixture
def draw():
    """Draw in the house style and hand back the axes, laid out."""
    with style.house():

        def run(module, content):
            ax = style.canvas(module.size(content))
            module.draw(content, ax)
            ax.get_figure().draw_without_rendering()
            return ax

        yield run


def texts(ax):
    figure = ax.get_figure(root=True)
    return [text.get_text() for text in figure.findobj(Text) if text.get_text()]


# score histograms


def test_every_image_is_counted_once(draw, make_run):
    ax = draw(score_histograms, make_run())
    for panel in ax.child_axes:
        filled = [patch for patch in panel.patches if patch.get_fill()]
        assert [patch.get_data().values.sum() for patch in filled] == [6, 6]


def test_the_threshold_stands_where_it_was_set(draw, make_run):
    panel = draw(score_histograms, make_run()).child_axes[0]
    (line,) = (line for line in panel.lines if line.get_label() == "threshold")
    assert set(line.get_xdata()) == {4.0}
    assert panel.get_xlabel() == "image score (nats)"
    assert panel.get_ylabel() == "images (of 6 + 6)"


def test_the_trivial_auroc_stands_beside_that_of_the_model(draw, make_run):
    panel = draw(score_histograms, make_run()).child_axes[0]
    assert "image AUROC 0.900 · trivial (mean) 0.600" in panel.get_title(loc="left")


@pytest.mark.parametrize(
    "scores", [[1.0], [3.0, 3.0, 3.0], [1e12, 1e12 + 1.0], [0.0, np.inf, np.nan], []],
    ids=["one", "equal", "huge", "not-finite", "none"],
)  # fmt: skip
def test_few_equal_and_infinite_scores_are_drawn(draw, make_run, scores):
    values = np.array(scores, dtype=np.float64)
    found = {"gear": ClassScores(labels=np.zeros(len(values), dtype=int), scores=values)}
    ax = draw(score_histograms, make_run(("gear",), scores=found, metrics={"gear": {"image_auroc": None}}))
    (panel,) = ax.child_axes
    counts = [patch.get_data().values.sum() for patch in panel.patches if patch.get_fill()]
    assert sum(counts) == np.isfinite(values).sum()
    assert ("not finite" in panel.get_xlabel()) == (not np.isfinite(values).all())
    assert "image AUROC n/a" in panel.get_title(loc="left")


def test_bins_are_common_to_both_labels_and_cover_all(rng):
    values = rng.normal(size=50)
    edges = score_histograms.bins(values)
    assert edges[0] == values.min() and edges[-1] == values.max()
    assert len(edges) - 1 == 14


def test_the_rates_at_the_threshold_are_said():
    scores = ClassScores(labels=np.array([0, 0, 1]), scores=np.array([1.0, 5.0, 6.0]), threshold=4.0)
    told = score_histograms.threshold_told(scores)
    assert told == "threshold 4, flags 1 of 2 normal images, flags 1 of 1 defective images"


# gallery


def test_each_example_is_shown_as_image_mask_and_map(draw, make_run):
    content = make_run(("gear",))
    (strip,) = draw(gallery, content).child_axes
    shown = [image.get_array() for image in strip.images]
    assert len(shown) == 4 * 2  # thumbnail three times, map once
    for at, example in enumerate(content.examples):
        np.testing.assert_array_equal(shown[4 * at], example.thumbnail)
        np.testing.assert_array_equal(shown[4 * at + 3], example.map)


def test_the_outline_runs_around_the_mask(draw, make_run):
    content = make_run(("gear",))
    (strip,) = draw(gallery, content).child_axes
    mask = content.examples[1].mask
    outlines = [path for one in strip.collections for path in one.get_paths() if len(path.vertices)]
    assert len(outlines) == 2  # dark below, light above; none for the normal image
    rows, columns = np.nonzero(mask)
    low, high = outlines[0].vertices.min(axis=0), outlines[0].vertices.max(axis=0)
    assert low[0] == pytest.approx(1 + 0.96 * columns.min() / 12, abs=0.05)
    assert high[0] == pytest.approx(1 + 0.96 * (columns.max() + 1) / 12, abs=0.05)
    assert high[1] == pytest.approx(1 + 0.96 * (1 - rows.min() / 12), abs=0.05)


def test_a_mask_at_the_border_is_closed(draw, make_run):
    content = make_run(("gear",))
    full = replace(content.examples[1], mask=np.ones((12, 12), dtype=bool))
    (strip,) = draw(gallery, replace(content, examples=(full,))).child_axes
    vertices = next(path.vertices for one in strip.collections for path in one.get_paths())
    assert vertices[:, 0].min() == pytest.approx(0.0, abs=0.05)
    assert vertices[:, 0].max() == pytest.approx(0.96, abs=0.05)


def test_maps_of_one_class_share_one_scale_and_the_unit_is_said(draw, make_run):
    (strip,) = draw(gallery, make_run(("gear",))).child_axes
    maps = [image for image in strip.images if image.get_array().ndim == 2]
    assert len({image.get_clim() for image in maps}) == 1
    assert "place score (nats)" in texts(strip)


def test_score_and_decision_are_told_in_words(draw, make_run):
    told = texts(draw(gallery, make_run(("gear",))))
    assert "normal\n2, passed" in told
    assert "scratch\n9, flagged" in told


@pytest.mark.parametrize(("count", "lengths"), [(1, [1]), (8, [8]), (9, [5, 4]), (17, [6, 6, 5])])
def test_strips_are_of_equal_length(draw, make_run, count, lengths):
    content = make_run(("gear",))
    ax = draw(gallery, replace(content, examples=content.examples[:1] * count))
    assert [len(panel.images) // 4 for panel in ax.child_axes] == lengths


@pytest.mark.parametrize(
    ("values", "ends"), [(np.full((2, 2), 3.0), (2.5, 3.5)), (np.full((2, 2), np.inf), (0.0, 1.0)),
                         (np.array([[1.0, np.nan], [4.0, 2.0]]), (1.0, 4.0))],
    ids=["constant", "infinite", "nan"],
)  # fmt: skip
def test_every_map_has_a_scale(make_run, values, ends):
    assert gallery.limits([replace(make_run().examples[0], map=values)]) == ends


# accuracy matrix, training, table


def test_the_matrix_has_stages_tasks_and_the_trivial_row(make_run):
    values = accuracy_matrix.with_trivial(make_run())
    np.testing.assert_allclose(values, [[0.90, np.nan], [0.90, 0.91], [0.6, 0.6]])


def test_the_matrix_says_what_was_forgotten(draw, make_run):
    ax = draw(accuracy_matrix, make_run(forgetting=0.125, scores_identical=False))
    assert ax.get_title(loc="left") == "Forgetting 0.125 in image AUROC,\nearlier scores moved"
    assert "0.910" in texts(ax)
    assert [tick.get_text() for tick in ax.get_yticklabels()] == [
        "after task 0",
        "after task 1",
        "trivial, best",
    ]


def test_one_task_forgets_nothing_and_says_so(draw, make_run):
    assert draw(accuracy_matrix, make_run(("gear",))).get_title(loc="left") == "Forgetting needs two tasks"


def test_losses_are_drawn_as_logged_with_their_unit(draw, make_run):
    ax = draw(training, make_run())
    np.testing.assert_allclose(ax.lines[0].get_ydata(), 2.0 - 0.1 * np.arange(10))
    np.testing.assert_allclose(ax.lines[1].get_xydata(), [[2.0, 1.8], [7.0, 1.3]])  # epoch means
    assert ax.get_ylabel() == "loss (nats a patch)"
    assert {"task 0: gear", "task 1: weave"} <= set(texts(ax))


def test_a_trivial_statistic_stands_beside_every_image_auroc(make_run):
    content = make_run()
    made = table.metrics_table(content)
    at = made.header.index("image AUROC")
    assert made.header[at + 1 : at + 4] == ("mean alone", "std alone", "distance alone")
    assert made.rows[0][at : at + 4] == ("0.900", "0.600", "0.550", "n/a")
    assert made.rows[-1][0] == "mean" and made.rows[-1][at] == "0.905"


def test_a_run_without_trivial_statistics_says_so(make_run):
    made = table.metrics_table(make_run(trivial={}))
    assert "trivial statistic" in made.header
    assert made.rows[0][made.header.index("trivial statistic")] == "n/a"


def test_a_class_that_a_trivial_statistic_solves_is_named(make_run):
    (warning,) = table.metrics_table(make_run(trivial={"weave": {"mean": 1.0}})).warnings
    assert warning.startswith(
        "weave: the mean of the raw image alone reaches image AUROC 1.000, the model 0.910"
    )


# all of them


@pytest.mark.parametrize("module", MODULES, ids=lambda module: module.__name__)
@pytest.mark.parametrize(
    "classes", [("gear",), tuple(f"class number {at}" for at in range(15))], ids=["1", "15"]
)
def test_one_and_fifteen_classes_are_drawn(draw, make_run, module, classes):
    told = texts(draw(module, make_run(classes, images=3)))
    if module not in {training} or len(classes) == 1:
        assert any(classes[-1] in text for text in told)


@pytest.mark.parametrize("module", MODULES, ids=lambda module: module.__name__)
def test_a_run_of_which_nothing_was_kept_is_a_sentence_or_an_empty_table(draw, make_run, module):
    empty = make_run((), tasks=(), metrics={}, trivial={}, accuracy_matrix=(), scores={}, examples=(), log=())
    told = texts(draw(module, empty))
    assert any("was kept" in text or "were kept" in text or text == "class" for text in told)


@pytest.mark.parametrize("module", MODULES, ids=lambda module: module.__name__)
@pytest.mark.parametrize("name", ["$\\frac$", "_hidden", "x" * 300, "日本", "a\nb"])
def test_any_name_of_a_class_is_drawn_as_it_is(draw, make_run, module, name):
    told = " ".join(texts(draw(module, make_run((name,)))))
    if name[0] in "$_":
        assert name in told
    else:
        assert "x" * 60 not in told and "日本" not in told


def test_only_normal_images_make_a_gallery_and_histograms(draw, make_run):
    content = make_run(("gear",))
    scores = {"gear": ClassScores(labels=np.zeros(4, dtype=int), scores=np.arange(4.0), threshold=None)}
    content = replace(content, examples=content.examples[:1], scores=scores)
    (strip,) = draw(gallery, content).child_axes
    assert "normal\n2" in texts(strip)
    (panel,) = draw(score_histograms, content).child_axes
    assert not [line for line in panel.lines if line.get_label() == "threshold"]
