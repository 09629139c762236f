"""What the graph autoencoder of CAN windows offers, as torch-free lists."""

from mechlab.systems import Entry, Preset
from reproductions.can_ids.config import METRICS
from reproductions.can_ids.config import VGAE_NEEDS as NEEDS

__all__ = ["CONFIG", "LOSS_UNIT", "METRICS", "NEEDS", "PARTS", "PRESETS", "SESSION", "SYSTEM"]

ROOM = "reproductions.can_ids"
CONFIG = f"{ROOM}.config:VGAEConfig"
SESSION = f"{ROOM}.session"  # graphs are trained on and evaluated otherwise than images
LOSS_UNIT = "a node"
PUBLIC = "KD-GAT, arXiv:2507.19686"
LARGE = {"size": "teacher", "hidden": [480, 240, 48], "heads": 4, "embedding": 32, "dropout": 0.15}

SYSTEM = Entry(
    name="vgae",
    id="S5",
    summary="a graph autoencoder of CAN windows: how unlike attack-free traffic is a window?",
    source=f"{PUBLIC}; notes 003",
    target=f"{ROOM}.vgae:VGAE",
)


def _preset(name: str, summary: str, source: str, parts: dict[str, object]) -> Preset:
    return Preset(name=name, summary=summary, source=source, parts=parts, id="S5")  # type: ignore[arg-type]


PRESETS: tuple[Preset, ...] = (
    _preset("mini", "the student for two cores: 10 epochs", "this repository", {"epochs": 10}),
    _preset("student", "hidden 80-40-16: 5.3 % of the teacher's parameters", PUBLIC, {}),
    _preset("teacher", "hidden 480-240-48, 4 heads", PUBLIC, LARGE),
    _preset("teacher-published", "the teacher whose scores are drawn anew at each call", PUBLIC,
            {**LARGE, "sampling": "always"}),
)  # fmt: skip


def _part(name: str, summary: str, source: str, target: str) -> Entry:
    return Entry(name=name, summary=summary, source=source, target=f"{ROOM}.{target}", id="S5", system="vgae")


PARTS: tuple[Entry, ...] = (
    _part("distillation", "distill=RUN or auto, alpha=A: learn from a teacher too", "notes 003",
          "distillation:vgae_distillation"),
    _part("latent-signal", "latent_weight=W: match the mean of the teacher's latent, through a projection",
          "notes 003", "projection:projection"),
    _part("reconstruction-signal", "reconstruction_weight=W: match its reconstruction", "notes 003",
          "distillation:vgae_distillation"),
    _part("conv", "conv=gat, gatv2 or transformer: the last two read features of edges", PUBLIC,
          "layers:GraphLayer"),
)  # fmt: skip
