"""What RD-Noising offers, as torch-free lists: the system, its presets, its parts."""

from mechlab.systems import Entry
from reproductions.rd_noising.aspects import aspects
from reproductions.rd_noising.config import NEEDS
from reproductions.rd_noising.presets import NOTES, PRESETS

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

ROOM = "reproductions.rd_noising"
CONFIG = f"{ROOM}.config:RDNoisingConfig"
NORMALISES_BATCHES = True  # distances as well, so that a batch cannot be split over devices
LAYOUT = "pyramid"  # its features: the teacher's maps, each on its own grid
SCORE_UNIT = "cosine distance"
ASPECTS = aspects

SYSTEM = Entry(
    name="rd-noising",
    id="S3",
    summary="reverse distillation with noise on the teacher's maps, more where a memory is far from them",
    source=f"{NOTES}; Deng & Li, CVPR 2022",
    target=f"{ROOM}.system:RDNoising",
)


def _part(name: str, summary: str, source: str, target: str) -> Entry:
    return Entry(name=name, summary=summary, source=source, target=f"{ROOM}.{target}", id="S3",
                 system="rd-noising")  # fmt: skip


PARTS: tuple[Entry, ...] = (
    _part("banks", "coreset_sampling_ratio=R, max_patches=N: what greedy k-center keeps of each level", NOTES,
          "banks:level_bank"),
    _part("influence", "noise_source=features: mean |x_d - m_d| over n_neighbors=K, times a weight a channel",
          NOTES, "influence:mean_difference"),
    _part("embedding-influence", "noise_source=embedding: the gradient of the distance to the nearest image",
          f"{NOTES}, a later version of its code", "influence:distance_gradient"),
    _part("adaptive-noise", "noise_std_range=[L,H], noise_layers=[...]: std by influence and distance", NOTES,
          "noise:AdaptiveNoise"),
    _part("isotropic-noise", "noise_kind=isotropic: the same mean std everywhere, a control",
          "this repository", "noise:AdaptiveNoise"),
    _part("shuffled-noise", "noise_kind=shuffled: the same stds at other places and channels, a control",
          "this repository", "noise:AdaptiveNoise"),
    _part("warm-up", "noise_warmup_epochs=E: the first epochs of a task are without noise", NOTES,
          "system:RDNoising"),
    _part("switches", "enable_noise, noise_enabled: both true, or both false, which is rd bit for bit", NOTES,
          "config:RDNoisingConfig"),
)  # fmt: skip
