"""Bottleneck and student: published sizes and shapes, the start, gradients, and what cannot be mirrored."""

import math

import pytest
import torch
from torch import nn

from mechlab.errors import MechlabError
from reproductions.backbones.network import created
from reproductions.backbones.pyramid import pyramid_levels, pyramid_of
from reproductions.reverse_distillation.blocks import start
from reproductions.reverse_distillation.bottleneck import Bottleneck
from reproductions.reverse_distillation.pyramid import Blueprint
from reproductions.reverse_distillation.student import Student
from reproductions.reverse_distillation.system import Pupil

UNUSED = 4096 * 2048 + 2 * 2048  # a 1 x 1 convolution and its norm, in the published code


def blueprint_of(backbone, **words):
    with torch.device("meta"):
        network = created(backbone, image_size=256, seed=0)
    return Blueprint.of(pyramid_of(network, pyramid_levels(network, None), image_size=256),
                        block="teacher", **words)  # fmt: skip


def count(module):
    return sum(parameter.numel() for parameter in module.parameters())


def test_the_sizes_of_the_published_model_without_what_it_never_used():
    with torch.device("meta"):
        blueprint = blueprint_of("wide_resnet50_2")
        bottleneck, student = Bottleneck(blueprint), Student(blueprint)
    assert round(count(student) / 1e6, 2) == 24.92
    assert round(UNUSED / 1e6, 2) == 8.39
    assert count(bottleneck) == 58_885_120
    assert round((count(bottleneck) + UNUSED) / 1e6, 2) == 67.28


@pytest.mark.parametrize(
    ("backbone", "channels"),
    [
        ("resnet18", (64, 128, 256)),
        ("resnet34", (64, 128, 256)),
        ("resnet50", (256, 512, 1024)),
        ("wide_resnet50_2", (256, 512, 1024)),
    ],
)
def test_a_student_gives_back_the_shapes_of_its_teacher(backbone, channels):
    with torch.device("meta"):
        blueprint = blueprint_of(backbone)
        maps = tuple(torch.zeros(2, width, side, side)
                     for width, side in zip(channels, (64, 32, 16), strict=True))  # fmt: skip
        bottleneck, student = Bottleneck(blueprint), Student(blueprint)
        embedding = bottleneck(maps)
        rebuilt = student(embedding)
    assert embedding.shape == (2, 2 * channels[-1], 8, 8)
    assert [level.shape for level in rebuilt] == [level.shape for level in maps]


def test_the_decoder_has_the_depths_of_the_teacher_in_their_order():
    with torch.device("meta"):
        blueprint = blueprint_of("resnet50")
        stages = {name: len(stage) for name, stage in Student(blueprint).named_children()}
        assert len(Bottleneck(blueprint).embedding) == 3
    assert stages == {"layer3": 3, "layer2": 4, "layer1": 6}


def test_convolutions_start_by_fan_out_and_transposed_ones_as_torch_has_them(small_pyramid):
    blueprint = Blueprint.of(small_pyramid(channels=(64, 64, 64)), block="teacher")
    torch.manual_seed(0)
    model = Student(blueprint)
    before = {name: value.clone() for name, value in model.named_parameters()}
    start(model)
    for name, layer in model.named_modules():
        if isinstance(layer, nn.ConvTranspose2d):
            assert torch.equal(layer.weight, before[f"{name}.weight"])
            # torch's own: uniform within 1 / sqrt(fan-in), which it counts on the second axis
            assert layer.weight.abs().max() <= 1 / math.sqrt(layer.weight.shape[1] * 4)
        elif isinstance(layer, nn.Conv2d):
            wanted = math.sqrt(2 / (layer.out_channels * layer.kernel_size[0] ** 2))
            assert float(layer.weight.detach().std()) == pytest.approx(wanted, rel=0.05)
    assert {type(layer) for layer in model.modules()} >= {nn.Conv2d, nn.ConvTranspose2d}


@pytest.mark.parametrize("block", ["basic", "bottleneck"])
def test_gradients_reach_every_parameter(block, small_pyramid, cells):
    pyramid = small_pyramid(block=block)
    pupil = Pupil.drawn(Blueprint.of(pyramid, block="teacher"), seed=0, task=0)
    maps = pyramid.unpacked(torch.from_numpy(cells))
    sum((level.square() * torch.randn_like(level)).mean() for level in pupil(maps)).backward()
    still = [name for name, value in pupil.named_parameters() if value.grad is None or not value.grad.any()]
    assert not still


def test_seed_and_task_decide_the_start_and_nothing_else_is_drawn(pyramid):
    blueprint = Blueprint.of(pyramid, block="teacher")
    state = torch.get_rng_state()
    drawn = [Pupil.drawn(blueprint, seed=seed, task=task).state_dict()
             for seed, task in ((0, 0), (0, 0), (0, 1), (1, 0))]  # fmt: skip
    assert torch.equal(torch.get_rng_state(), state)
    name = "student.layer1.0.main.0.weight"
    assert torch.equal(drawn[0][name], drawn[1][name])
    assert not any(torch.equal(drawn[0][name], other[name]) for other in drawn[2:])


@pytest.mark.parametrize(
    ("words", "block", "sentence"),
    [
        ({"factors": (2, 2, 1)}, "teacher", "three levels, each twice as fine as the next, and got layer1, "),
        ({"grid": (3, 3)}, "teacher", r"half the grid of the coarsest level, 3 x 3.*--image-size"),
        ({"grid": (2, 2)}, "teacher", r"at least 2 x 2 places; give --image-size"),
        ({"block": None}, "teacher", "'small' has no basic or bottleneck blocks.*--set block=basic"),
        ({"channels": (4, 8, 10)}, "bottleneck", r"multiples of 4 channels.*\(4, 8, 10\).*block=basic"),
    ],
    ids=["grids", "odd grid", "small grid", "unknown blocks", "channels"],
)
def test_what_cannot_be_mirrored_is_refused(words, block, sentence, small_pyramid):
    with pytest.raises(MechlabError, match=sentence):
        Blueprint.of(small_pyramid(**words), block=block)


@pytest.mark.parametrize("block", ["basic", "bottleneck"])
def test_any_teacher_of_three_levels_can_have_blocks_that_are_chosen(block, small_pyramid):
    pyramid = small_pyramid(block=None)
    pupil = Pupil.drawn(Blueprint.of(pyramid, block=block), seed=0, task=0)
    maps = pyramid.unpacked(torch.zeros(2, *pyramid.grid, pyramid.dim))
    assert [level.shape for level in pupil(maps)] == [level.shape for level in maps]
