"""What MoLE-Flow offers, as torch-free lists: the system, its presets, its parts."""

from mechlab.systems import Entry
from reproductions.moleflow.config import NEEDS
from reproductions.moleflow.presets import PRESETS

__all__ = ["CONFIG", "NEEDS", "PARTS", "PRESETS", "SYSTEM"]

_ROOM = "reproductions.moleflow"
CONFIG = f"{_ROOM}.config:MoLEFlowConfig"

SYSTEM = Entry(
    name="moleflow",
    id="S1",
    summary="a coupling flow over frozen patch features, with LoRA and a small flow a task, and a router",
    source="notes 004 L2571, L6162",
    target=f"{_ROOM}.system:MoLEFlow",
)


def _part(name: str, summary: str, source: str, target: str, row: str | None = None) -> Entry:
    return Entry(name=name, id=row, summary=summary, source=source, target=target, system="moleflow")


PARTS: tuple[Entry, ...] = (
    _part("sine-position", "position=sine: a 2-D sine embedding added to the features; none switches it off",
          "notes 004 L2579", f"{_ROOM}.position:sine_embedding", "M37"),
    _part("place-condition", "position=condition: the same embedding given to the subnets instead",
          "Gudovskiy et al., WACV 2022", f"{_ROOM}.position:sine_embedding"),
    _part("whitening-adapter", "adapter=whitening: each patch standardised, then a bounded scale and shift",
          "notes 004 L849", f"{_ROOM}.adapter:WhiteningAdapter", "M11"),
    _part("affine-adapter", "adapter=diagonal or covariance: a whitening fitted to training normals",
          "Kessy, Lewin & Strimmer 2018; Defard et al. 2020", f"{_ROOM}.adapter:AffineAdapter"),
    _part("context-mixer", "mixer=depthwise: a share of the neighbourhood, trained with the first task",
          "notes 004 L1492", f"{_ROOM}.mixer:ContextMixer"),
    _part("coupling-flow", "blocks=N: affine coupling blocks, shared and frozen after the first task",
          "FrEIA 0.2, AllInOneBlock", f"{_ROOM}.flow.coupling:CouplingBlock"),
    _part("context-subnet", "subnet=context: the scale of a patch also sees its neighbours, bounded",
          "notes 004 L562", f"{_ROOM}.flow.subnet:ContextSubnet", "M9"),
    _part("lora", "lora_rank=R: low-rank branches of every Linear, one a task, scaled by alpha / rank",
          "notes 004 L30", f"{_ROOM}.flow.subnet:LoRALinear", "M2"),
    _part("dia", "dia_blocks=N: a small flow of the task's own behind the shared one, identity at the start",
          "notes 004 L1014", f"{_ROOM}.flow.dia:DIABlock", "M13"),
    _part("tail-loss", "tail_weight, tail_ratio: more weight on each image's worst patches",
          "notes 004 L2367", f"{_ROOM}.losses:tail_loss", "M19"),
    _part("log-det-penalty", "log_det_weight: times the mean squared log-det of a patch",
          "notes 004 L4810", f"{_ROOM}.losses:log_det_penalty", "M20"),
    _part("router", "router=mahalanobis, euclidean or oracle: the task of an image from its mean feature",
          "notes 004 L1373, L7002", f"{_ROOM}.routing:TaskStatistics", "M15"),
    _part("aggregation", "aggregation=max, mean, top_k, percentile or top_k_percent of an image's patches",
          "notes 004 L1957, L2403", "mechlab.metrics.aggregation:aggregate", "M18"),
    _part("map-smoothing", "sigma=S: bilinear upsampling and a Gaussian over the map, in pixels",
          "notes 004 L4587", "mechlab.metrics.maps:smooth", "M38"),
)  # fmt: skip
