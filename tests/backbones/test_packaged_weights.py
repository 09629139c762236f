"""The packaged backbone: its size, its notice, and the script that makes it."""

from importlib.machinery import SourceFileLoader
from importlib.util import module_from_spec, spec_from_loader
from pathlib import Path
from types import ModuleType

import pytest
import torch
from safetensors.torch import load_file, save_file

from mechlab.errors import MechlabError
from reproductions.backbones.weights import EMBEDDED_FILE

NOTICE = EMBEDDED_FILE.with_suffix(".NOTICE.txt")


@pytest.fixture
def script(repository: Path) -> ModuleType:
    loader = SourceFileLoader("build_embedded", str(repository / "scripts" / "build-embedded-backbone"))
    module = module_from_spec(spec_from_loader("build_embedded", loader))
    loader.exec_module(module)
    return module


def test_the_packaged_file_is_small_and_carries_its_notice() -> None:
    assert EMBEDDED_FILE.stat().st_size <= 6_000_000
    notice = NOTICE.read_text()
    assert "BSD 3-Clause License" in notice and "Soumith Chintala" in notice


def test_the_script_makes_the_same_file_from_full_weights(script: ModuleType, tmp_path: Path) -> None:
    tensors = {name: value.float() for name, value in load_file(EMBEDDED_FILE).items()}
    save_file(tensors | {"fc.weight": torch.zeros(10, 512)}, tmp_path / "full.safetensors")
    script.build(tmp_path / "full.safetensors", tmp_path / "made.safetensors")
    assert (tmp_path / "made.safetensors").read_bytes() == EMBEDDED_FILE.read_bytes()
    assert (tmp_path / "made.NOTICE.txt").read_text() == NOTICE.read_text()


@pytest.mark.parametrize(
    ("name", "value", "sentence"),
    [("conv1.weight", None, r"lacks conv1\."), ("bn1.bias", 1e6, "does not fit half precision")],
)
def test_the_script_refuses_what_is_no_resnet(
    script: ModuleType, tmp_path: Path, name: str, value: float | None, sentence: str
) -> None:
    tensors = {key: tensor.float() for key, tensor in load_file(EMBEDDED_FILE).items()}
    if value is None:
        del tensors[name]
    else:
        tensors[name][0] = value
    save_file(tensors, tmp_path / "bad.safetensors")
    with pytest.raises(MechlabError, match=sentence):
        script.build(tmp_path / "bad.safetensors", tmp_path / "made.safetensors")
    assert not (tmp_path / "made.safetensors").exists()
