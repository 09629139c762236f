"""A pyramid carries the maps of a backbone bit for bit, from the cache to the student, and pools nothing."""

import dataclasses

import numpy as np
import pytest
import timm
import torch

from mechlab import systems
from mechlab.errors import MechlabError
from reproductions.backbones.cache import feature_spec, features
from reproductions.backbones.extraction import extracted
from reproductions.backbones.network import levels
from reproductions.backbones.pyramid import Anatomy, Level, Pyramid, anatomy_of
from reproductions.backbones.timm_features import Extractor, build

SIZE = 64


@pytest.fixture(scope="module")
def pyramidal():
    return build("embedded", image_size=SIZE, layout="pyramid")


def made(*levels, grid=(2, 3)):
    named = [Level(name=f"l{place}", channels=channels, factor=factor)
             for place, (channels, factor) in enumerate(levels)]  # fmt: skip
    return Pyramid(backbone="none", image_size=64, levels=tuple(named), grid=grid)


def maps_of(pyramid, *, count=2, seed=0):
    draw = torch.Generator().manual_seed(seed)
    rows, columns = pyramid.grid
    return [torch.randn(count, level.channels, rows * level.factor, columns * level.factor, generator=draw)
            for level in pyramid.levels]  # fmt: skip


@pytest.mark.parametrize(
    "levels", [[(3, 4), (5, 2), (7, 1)], [(4, 1)], [(2, 3), (1, 1)]], ids=["three", "one", "thirds"]
)
def test_unpacking_gives_back_what_was_packed(levels):
    pyramid = made(*levels)
    maps = maps_of(pyramid)
    cells = pyramid.packed(maps)
    assert cells.shape == (2, 2, 3, pyramid.dim)
    assert pyramid.dim == sum(channels * factor**2 for channels, factor in levels)
    for before, after in zip(maps, pyramid.unpacked(cells), strict=True):
        assert torch.equal(before, after)


def test_a_place_lies_in_the_cell_above_it():
    pyramid = made((3, 4), (2, 1))
    maps = maps_of(pyramid)
    before = pyramid.packed(maps)
    maps[0][1, 2, 5, 10] += 1  # row 5 of 4 rows a cell, column 10 of 4 columns a cell
    moved = (pyramid.packed(maps) != before).nonzero()
    assert len(moved) == 1
    assert moved[0, :3].tolist() == [1, 1, 2]


def test_channel_means_are_those_of_the_maps():
    pyramid = made((3, 4), (5, 2), (7, 1))
    maps = maps_of(pyramid)
    expected = torch.cat([values.double().mean(dim=(2, 3)) for values in maps], dim=1)
    found = pyramid.channel_means(pyramid.packed(maps).double().mean(dim=(1, 2)))
    torch.testing.assert_close(found, expected)


def test_the_maps_are_those_of_the_network_with_all_channels(pyramidal, rng):
    images = rng.integers(0, 256, (3, SIZE, SIZE, 3), dtype=np.uint8)
    cells = torch.from_numpy(extracted(images, pyramidal))
    assert pyramidal.layers == ("layer1", "layer2", "layer3")
    pixels = torch.from_numpy(images).permute(0, 3, 1, 2).float() / 255
    with torch.inference_mode():
        wanted = levels(pyramidal.network, (pixels - pyramidal.mean) / pyramidal.deviation, (1, 2, 3))
    for found, expected in zip(pyramidal.pyramid.unpacked(cells), wanted, strict=True):
        assert found.shape == expected.shape
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)  # other batches, other sums


def test_a_pyramid_has_another_spec_and_patches_keep_theirs(pyramidal, pictures):
    items = tuple(item for item in systems.dataset("folder", pictures).items("bolt") if item.split == "train")
    spec = feature_spec("folder", items, pyramidal.origin)
    assert spec.dim == pyramidal.pyramid.dim and spec.model_dump()["layout"] == "pyramid"
    same = feature_spec("folder", items, dataclasses.replace(pyramidal.origin, layout="patches"))
    assert same.hash != spec.hash
    assert "layout" not in same.model_dump(mode="json")


def test_a_second_look_reads_the_cache(pyramidal, pictures, tmp_path, monkeypatch):
    dataset = systems.dataset("folder", pictures)
    items = tuple(item for item in dataset.items("bolt") if item.split == "train")[:3]
    first = features(dataset, items, pyramidal, root=tmp_path)
    monkeypatch.setattr(Extractor, "forward", None)  # whoever extracts again falls
    again = features(dataset, items, pyramidal, root=tmp_path)
    np.testing.assert_array_equal(first.values, again.values)
    assert first.values.shape == (3, 4, 4, pyramidal.pyramid.dim)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("resnet18", Anatomy(block="basic", depths=(2, 2, 2, 2), base_width=64)),
        ("resnet34", Anatomy(block="basic", depths=(3, 4, 6, 3), base_width=64)),
        ("resnet50", Anatomy(block="bottleneck", depths=(3, 4, 6, 3), base_width=64)),
        ("wide_resnet50_2", Anatomy(block="bottleneck", depths=(3, 4, 6, 3), base_width=128)),
        ("resnext50_32x4d", None),
        ("mobilenetv3_small_050", None),
    ],
)
def test_the_blocks_of_residual_networks_are_known(name, expected):
    with torch.device("meta"):
        assert anatomy_of(timm.create_model(name)) == expected


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (
            {"backbone": "vit_tiny_patch16_224", "image_size": 224},
            r"not one level each of stride 4, 8 and 16",
        ),
        ({"layers": ("layer1", "act1"), "image_size": 66}, r"66 pixels .* cells of 4 pixels; .* 64 or 68"),
        ({"image_size": 100}, r"100 pixels are no whole number of cells of 16 pixels; .* 96 or 112"),
        ({"layers": ("layer5",)}, "layer5"),
    ],
    ids=["tokens", "other levels", "size", "unknown"],
)
def test_what_makes_no_pyramid_is_refused(words, sentence):
    given = {"backbone": "resnet18", "weights": "random-0", "image_size": 64} | words
    with pytest.raises(MechlabError, match=sentence):
        build(given.pop("backbone"), layout="pyramid", **given)


def test_levels_that_share_a_grid_make_no_pyramid():
    with pytest.raises(MechlabError, match=r"have strides \[16, 16\], which make no pyramid"):
        build("vit_tiny_patch16_224", weights="random-0", layers=("0", "1"), image_size=224, layout="pyramid")


def test_a_map_of_another_grid_is_refused():
    pyramid = made((3, 2), (2, 1))
    maps = maps_of(pyramid)
    with pytest.raises(MechlabError, match=r"level 'l0' of 'none' gives \(3, 3, 6\).*not \(3, 4, 6\)"):
        pyramid.packed([maps[0][:, :, :3], maps[1]])
