"""The user's own logs scored by a trained run: one row a window. The logs of its training are not needed.

An id that the run's training did not know counts as unknown, as in its tests. Labels are told where a log has
them, and change no score.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float64

from mechlab.errors import MechlabError
from mechlab.files import staged_folder
from mechlab.runs.folder import RunFolder, find
from mechlab.specs import validated
from mechlab.train.checkpoint import load_weights
from mechlab.train.devices import device_of
from mechlab.train.images import write_table
from reproductions.can_ids.folder import logs_below, plain_name, source_of
from reproductions.can_ids.fusion_config import FusionConfig
from reproductions.can_ids.fusion_state import SIZE, states
from reproductions.can_ids.fusion_system import Fusion
from reproductions.can_ids.graph_set import UNLABELLED, GraphSet
from reproductions.can_ids.models import CONFIGS, Trained, trained
from reproductions.can_ids.reading import SUFFIXES, read
from reproductions.can_ids.scoring import scored
from reproductions.can_ids.windows import graphs_of

COLUMNS = ("log", "start", "end", "score", "threshold", "anomalous", "label", "attack")


@dataclass(frozen=True, slots=True, kw_only=True)
class Scorer:
    """What gives windows their scores, and how windows are cut for it."""

    like: Trained  # a run whose vocabulary, window and stride hold
    threshold: float  # a window of a higher score is called an attack
    scores: Callable[[GraphSet], Float64[np.ndarray, " graph"]]

    def graphs(self, path: Path, *, part: str) -> GraphSet:
        """Return the windows of a log; MechlabError for one that cannot be read or is too short."""
        log, cut = read(path), self.like.cut
        if len(log) < cut["window"]:
            raise MechlabError(
                f"log '{path}' has {len(log)} messages, fewer than the {cut['window']} of a window of run "
                f"'{self.like.run.name}'; leave it out, or give a longer one."
            )
        source = source_of(plain_name(part, path), part)
        return graphs_of(log, source, vocabulary=self.like.vocabulary, window=cut["window"],
                         stride=cut["stride"])  # fmt: skip


def score_logs(
    run: RunFolder, place: Path, target: Path, *, device: str, report: Callable[[str], None]
) -> dict[str, Any]:
    """Score every window of a log, or of all logs below a folder; `target` gets `scores.csv`.

    Returns `{scores, threshold, windows}`, a row of `windows` having `COLUMNS`: log, start and end (seconds,
    of the first and the last message), score, whether it lies above the threshold, and label (1: an attack)
    and attack, None where the log has no labels.

    Raises:
        MechlabError: no log, a log that cannot be read or is too short, a target that exists, or a run
            that is not finished.
    """
    if not place.exists():
        raise MechlabError(f"'{place}' does not exist; give a log, or a folder of logs.")
    logs = logs_below(place)
    if not logs:
        raise MechlabError(f"'{place}' holds no log; give one, or a folder of them ({', '.join(SUFFIXES)}).")
    if target.exists():
        raise MechlabError(f"'{target}' exists; give a folder that is not there yet with --out.")
    scorer, rows = scorer_of(run, device=device_of(device)), []
    for part, path in logs:
        report(f"  scoring {path.name}")
        name = path.name if place.is_file() else str(path.relative_to(place))
        rows += _rows(name, scorer.graphs(path, part=part), scorer)
    with staged_folder(target) as stage:
        write_table(stage / "scores.csv", rows, COLUMNS)
    return {"scores": str(target / "scores.csv"), "threshold": scorer.threshold, "windows": rows}


def scorer_of(run: RunFolder, *, device: torch.device) -> Scorer:
    """Return what a finished run scores windows by; MechlabError for a run that it needs and that is gone."""
    threshold = float(run.summary()["threshold"])
    if run.spec().system in CONFIGS:
        own = trained(run)
        model = own.model.to(device)
        return Scorer(like=own, threshold=threshold, scores=lambda graphs: scored(model, graphs).scores)
    parts = run.parts()
    vgae, gat = (trained(find(parts[name], run.path.parent)) for name in ("vgae", "gat"))
    models = vgae.model.to(device), gat.model.to(device)
    unseen = torch.zeros(1, SIZE), torch.zeros(1, dtype=torch.int64)  # it learns from no window here
    fusion = Fusion(validated(FusionConfig, parts, what="fusion"), *unseen, seed=run.spec().seed)
    load_weights(run.checkpoint(0), fusion)
    fusion.to(device)

    def fused(graphs: GraphSet) -> Float64[np.ndarray, " graph"]:
        return fusion.scores(states(*models, graphs))["agent"].double().cpu().numpy()

    return Scorer(like=gat, threshold=threshold, scores=fused)


def _rows(name: str, graphs: GraphSet, scorer: Scorer) -> list[dict[str, Any]]:
    found = []
    values = zip(graphs.start, graphs.end, scorer.scores(graphs), graphs.y, graphs.attacks, strict=True)
    for start, end, score, label, attack in values:
        is_known = label != UNLABELLED
        found.append({
            "log": name, "start": float(start), "end": float(end), "score": float(score),
            "threshold": scorer.threshold, "anomalous": bool(score > scorer.threshold),
            "label": int(label) if is_known else None, "attack": attack if is_known else None,
        })  # fmt: skip
    return found
