"""What reverse distillation offers, as torch-free lists: the system, its presets, its parts."""

from mechlab.systems import Entry
from reproductions.reverse_distillation.aspects import aspects
from reproductions.reverse_distillation.config import NEEDS
from reproductions.reverse_distillation.presets import PRESETS, SOURCE

__all__ = [
    "ASPECTS",
    "CONFIG",
    "LAYOUT",
    "NEEDS",
    "NORMALISES_BATCHES",
    "PARTS",
    "PRESETS",
    "SCORE_UNIT",
    "SYSTEM",
]

ROOM = "reproductions.reverse_distillation"
CONFIG = f"{ROOM}.config:ReverseDistillationConfig"
NORMALISES_BATCHES = True  # so that a batch cannot be split over devices
LAYOUT = "pyramid"  # its features: the teacher's maps, each on its own grid
SCORE_UNIT = "cosine distance"
ASPECTS = aspects  # what `mechlab diff` tells it from RD-Noising by

SYSTEM = Entry(
    name="rd",
    id="S2",
    summary="a student rebuilds a frozen teacher's maps from one narrow embedding; a score is the distance",
    source=f"{SOURCE}; notes 000",
    target=f"{ROOM}.system:ReverseDistillation",
)


def _part(name: str, summary: str, source: str, target: str) -> Entry:
    return Entry(name=name, summary=summary, source=source, target=f"{ROOM}.{target}", id="S2", system="rd")


PARTS: tuple[Entry, ...] = (
    _part("bottleneck", "three levels fused on the coarsest grid and embedded on half of it", SOURCE,
          "bottleneck:Bottleneck"),
    _part("student", "block=teacher: a mirror of the teacher's blocks; basic or bottleneck for any backbone",
          SOURCE, "student:Student"),
    _part("flat-loss", "loss=flat: one cosine distance a map, summed over levels", f"{SOURCE} (code)",
          "losses:flat_distance"),
    _part("pixel-loss", "loss=pixel: a cosine distance a place, summed over levels", f"{SOURCE} (text)",
          "losses:pixel_distances"),
    _part("score-map", "cosine distances of the levels, brought to the image and summed", SOURCE,
          "scoring:score_map"),
    _part("one-student", "student=shared: one student goes on from task to task", "notes 004",
          "system:ReverseDistillation"),
)  # fmt: skip
