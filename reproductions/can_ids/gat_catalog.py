"""What the graph attention network on CAN windows offers, as torch-free lists."""

from mechlab.systems import Entry, Preset
from reproductions.can_ids.config import GAT_NEEDS as NEEDS
from reproductions.can_ids.config import METRICS

__all__ = ["CONFIG", "LOSS_UNIT", "METRICS", "NEEDS", "PARTS", "PRESETS", "SESSION", "SYSTEM"]

ROOM = "reproductions.can_ids"
CONFIG = f"{ROOM}.config:GATConfig"
SESSION = f"{ROOM}.session"  # graphs are trained on and evaluated otherwise than images
LOSS_UNIT = "nats a window"
PUBLIC = "KD-GAT, arXiv:2507.19686"
LARGE = {"size": "teacher", "hidden": 48, "layers": 3, "heads": 8, "embedding": 16, "linear": 1}
OLDER = {"jumping": "lstm", "hidden": 32, "linear": 3}

SYSTEM = Entry(
    name="gat",
    id="S5",
    summary="graph attention with jumping knowledge on CAN windows: does a window hold an attack?",
    source=f"{PUBLIC}; notes 003",
    target=f"{ROOM}.gat:GAT",
)


def _preset(name: str, summary: str, source: str, parts: dict[str, object]) -> Preset:
    return Preset(name=name, summary=summary, source=source, parts=parts, id="S5")  # type: ignore[arg-type]


PRESETS: tuple[Preset, ...] = (
    _preset("mini", "the student for two cores: 10 epochs, mode normal", "this repository",
            {"epochs": 10, "mode": "normal"}),
    _preset("student", "2 layers of 4 heads of 24: 16 % of the teacher's parameters", PUBLIC, {}),
    _preset("student-compact", "one linear layer: 4 % of the teacher's parameters", "this repository",
            {"linear": 1}),
    _preset("teacher", "3 layers of 8 heads of 48", PUBLIC, LARGE),
    _preset("teacher-lstm", "5 layers of 8 heads of 32 and an LSTM: the paper's teacher", PUBLIC,
            {**LARGE, **OLDER, "layers": 5}),
    _preset("student-lstm", "2 layers of 4 heads of 32 and an LSTM: the paper's student", PUBLIC, OLDER),
)  # fmt: skip


def _part(name: str, summary: str, source: str, target: str) -> Entry:
    return Entry(name=name, summary=summary, source=source, target=f"{ROOM}.{target}", id="S5", system="gat")


PARTS: tuple[Entry, ...] = (
    _part("distillation", "distill=RUN or auto, alpha=A, temperature=T: learn from soft labels too",
          "Hinton, Vinyals & Dean 2015; notes 003", "distillation:gat_distillation"),
    _part("curriculum", "mode=curriculum, difficulty=RUN or auto: hard normals by a VGAE's score", PUBLIC,
          "curriculum:HardNormals"),
    _part("jumping-knowledge", "jumping=cat or lstm: how outputs of layers join", "Xu et al., ICML 2018",
          "gat:GAT"),
    _part("conv", "conv=gat, gatv2 or transformer: the last two read features of edges", PUBLIC,
          "layers:GraphLayer"),
)  # fmt: skip
