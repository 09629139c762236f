"""What `mechlab doctor` looks at: packages, devices, paths, disk, and whether a training repeats."""

import os
import platform
import shutil
from importlib import import_module, metadata
from pathlib import Path
from typing import Any

from mechlab.errors import TRAINING, MechlabError

CORE = (
    "click",
    "numpy",
    "scipy",
    "h5py",
    "matplotlib",
    "seaborn",
    "pydantic",
    "jaxtyping",
    "pillow",
    "pyyaml",
)
LEAST_FREE = 2e9  # bytes; a run of the demo and its features take about a tenth of it

Row = dict[str, Any]


def checkup(*, determinism: bool) -> list[Row]:
    """Return one row a check: `{check, found, fine}`."""
    rows = [_row("python", platform.python_version(), True)]
    rows += [_package(name, needed=True) for name in CORE]
    rows += [_package(name, needed=False) for name in TRAINING]
    rows += [_device(), _weights(), _disk()]
    return [*rows, _repeats()] if determinism else rows


def _row(check: str, found: str, fine: bool) -> Row:
    return {"check": check, "found": found, "fine": fine}


def _package(name: str, *, needed: bool) -> Row:
    try:
        return _row(name, metadata.version(name), True)
    except metadata.PackageNotFoundError:
        return _row(name, "not installed" if needed else "not installed (extra 'train')", not needed)


def _device() -> Row:
    try:
        cuda = import_module("torch.cuda")
    except ImportError:
        return _row("device", "none: torch is not installed", True)
    names = [str(cuda.get_device_name(index)) for index in range(cuda.device_count())]
    return _row("device", ", ".join(names) or f"cpu, {os.cpu_count()} processors", True)


def _weights() -> Row:
    folder = os.environ.get("MECHLAB_WEIGHTS")
    if not folder:
        return _row("MECHLAB_WEIGHTS", "not set: the hub, or the embedded backbone", True)
    files = sorted(Path(folder).glob("*.safetensors")) if Path(folder).is_dir() else []
    found = ", ".join(file.stem for file in files) or "no .safetensors file there"
    return _row("MECHLAB_WEIGHTS", f"{folder}: {found}", bool(files))


def _disk() -> Row:
    free = shutil.disk_usage(Path.cwd()).free
    return _row("free disk", f"{free / 1e9:.1f} GB", free > LEAST_FREE)


def _repeats() -> Row:
    try:
        equal = bool(import_module("mechlab.train.repetition").repeats())
    except MechlabError as error:
        return _row("determinism", str(error), False)
    return _row("determinism", "two trainings agree in every bit" if equal else "two trainings differ", equal)
