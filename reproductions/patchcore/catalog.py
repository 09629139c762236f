"""What PatchCore offers, as torch-free lists: the system, its presets, its parts."""

from mechlab.systems import Entry, Preset
from reproductions.patchcore.config import NEEDS

__all__ = ["CONFIG", "NEEDS", "PARTS", "PRESETS", "SCORE_UNIT", "SIZES_BY_TASK", "SYSTEM"]

SIZES_BY_TASK = True  # a bank knows patches and no grid
ROOM = "reproductions.patchcore"
CONFIG = f"{ROOM}.config:PatchCoreConfig"
SCORE_UNIT = "feature distance"
ROTH = "Roth et al., CVPR 2022"
SCORED = {"router": "euclidean", "aggregation": "max", "aggregation_value": None, "sigma": 4.0}

SYSTEM = Entry(
    name="patchcore",
    id="S4",
    summary="a memory of normal patches, thinned by greedy k-center; a patch's score is its distance to it",
    source=f"{ROTH}; notes 002",
    target=f"{ROOM}.system:PatchCore",
)


def _preset(name: str, summary: str, source: str, parts: dict[str, object], **inputs: int) -> Preset:
    return Preset(name=name, summary=summary, source=source, parts=parts, inputs=inputs, evaluation=SCORED,
                  id="S4")  # type: ignore[arg-type]  # fmt: skip


PRESETS: tuple[Preset, ...] = (
    _preset("mini", "two cores: D 128, 1 % of the patches, nearest neighbour", "this repository",
            {"ratio": 0.01}, dim=128),
    _preset("one-percent", "D 1024, 1 % by a projection to 128, nearest neighbour", ROTH,
            {"ratio": 0.01, "projection": "gaussian"}, dim=1024),
    _preset("published", "D 1024, 10 % by a projection to 128, nearest neighbour", ROTH,
            {"ratio": 0.1, "projection": "gaussian"}, dim=1024),
    _preset("document", "D 1024, 10 %, mean of 9 neighbours, 400 pixels", "notes 002",
            {"ratio": 0.1, "projection": "gaussian", "neighbours": 9}, dim=1024, image_size=400),
    _preset("reweighted", "published with the image score weighted by 9 neighbours", f"{ROTH}, eq. 7",
            {"ratio": 0.1, "projection": "gaussian", "reweight": 9}, dim=1024),
)  # fmt: skip


def _part(name: str, summary: str, source: str, target: str) -> Entry:
    return Entry(name=name, summary=summary, source=source, target=f"{ROOM}.{target}", id="S4",
                 system="patchcore")  # fmt: skip


PARTS: tuple[Entry, ...] = (
    _part("coreset", "ratio=R: greedy k-center from a seeded start, exact, by nested pools", ROTH,
          "coreset:k_center"),
    _part("random-coreset", "coreset=random: a seeded random subset of as many, what greedy is held against",
          "notes 002 L86-L91", "system:PatchCore"),
    _part("projection", "projection=gaussian or sparse, projection_dim=N: for the choice of patches alone",
          "Johnson & Lindenstrauss 1984", "projection:projection"),
    _part("nearest-neighbours", "neighbours=K: a patch's score is its mean distance to the K nearest", ROTH,
          "search:nearest"),
    _part("faiss", "search=faiss: neighbours found by FAISS; distances are taken anew, never squared",
          "Johnson, Douze & Jegou 2019", "search:nearest"),
    _part("re-weighting", "reweight=B: the score of an image times 1 - softmax over B neighbours",
          f"{ROTH}, eq. 7", "bank:Bank"),
)  # fmt: skip
