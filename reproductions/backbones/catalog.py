"""The backbones that `--backbone` is documented for, torch-free; any other timm name works as well."""

from mechlab.systems import Entry

_TARGET = "reproductions.backbones.timm_features:build"


def _entry(name: str, summary: str, source: str) -> Entry:
    return Entry(name=name, id="M35", summary=summary, source=source, target=_TARGET)


BACKBONES: tuple[Entry, ...] = (
    Entry(
        name="embedded",
        id="M35",
        summary="ResNet-18, conv1 and stages 1 to 3 in half precision, shipped with the package",
        source="torchvision ResNet-18 IMAGENET1K_V1, BSD-3-Clause",
        target=_TARGET,
    ),
    _entry("resnet18", "layer2 + layer3, 384 channels", "He et al., CVPR 2016"),
    _entry("resnet50", "layer2 + layer3, 1536 channels", "He et al., CVPR 2016"),
    _entry("wide_resnet50_2", "layer2 + layer3, 1536 channels", "Zagoruyko & Komodakis, BMVC 2016"),
    _entry("vit_base_patch16_224", "blocks 1, 3, 5, 11, 768 channels", "Dosovitskiy et al., ICLR 2021"),
    _entry("vit_base_patch16_384", "blocks 1, 3, 5, 11, 768 channels", "Dosovitskiy et al., ICLR 2021"),
    _entry("vit_base_patch14_dinov2", "blocks 1, 3, 5, 11, 768 channels", "Oquab et al., TMLR 2024"),
    _entry("vit_large_patch14_dinov2", "blocks 3, 7, 11, 23, 1024 channels", "Oquab et al., TMLR 2024"),
)
