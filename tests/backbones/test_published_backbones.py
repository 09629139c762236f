"""The backbones of the notes with random weights: grids, widths, what features are made of, places resized.

Source: inventory M35; notes 004 L2571, L4565 (sizes 224 to 518). Large networks are marked slow.
"""

import json
import sys
from pathlib import Path

import pytest
import timm
import torch
from safetensors.torch import save_file
from torch.nn import functional

from cli.main import main
from mechlab.errors import MechlabError
from reproductions.backbones.timm_features import build


def image(size: int) -> torch.Tensor:
    return torch.rand(1, 3, size, size, generator=torch.Generator().manual_seed(0))


VITS = ("blocks.1", "blocks.3", "blocks.5", "blocks.11")
PUBLISHED = [
    pytest.param("wide_resnet50_2", 224, 768, 8, ("layer2", "layer3"), id="wrn50"),
    pytest.param("resnet50", 256, 768, 8, ("layer2", "layer3"), id="resnet50 at 256"),
    pytest.param("vit_base_patch16_224", 224, 768, 16, VITS, id="vit"),
    pytest.param("vit_base_patch16_384", 384, 768, 16, VITS, id="vit at 384"),
    pytest.param("vit_small_patch14_dinov2", 518, 384, 14, VITS, id="dinov2 at 518"),
    pytest.param("vit_base_patch14_dinov2", 224, 768, 14, VITS, id="dinov2 at 224"),
]


@pytest.mark.slow
@pytest.mark.parametrize(("name", "size", "dim", "stride", "layers"), PUBLISHED)
def test_patches_are_size_over_stride_squared_and_features_finite(name, size, dim, stride, layers):
    extractor = build(name, weights="random-0", image_size=size, dim=dim)
    assert extractor.layers == layers
    assert extractor.grid == (size // stride, size // stride)
    features = extractor(image(size))
    assert features.shape == (1, *extractor.grid, dim)
    assert bool(features.isfinite().all()) and float(features.std()) > 0
    assert not torch.equal(features[0, 0, 0], features[0, -1, -1])


@pytest.mark.slow
def test_the_large_dinov2_has_its_own_blocks():
    extractor = build("vit_large_patch14_dinov2", weights="random-0", image_size=56, dim=1024)
    assert extractor.layers == ("blocks.3", "blocks.7", "blocks.11", "blocks.23")
    assert extractor(image(56)).shape == (1, 4, 4, 1024)


@pytest.mark.parametrize("size", [224, 256, 320, 336, 448])
def test_the_patch_count_follows_the_image(size):
    assert build("resnet18", weights="random-0", image_size=size, dim=8).grid == (size // 8, size // 8)


def hooked(extractor, names, size):
    """Return what modules of the network say while it makes features, seen from outside by hooks."""
    seen = {}
    hooks = [
        extractor.network.get_submodule(name).register_forward_hook(
            lambda _module, _inputs, output, name=name: seen.update({name: output})
        )
        for name in names
    ]
    features = extractor(image(size))
    for hook in hooks:
        hook.remove()
    return features, seen


def test_features_of_a_cnn_are_those_of_its_layers_and_of_no_deeper_one():
    names = ("layer2", "layer3", "layer4")
    extractor = build("wide_resnet50_2", weights="random-0", image_size=64, dim=96)
    features, seen = hooked(extractor, names, 64)
    assert set(seen) == {"layer2", "layer3"}  # layer4 was never computed
    assert seen["layer2"].shape[1:] == (512, 8, 8) and seen["layer3"].shape[1:] == (1024, 4, 4)
    total = torch.zeros(1, 96, 8, 8)
    for maps in seen.values():
        patches = functional.unfold(maps, 3, padding=1).transpose(1, 2)
        reduced = functional.adaptive_avg_pool1d(patches, 96).transpose(1, 2).unflatten(2, maps.shape[2:])
        total += functional.interpolate(reduced, (8, 8), mode="bilinear", align_corners=False) / 2
    torch.testing.assert_close(features.movedim(-1, 1), total, atol=1e-5, rtol=1e-5)


def test_an_optional_layer_joins_the_others_on_the_finest_grid():
    two = build("wide_resnet50_2", weights="random-0", image_size=64, dim=32)
    three = build("wide_resnet50_2", weights="random-0", image_size=64, dim=32,
                  layers=("layer1", "layer2", "layer3"))  # fmt: skip
    assert (two.grid, three.grid) == ((8, 8), (16, 16))


def test_tokens_of_dinov2_are_those_of_its_blocks_without_the_first():
    extractor = build("vit_small_patch14_dinov2", weights="random-0", image_size=56, dim=384)
    features, seen = hooked(extractor, VITS, 56)
    expected = sum(seen[name][:, 1:] for name in VITS) / len(VITS)
    torch.testing.assert_close(features.flatten(1, 2), expected)


@pytest.mark.parametrize(
    ("name", "size", "grid"),
    [("vit_small_patch14_dinov2", 70, 5), ("vit_tiny_patch16_224", 96, 6)],
    ids=["dinov2", "vit"],
)
def test_a_table_of_places_is_resized_by_bicubic_interpolation_and_its_first_token_kept(
    tmp_path: Path, name, size, grid
):
    model = timm.create_model(name, num_classes=0)
    torch.nn.init.normal_(model.pos_embed)
    save_file(model.state_dict(), tmp_path / "weights.safetensors")
    side = round((model.pos_embed.shape[1] - 1) ** 0.5)
    table = model.pos_embed.detach()[:, 1:].unflatten(1, (side, side)).movedim(-1, 1)
    expected = functional.interpolate(table, (grid, grid), mode="bicubic", antialias=True)
    extractor = build(name, weights=tmp_path / "weights.safetensors", image_size=size, dim=16)
    found = extractor.network.pos_embed
    assert found.shape[1] == grid**2 + 1
    torch.testing.assert_close(found[:, 1:].movedim(1, 2).unflatten(2, (grid, grid)), expected)
    torch.testing.assert_close(found[:, 0], model.pos_embed[:, 0])
    assert extractor.grid == (grid, grid)


def test_an_image_that_its_patches_do_not_divide_is_told():
    with pytest.raises(MechlabError, match=r"60 pixels .* 14-pixel patches .* --image-size 56 or 70"):
        build("vit_small_patch14_dinov2", weights="random-0", image_size=60, dim=16)


@pytest.mark.parametrize(
    ("words", "backbone", "layers", "dim"),
    [
        pytest.param(("vit_tiny_patch16_224", "--layers", "1,3", "--dim", "32", "--image-size", "64"),
                     "vit_tiny_patch16_224", ["blocks.1", "blocks.3"], 32, id="vit"),
        pytest.param(("convnext_atto", "--layers", "stages.1", "--dim", "24", "--image-size", "64"),
                     "convnext_atto", ["stages.1"], 24, id="any timm name"),
    ],
)  # fmt: skip
def test_backbone_layers_width_and_size_are_chosen_on_the_command_line(
    words, backbone, layers, dim, capsys, monkeypatch, tmp_path
):
    monkeypatch.chdir(tmp_path)
    flags = ["--preset", "reduced", "--tasks", "gear", "--epochs", "1", "--threads", "1", "--json", "--quiet"]
    more = ["--weights", "random-0", "--set", "blocks=1", "--set", "dia_blocks=0"]
    monkeypatch.setattr(sys, "argv", ["mechlab", "train", "moleflow", "--backbone", *words, *flags, *more])
    with pytest.raises(SystemExit) as ended:
        main()
    captured = capsys.readouterr()
    assert ended.value.code == 0, captured.err
    run = json.loads(captured.out)["path"]
    feature = json.loads((tmp_path / run / "run.json").read_text())["spec"]["features"][0]
    assert feature["backbone"] == backbone and feature["weights"] == "random-0"
    assert (feature["layers"], feature["dim"], feature["image_size"]) == (layers, dim, 64)
