"""The presets of reverse distillation: short lists of parts. Torch-free."""

from mechlab.systems import Preset

SOURCE = "Deng & Li, CVPR 2022"
ADER = "Zhang et al., ADer, arXiv:2406.03262"
PIXELS = {"image_size": 256}
# The image score is the highest pixel of the smoothed map, as published.
SCORED = {
    "router": "euclidean",
    "aggregation": "max",
    "aggregation_value": None,
    "sigma": 4.0,
    "image_from": "map",
}
WIDE = "wide_resnet50_2"


def _preset(
    name: str, summary: str, source: str, parts: dict[str, object], backbone: str | None = None
) -> Preset:
    return Preset(name=name, summary=summary, source=source, parts=parts, inputs=PIXELS, evaluation=SCORED,
                  asks={} if backbone is None else {"backbone": backbone}, id="S2")  # type: ignore[arg-type]  # fmt: skip


PRESETS: tuple[Preset, ...] = (
    _preset("mini", "two cores, a few minutes a task: 6 epochs on ResNet-18", "this repository",
            {"epochs": 6}),
    _preset("rd-resnet18", "two cores, below ten minutes a task: 12 epochs on ResNet-18", "this repository",
            {"epochs": 12}, "resnet18"),
    _preset("rd", "the published recipe: flat loss, 200 epochs, a model a task",
            f"{SOURCE} (code)", {}, WIDE),
    _preset("rd-pixel", "rd with a cosine a place, as the text of the paper has it", SOURCE,
            {"loss": "pixel"}, WIDE),
    _preset("rd-multiclass", "many classes in one task (A+B+C): 100 epochs, rate x 0.1 at 80 %", ADER,
            {"epochs": 100, "schedule": "step"}, WIDE),
    _preset("rd-finetune", "one student goes on from task to task: earlier tasks are forgotten", "notes 004",
            {"student": "shared"}, WIDE),
)  # fmt: skip
