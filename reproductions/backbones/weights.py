"""Where a backbone's weights come from and whether they fit: a file, a folder, the package, or a seed.

Files are read without executing anything in them: safetensors, or torch files as plain tensors.
"""

import hashlib
import os
import pickle
import warnings
import zipfile
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from mechlab.errors import MechlabError

EMBEDDED = "embedded"
EMBEDDED_FILE = Path(__file__).with_name("resnet18_stages123.safetensors")
EMBEDDED_ARCHITECTURE = "resnet18"
RANDOM = "random-"
FOLDER_VARIABLE = "MECHLAB_WEIGHTS"


def located(backbone: str, weights: Path | str | None, *, folder: Path | None = None) -> Path | int | None:
    """Return the weight file, the seed of random weights, or None where the hub is to be asked.

    Without `weights`: the packaged file for the backbone `embedded`, then `<folder>/<backbone>.safetensors`;
    `folder` is $MECHLAB_WEIGHTS unless given.
    """
    if isinstance(weights, str) and weights.startswith(RANDOM):
        return _seed(weights)
    if weights == EMBEDDED or (weights is None and backbone == EMBEDDED):
        if backbone not in (EMBEDDED, EMBEDDED_ARCHITECTURE):
            raise MechlabError(
                f"the embedded weights are a {EMBEDDED_ARCHITECTURE}, not '{backbone}'; "
                f"choose --backbone {EMBEDDED} or give --weights FILE."
            )
        return EMBEDDED_FILE
    if weights is not None:
        if not Path(weights).is_file():
            raise MechlabError(
                f"weight file '{weights}' does not exist; give a .safetensors or .pth file, "
                f"'{EMBEDDED}' or '{RANDOM}<seed>'."
            )
        return Path(weights)
    if folder is None and os.environ.get(FOLDER_VARIABLE):
        folder = Path(os.environ[FOLDER_VARIABLE])
    if folder is None:
        return None
    if not folder.is_dir():
        raise MechlabError(f"${FOLDER_VARIABLE} names '{folder}', which is no folder; correct or unset it.")
    file = folder / f"{backbone}.safetensors"
    return file if file.is_file() else None


def _seed(weights: str) -> int:
    digits = weights.removeprefix(RANDOM)
    if not digits.isdecimal() or int(digits) >= 2**63:
        raise MechlabError(f"weights '{weights}' name no seed; write for example '{RANDOM}0'.")
    return int(digits)


def read(path: Path) -> dict[str, Tensor]:
    """Read the tensors of a weight file as float32; a damaged or foreign file is a MechlabError."""
    try:
        if path.suffix == ".safetensors":
            found: object = load_file(path)
        else:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # about old formats; what cannot be read is an error anyway
                found = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError as fault:
        raise MechlabError(f"weight file '{path}' does not exist; give --weights FILE.") from fault
    except pickle.UnpicklingError as fault:
        raise MechlabError(
            f"weight file '{path}' is damaged or holds more than tensors; save its state_dict as safetensors."
        ) from fault
    except (SafetensorError, RuntimeError, OSError, EOFError, ValueError, zipfile.BadZipFile) as fault:
        raise MechlabError(
            f"weight file '{path}' is damaged or of another kind ({type(fault).__name__}); fetch it again."
        ) from fault
    for wrapper in ("state_dict", "model"):
        if isinstance(found, Mapping) and isinstance(found.get(wrapper), Mapping):
            found = found[wrapper]
    if not isinstance(found, Mapping) or not found or not all(isinstance(v, Tensor) for v in found.values()):
        raise MechlabError(
            f"weight file '{path}' holds no table of tensors; give the state_dict of a timm model."
        )
    return {str(name): value.float() if value.is_floating_point() else value for name, value in found.items()}


def checked(
    tensors: Mapping[str, Tensor], *, expected: Mapping[str, Tensor], needed: frozenset[str], source: str
) -> dict[str, Tensor]:
    """Return the needed tensors; a missing one or one of another shape is a MechlabError that names it."""
    if not needed <= set(tensors):
        raise _incomplete(needed, tensors, source)
    for name in sorted(needed):
        got, want = tuple(tensors[name].shape), tuple(expected[name].shape)
        if got != want:
            raise MechlabError(
                f"tensor '{name}' of the weights '{source}' has shape {got}, this backbone needs {want}; "
                "give the weights of this backbone."
            )
        if not torch.isfinite(tensors[name]).all():
            raise MechlabError(
                f"tensor '{name}' of the weights '{source}' is not finite; fetch the file again."
            )
    return {name: tensors[name] for name in needed}


def _incomplete(needed: frozenset[str], tensors: Mapping[str, Tensor], source: str) -> MechlabError:
    """Return the error for missing tensors: whole stages that are absent, or weights of another backbone."""
    missing = sorted(needed - set(tensors))
    stages = sorted({name.split(".")[0] for name in missing})
    are_cut = not {name.split(".")[0] for name in tensors} & set(stages)
    if are_cut and needed & set(tensors):
        return MechlabError(
            f"the weights '{source}' hold no {' and no '.join(stages)}, which the asked layers need; ask for "
            f"layers before '{stages[0]}' with --layers, or give complete weights with --weights FILE."
        )
    more = f" and {len(missing) - 1} more tensors" if len(missing) > 1 else ""
    return MechlabError(
        f"the weights '{source}' lack '{missing[0]}'{more} of this backbone; give its own weights."
    )


def digest(tensors: Mapping[str, Tensor]) -> str:
    """Return the SHA-256 over names, shapes and float32 bytes of tensors, in the order of the names.

    It depends on the numbers that are used and not on their packing, so that a file, the hub and a
    folder with the same weights share one feature cache.
    """
    total = hashlib.sha256()
    for name in sorted(tensors):
        value = tensors[name].detach().float().cpu().contiguous()
        total.update(f"{name}{tuple(value.shape)}".encode())
        total.update(value.numpy().tobytes())
    return total.hexdigest()
