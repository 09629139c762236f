"""Where weights are looked for, what files are accepted, and how each bad one is told."""

import pickle
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from mechlab.errors import MechlabError
from reproductions.backbones.weights import EMBEDDED_FILE, checked, digest, located, read


def test_names_lead_to_a_file_a_seed_or_the_hub(tmp_path: Path) -> None:
    file = tmp_path / "mine.pth"
    file.touch()
    assert located("embedded", None) == EMBEDDED_FILE
    assert located("resnet18", "embedded") == EMBEDDED_FILE
    assert located("embedded", "random-7") == 7
    assert located("resnet18", file) == file
    assert located("resnet18", str(file)) == file
    assert located("resnet18", None) is None


def test_the_folder_of_weights_comes_before_the_hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "resnet18.safetensors").touch()
    assert located("resnet18", None, folder=tmp_path) == tmp_path / "resnet18.safetensors"
    monkeypatch.setenv("MECHLAB_WEIGHTS", str(tmp_path))
    assert located("resnet18", None) == tmp_path / "resnet18.safetensors"
    assert located("resnet50", None) is None
    assert located("embedded", None) == EMBEDDED_FILE
    monkeypatch.setenv("MECHLAB_WEIGHTS", str(tmp_path / "absent"))
    with pytest.raises(MechlabError, match=r"MECHLAB_WEIGHTS names '.*absent', which is no folder"):
        located("resnet18", None)


@pytest.mark.parametrize(
    ("backbone", "weights", "sentence"),
    [
        ("resnet18", "random-x", "name no seed; write for example 'random-0'"),
        ("resnet18", "random-", "name no seed"),
        ("resnet18", "absent.pth", "weight file 'absent.pth' does not exist"),
        ("resnet50", "embedded", "the embedded weights are a resnet18, not 'resnet50'"),
    ],
)
def test_a_source_that_is_none_is_told(backbone: str, weights: str, sentence: str) -> None:
    with pytest.raises(MechlabError, match=sentence):
        located(backbone, weights)


@pytest.mark.parametrize("wrapped", [None, "state_dict", "model"])
def test_safetensors_and_torch_files_hold_the_same(tmp_path: Path, wrapped: str | None) -> None:
    tensors = {"a": torch.randn(3, 2), "n": torch.tensor([4])}
    save_file(tensors, tmp_path / "w.safetensors")
    torch.save({wrapped: tensors} if wrapped else tensors, tmp_path / "w.pth")
    first, second = read(tmp_path / "w.safetensors"), read(tmp_path / "w.pth")
    assert first.keys() == second.keys() == tensors.keys()
    assert all(torch.equal(first[name], second[name]) for name in tensors)
    assert digest(first) == digest(second)


def test_half_precision_is_read_as_single(tmp_path: Path) -> None:
    save_file({"a": torch.tensor([1.5], dtype=torch.float16)}, tmp_path / "w.safetensors")
    assert read(tmp_path / "w.safetensors")["a"].dtype == torch.float32


@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
@pytest.mark.parametrize("share", [0.0, 0.01, 0.5, 0.99], ids=["empty", "header", "half", "tail"])
def test_a_truncated_file_is_told_by_name(tmp_path: Path, suffix: str, share: float) -> None:
    path = tmp_path / f"w{suffix}"
    tensors = {"a": torch.randn(100, 100)}
    save_file(tensors, path) if suffix == ".safetensors" else torch.save(tensors, path)
    path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])
    with pytest.raises(MechlabError, match=rf"weight file '.*w{suffix}' is damaged"):
        read(path)


def test_a_file_that_would_run_code_is_refused(tmp_path: Path) -> None:
    class Trap:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return (Path.touch, (tmp_path / "sprung",))

    (tmp_path / "w.pth").write_bytes(pickle.dumps({"a": Trap()}))
    with pytest.raises(MechlabError, match=r"damaged"):
        read(tmp_path / "w.pth")
    torch.save({"a": Trap()}, tmp_path / "v.pth")
    with pytest.raises(MechlabError, match=r"holds more than tensors"):
        read(tmp_path / "v.pth")
    assert not (tmp_path / "sprung").exists()


@pytest.mark.parametrize("content", [{}, {"a": 3}, [torch.zeros(1)]], ids=["empty", "numbers", "list"])
def test_a_file_without_a_table_of_tensors_is_refused(tmp_path: Path, content: object) -> None:
    torch.save(content, tmp_path / "w.pth")
    with pytest.raises(MechlabError, match=r"holds no table of tensors"):
        read(tmp_path / "w.pth")


def test_only_what_is_needed_is_kept_and_hashed() -> None:
    expected = {"a": torch.zeros(2), "b": torch.zeros(3)}
    tensors = {"a": torch.ones(2), "b": torch.ones(3), "fc": torch.ones(9)}
    used = checked(tensors, expected=expected, needed=frozenset({"a"}), source="w")
    assert used.keys() == {"a"}
    assert digest(used) == digest({"a": torch.ones(2, dtype=torch.float16)})
    assert digest(used) != digest({"a": torch.zeros(2)})
    assert digest(used) != digest({"a": torch.ones(2, 1)})
    assert digest(used) != digest({"b": torch.ones(2)})


def test_a_tensor_of_another_shape_is_named() -> None:
    with pytest.raises(
        MechlabError, match=r"tensor 'a' of the weights 'w' has shape \(3,\), .* needs \(2,\)"
    ):
        checked({"a": torch.ones(3)}, expected={"a": torch.ones(2)}, needed=frozenset({"a"}), source="w")


def test_a_tensor_that_is_not_finite_is_named() -> None:
    with pytest.raises(MechlabError, match=r"tensor 'a' of the weights 'w' is not finite"):
        bad = {"a": torch.tensor([float("nan")])}
        checked(bad, expected=bad, needed=frozenset({"a"}), source="w")


def test_a_missing_stage_and_a_foreign_file_are_told_apart() -> None:
    have = {f"layer{stage}.weight": torch.ones(1) for stage in (1, 2, 3)}
    want = have | {"layer4.weight": torch.ones(1), "layer4.bias": torch.ones(1)}
    with pytest.raises(MechlabError, match=r"hold no layer4, which .* need; ask for layers before 'layer4'"):
        checked(have, expected=want, needed=frozenset(want), source="w")
    with pytest.raises(MechlabError, match=r"lack 'layer1\.weight' and 4 more tensors of this backbone"):
        checked({"other": torch.ones(1)}, expected=want, needed=frozenset(want), source="w")
