"""The presets of RD-Noising: short lists of parts. Torch-free."""

from mechlab.systems import Preset
from reproductions.reverse_distillation.presets import PIXELS, SCORED, WIDE

NOTES = "notes 000"
SECOND: dict[str, object] = {
    "noise_source": "embedding",
    "n_neighbors": None,
    "noise_std_range": [0.01, 0.5],
    "coreset_sampling_ratio": 0.1,
}


def _preset(
    name: str, summary: str, source: str, parts: dict[str, object], backbone: str | None = None
) -> Preset:
    return Preset(name=name, summary=summary, source=source, parts=parts, inputs=PIXELS, evaluation=SCORED,
                  asks={} if backbone is None else {"backbone": backbone}, id="S3")  # type: ignore[arg-type]  # fmt: skip


PRESETS: tuple[Preset, ...] = (
    _preset("mini", "two cores, a few minutes a task: 6 epochs on ResNet-18", "this repository",
            {"epochs": 6}),
    _preset("256-100e", "the document: banks and noise at three levels, 100 epochs", NOTES,
            {"epochs": 100, "schedule": "step"}, WIDE),
    _preset("256-300e", "256-100e with 300 epochs, the first 10 without noise", f"{NOTES}; 10 is ours",
            {"epochs": 300, "schedule": "step", "noise_warmup_epochs": 10}, WIDE),
    _preset("rd-noising-ocbe", "the second generation: one bank and noise behind the bottleneck, 100 epochs",
            f"{NOTES}, a later version of its code", {"epochs": 100, "schedule": "step", **SECOND}, WIDE),
    _preset("mini-ocbe", "rd-noising-ocbe for two cores: 6 epochs on ResNet-18", "this repository",
            {"epochs": 6, **SECOND}),
)  # fmt: skip
