"""What the fusion of VGAE and GAT offers, as torch-free lists."""

from mechlab.systems import Entry, Preset
from reproductions.can_ids.config import METRICS
from reproductions.can_ids.fusion_config import NEEDS

__all__ = ["CONFIG", "LOSS_UNIT", "METRICS", "NEEDS", "PARTS", "PRESETS", "SESSION", "SYSTEM"]

ROOM = "reproductions.can_ids"
CONFIG = f"{ROOM}.fusion_config:FusionConfig"
SESSION = f"{ROOM}.session"  # graphs are trained on and evaluated otherwise than images
LOSS_UNIT = "a window"
PUBLIC = "arXiv:2508.04845"
AS_PUBLISHED = {"gamma": 0.99, "judges_alpha": True, "double_softmax": True}

SYSTEM = Entry(
    name="fusion",
    id="S5",
    summary="a learned weight between a VGAE's and a GAT's score, beside a single weight and an MLP",
    source=f"{PUBLIC}; notes 003",
    target=f"{ROOM}.fusion_system:Fusion",
)


def _preset(name: str, summary: str, source: str, parts: dict[str, object]) -> Preset:
    return Preset(name=name, summary=summary, source=source, parts=parts, id="S5")  # type: ignore[arg-type]


PRESETS: tuple[Preset, ...] = (
    _preset("mini", "the bandit for two cores: 10 epochs", "this repository", {"epochs": 10}),
    _preset("bandit", "a contextual bandit: the value of a weight is its reward", "this repository", {}),
    _preset("dqn", "the public DQN: gamma 0.99, a state that never changes, reward for alpha > 1/2", PUBLIC,
            AS_PUBLISHED),
    _preset("dqn-fused", "that DQN, rewarded for the fused score's call", PUBLIC,
            {**AS_PUBLISHED, "judges_alpha": False}),
)  # fmt: skip

PARTS: tuple[Entry, ...] = (
    Entry(name="bandit", id="S5", system="fusion",
          summary="gamma=0, epsilon=E: values of 21 weights, by reward alone",
          source="this repository", target=f"{ROOM}.fusion_system:Fusion"),
    Entry(name="dqn", id="S5", system="fusion",
          summary="gamma=G, target_every=N: the window is its own next state",
          source=PUBLIC, target=f"{ROOM}.fusion_system:Fusion"),
)  # fmt: skip
