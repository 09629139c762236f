"""Extractors: frozen, equal to their definition on any family of networks, clear about what does not fit."""

from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from safetensors.torch import load_file, save_file
from torch.nn import functional

from mechlab import systems
from mechlab.errors import MechlabError
from reproductions.backbones import hub
from reproductions.backbones.catalog import BACKBONES
from reproductions.backbones.timm_features import build
from reproductions.backbones.weights import EMBEDDED_FILE


def test_the_embedded_backbone_gives_the_grid_of_stage_two() -> None:
    extractor = build("embedded")
    assert extractor.grid == (28, 28)
    assert extractor.layers == ("layer2", "layer3")
    assert len(extractor.weights_id) == 64
    images = torch.rand(2, 3, 224, 224, generator=torch.Generator().manual_seed(0))
    features = extractor(images)
    assert features.shape == (2, 28, 28, 128)
    assert features.isfinite().all() and features.std() > 0.1


def test_features_equal_the_published_recipe() -> None:
    """timm's own feature network, 3 x 3 unfold, adaptive pooling, bilinear to the finest grid, mean."""
    extractor = build("resnet18", weights="random-1", image_size=64, dim=96)
    reference = timm.create_model("resnet18", features_only=True, out_indices=(2, 3)).eval()
    reference.load_state_dict(extractor.network.state_dict(), strict=False)
    images = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    mean, deviation = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    total = torch.zeros(2, 96, 8, 8)
    with torch.no_grad():
        for maps in reference((images - mean[:, None, None]) / deviation[:, None, None]):
            patches = functional.unfold(maps, 3, padding=1).transpose(1, 2)
            reduced = functional.adaptive_avg_pool1d(patches, 96).transpose(1, 2).unflatten(2, maps.shape[2:])
            total += functional.interpolate(reduced, (8, 8), mode="bilinear", align_corners=False) / 2
    torch.testing.assert_close(extractor(images).movedim(-1, 1), total, atol=1e-5, rtol=1e-5)


def test_it_is_frozen_and_stays_in_evaluation_mode() -> None:
    extractor = build("resnet18", weights="random-0", image_size=32, dim=8)
    assert not any(parameter.requires_grad for parameter in extractor.parameters())
    before = {name: value.clone() for name, value in extractor.state_dict().items()}
    assert extractor.train() is extractor
    assert not any(module.training for module in extractor.modules())
    extractor(torch.rand(4, 3, 32, 32))
    assert all(torch.equal(value, before[name]) for name, value in extractor.state_dict().items())


def test_random_weights_are_a_function_of_their_seed_alone() -> None:
    images = torch.rand(1, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    torch.manual_seed(5)
    state = torch.get_rng_state()
    first, again, other = (
        build("resnet18", weights=f"random-{seed}", image_size=32, dim=8) for seed in (0, 0, 1)
    )
    assert torch.equal(torch.get_rng_state(), state)
    assert first.weights_id == "random-0" and other.weights_id == "random-1"
    assert torch.equal(first(images), again(images))
    assert not torch.equal(first(images), other(images))


@pytest.mark.parametrize(
    ("name", "size", "grid", "layers"),
    [
        ("vit_tiny_patch16_224", 96, (6, 6), ("blocks.1", "blocks.3", "blocks.5", "blocks.11")),
        ("deit_tiny_distilled_patch16_224", 64, (4, 4), ("blocks.1", "blocks.3", "blocks.5", "blocks.11")),
        ("efficientnet_b0", 64, (8, 8), ("blocks.2", "blocks.4")),
        ("mobilenetv3_small_050", 64, (8, 8), ("blocks.1", "blocks.3")),
        ("convnext_atto", 64, (8, 8), ("stages.1", "stages.2")),
    ],
)
def test_other_families_give_features_too(
    name: str, size: int, grid: tuple[int, int], layers: tuple[str, ...]
) -> None:
    extractor = build(name, weights="random-0", image_size=size, dim=16)
    assert extractor.grid == grid and extractor.layers == layers
    assert extractor(torch.rand(1, 3, size, size)).shape == (1, *grid, 16)


def test_tokens_are_the_mean_of_the_blocks_without_class_token() -> None:
    extractor = build("vit_tiny_patch16_224", weights="random-0", image_size=48, dim=192, layers=("1", "3"))
    images = torch.rand(1, 3, 48, 48, generator=torch.Generator().manual_seed(0))
    tokens = []
    for number in (1, 3):
        hook = extractor.network.blocks[number].register_forward_hook(
            lambda module, inputs, output: tokens.append(output)
        )
        extractor(images)
        hook.remove()
    expected = (tokens[0] + tokens[1])[:, 1:] / 2
    torch.testing.assert_close(extractor(images).flatten(1, 2), expected)
    assert extractor.origin.normalisation == "mean (0.5, 0.5, 0.5) deviation (0.5, 0.5, 0.5)"


def test_layers_may_be_named_or_numbered_in_any_order() -> None:
    named = build("embedded", layers=("layer3", "layer1"), image_size=32, dim=16)
    numbered = build("embedded", layers=("1", "3"), image_size=32, dim=16)
    assert named.layers == numbered.layers == ("layer1", "layer3")
    assert named.grid == (8, 8)
    assert named.weights_id == numbered.weights_id


def test_weights_are_known_by_their_numbers_and_not_by_their_packing(tmp_path: Path) -> None:
    tensors = {name: value.float() for name, value in load_file(EMBEDDED_FILE).items()}
    extra = tensors | {"fc.weight": torch.zeros(1000, 512), "layer4.0.conv1.weight": torch.zeros(1)}
    torch.save({"state_dict": extra}, tmp_path / "other.pth")
    known = build("embedded", image_size=32).weights_id
    assert build("resnet18", weights=tmp_path / "other.pth", image_size=32).weights_id == known
    assert build("resnet18", weights="embedded", image_size=32, layers=("layer2",)).weights_id != known
    tensors["layer2.0.bn1.bias"] += 0.5
    save_file(tensors, tmp_path / "changed.safetensors")
    assert build("resnet18", weights=tmp_path / "changed.safetensors", image_size=32).weights_id != known


def test_the_folder_of_weights_is_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "resnet18.safetensors").write_bytes(EMBEDDED_FILE.read_bytes())
    monkeypatch.setenv("MECHLAB_WEIGHTS", str(tmp_path))
    assert build("resnet18", image_size=32).weights_id == build("embedded", image_size=32).weights_id


def test_position_tables_are_resized_to_the_image(tmp_path: Path) -> None:
    large = timm.create_model("vit_tiny_patch16_224", num_classes=0)
    torch.nn.init.normal_(large.pos_embed)
    save_file(large.state_dict(), tmp_path / "vit.safetensors")
    small = build("vit_tiny_patch16_224", weights=tmp_path / "vit.safetensors", image_size=96, dim=48)
    assert small.grid == (6, 6)
    assert small.network.pos_embed.shape == (1, 37, 192)
    assert small.network.pos_embed.std() > 0.3


@pytest.mark.parametrize("backbone", ["embedded", "resnet18"])
def test_a_stage_that_the_weights_lack_is_told(backbone: str) -> None:
    with pytest.raises(MechlabError, match=r"hold no layer4, which the asked layers need"):
        build(backbone, weights="embedded", layers=("layer2", "layer4"), image_size=32)


def test_a_tensor_of_the_wrong_shape_is_named(tmp_path: Path) -> None:
    tensors = load_file(EMBEDDED_FILE)
    tensors["layer2.0.conv1.weight"] = torch.zeros(128, 64, 1, 1)
    save_file(tensors, tmp_path / "w.safetensors")
    with pytest.raises(MechlabError, match=r"tensor 'layer2\.0\.conv1\.weight' of .*\(128, 64, 1, 1\)"):
        build("resnet18", weights=tmp_path / "w.safetensors", image_size=32)


def test_weights_of_another_network_are_refused() -> None:
    with pytest.raises(MechlabError, match=r"of this backbone; give its own weights"):
        build("resnet50", weights=EMBEDDED_FILE, image_size=32)
    with pytest.raises(MechlabError, match=r"of this backbone; give its own weights"):
        build("vit_tiny_patch16_224", weights=EMBEDDED_FILE, image_size=32, dim=16)


@pytest.mark.parametrize(
    ("keys", "sentence"),
    [
        ({"backbone": "resnet81"}, r"no backbone named 'resnet81'\. Did you mean 'resnet"),
        ({"backbone": "embeded"}, r"Did you mean 'embedded'"),
        ({"layers": ("layer7",)}, r"no layer of 'resnet18' named 'layer7'\. Did you mean 'layer"),
        ({"layers": ("9",)}, "no layer of 'resnet18' named '9'"),
        ({"layers": ()}, "no layers are given"),
        ({"dim": 0}, "--dim 0 is not possible: .* give 1 to 1152"),
        ({"dim": 1153}, "--dim 1153 is not possible"),
        ({"backbone": "vit_tiny_patch16_224", "image_size": 8}, "images of 8 pixels"),
    ],
    ids=lambda value: str(value)[:30],
)
def test_what_does_not_exist_is_told(keys: dict[str, object], sentence: str) -> None:
    values = {"backbone": "resnet18", "weights": "random-0", "image_size": 32} | keys
    name = values.pop("backbone")
    with pytest.raises(MechlabError, match=sentence):
        build(name, **values)


def test_an_unreachable_hub_is_told_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: object) -> None:
        raise OSError("no network")

    monkeypatch.setattr(hub, "try_to_load_from_cache", lambda *_: None)
    monkeypatch.setattr(hub.socket, "getaddrinfo", refused)
    monkeypatch.setattr(hub, "hf_hub_download", refused)
    with pytest.raises(MechlabError, match=r"could not be fetched from the hub .*; give --weights FILE"):
        build("resnet18", image_size=32)
    with pytest.raises(MechlabError, match=r"timm knows no hub weights for 'x'; give --weights FILE"):
        hub.fetched("x", None)


def test_weights_in_the_local_cache_of_the_hub_are_used(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "model.safetensors").write_bytes(EMBEDDED_FILE.read_bytes())
    monkeypatch.setattr(hub, "try_to_load_from_cache", lambda *_: str(tmp_path / "model.safetensors"))
    assert build("resnet18", image_size=32).weights_id == build("embedded", image_size=32).weights_id


def test_the_catalog_lists_names_that_exist() -> None:
    assert len({entry.name for entry in BACKBONES}) == len(BACKBONES)
    assert all(entry.name == "embedded" or timm.is_model(entry.name) for entry in BACKBONES)
    assert all(systems.load(entry.target) is build for entry in BACKBONES)


@pytest.mark.realdata
def test_the_packaged_weights_are_the_originals_in_half_precision(shared: Path) -> None:
    original = build("resnet18", weights=shared / "data" / "weights" / "resnet18.safetensors")
    images = torch.rand(1, 3, 224, 224, generator=torch.Generator().manual_seed(0))
    first, second = original(images).numpy(), build("embedded")(images).numpy()
    assert np.abs(first - second).max() < 0.02 * first.std()
    with pytest.raises(MechlabError, match=r"hold no layer4"):
        build("resnet18", weights=shared / "data" / "weights" / "resnet18.safetensors", layers=("4",))
