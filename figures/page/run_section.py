"""One run on the page: metrics beside trivial statistics, gallery, histograms, forgetting, training."""

from figures.page.content import RunContent
from figures.page.markup import Markup, element, folded, joined, picture, table
from figures.render import rendered, source_hash
from figures.score_histograms import threshold_told
from figures.table import metrics_table
from figures.wording import share

_KINDS = {"gallery": "png"}  # photographs are smaller as pixels
_DPI = 130
_CAPTIONS = {
    "gallery": "Test images with the outline of their mask, the map that the model gives, and the image "
    "score; one colour scale a class.",
    "score_histograms": "Scores of test images; the line is the threshold from held-out normal images.",
    "accuracy_matrix": "Image AUROC of each task after each stage; the last row is no model at all.",
    "training": "Training loss of each task.",
}


def run_section(run: RunContent, *, at: int, is_full: bool = True) -> Markup:
    """Return the section of the run at place `at`; only a full one has figures."""
    metrics = metrics_table(run)
    parts: list[object] = [
        table(metrics.header, metrics.rows, caption="Metrics of each class, routed unless said otherwise",
              last_is_mean=len(metrics.rows) > 1),
        *(element("p", warning, attributes={"class": "warning"}) for warning in metrics.warnings),
    ]  # fmt: skip
    if run.scores:
        told = [element("li", f"{name}: {threshold_told(scores)}.") for name, scores in run.scores.items()]
        parts.append(folded("Decision thresholds, from held-out normal images", [element("ul", told)]))
    if not is_full:
        shown = element("h3", run.name)
        return folded(f"{run.name}: another seed of the run above", [shown, *parts])
    parts += _figures(run)
    return element("section", [element("h2", f"Run {run.name}"), *parts], attributes={"id": f"run-{at}"})


def _figures(run: RunContent) -> list[object]:
    parts: list[object] = []
    if run.examples:
        parts += [element("h3", "Anomaly maps"), _shown("gallery", run, alt=_gallery_alt(run))]
    if run.scores:
        parts += [element("h3", "Image scores"), _shown("score_histograms", run, alt=_histogram_alt(run))]
    if run.accuracy_matrix:
        parts += [element("h3", "Forgetting"), _shown("accuracy_matrix", run, alt=_matrix_alt(run)),
                  folded("The numbers of this figure", [_matrix_table(run)])]  # fmt: skip
    if run.log:
        parts += [element("h3", "Training"), _shown("training", run, alt=_training_alt(run))]
    return parts


def _shown(name: str, run: RunContent, *, alt: str) -> Markup:
    kind = _KINDS.get(name, "svg")
    caption = " ".join([_CAPTIONS[name], *([run.examples_rule] if name == "gallery" else [])]).strip()
    caption += f" Data {source_hash(name, run)[:12]}."
    return picture(rendered(name, run, kind=kind, dpi=_DPI), kind=kind, alt=alt, caption=caption, dpi=_DPI)


def _gallery_alt(run: RunContent) -> str:
    classes = list(dict.fromkeys(one.class_name for one in run.examples))
    defects = sum(one.label for one in run.examples)
    return (
        f"{len(run.examples)} test images of {', '.join(classes)}, {defects} of them defective, each with "
        "mask outline and anomaly map."
    )


def _histogram_alt(run: RunContent) -> str:
    told = []
    for name, scores in run.scores.items():
        auroc, best = run.metrics.get(name, {}).get("image_auroc"), run.best_trivial(name)
        beside = "" if best is None else f", trivial statistic {best[0]} {share(best[1])}"
        told.append(f"{name}: image AUROC {share(auroc)}{beside}; {threshold_told(scores)}")
    return "Histograms of image scores, normal against defective. " + ". ".join(told) + "."


def _matrix_alt(run: RunContent) -> str:
    last = [share(value) for value in run.accuracy_matrix[-1]]
    return f"Heat map of image AUROC by stage and task. After the last stage: {', '.join(last)}."


def _matrix_table(run: RunContent) -> Markup:
    names = [" + ".join(task) for task in run.tasks]
    rows = [
        [f"after task {stage}", *("" if value is None else share(value) for value in row)]
        for stage, row in enumerate(run.accuracy_matrix)
    ]
    best = [
        [found[1] for name in task if (found := run.best_trivial(name)) is not None] for task in run.tasks
    ]
    rows.append(["trivial, best", *(share(sum(one) / len(one)) if one else "n/a" for one in best)])
    return table(["stage", *names], rows, caption="Image AUROC, routed")


def _training_alt(run: RunContent) -> str:
    losses = [row["loss"] for row in run.log if isinstance(row.get("loss"), int | float)]
    if not losses:
        return "Training loss; no row of the log holds one."
    return (
        f"Training loss over {len(losses)} steps, from {losses[0]:.3g} to {losses[-1]:.3g} {run.loss_unit}."
    )


def index(runs: list[list[RunContent]]) -> Markup:
    """Return the sections of all runs: the first seed of an arm in full, the others folded below it."""
    parts, at = [], 0
    for group in runs:
        for place, run in enumerate(group):
            parts.append(run_section(run, at=at, is_full=place == 0))
            at += 1
    return joined(parts)
