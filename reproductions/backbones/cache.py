"""The shared cache of frozen features: one folder a FeatureSpec, written once, then mapped into memory.

`cache/features/<hash>/` holds `values.npy` (float32), `masks.npy` (test split), `thumbnails.npy`,
`statistics.npy` and `items.json`. A folder is whole or absent; of two processes that want the same
features one computes them and the other waits. A damaged folder is noticed by its sizes and made again.
"""

import logging
import os
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float32, Float64, UInt8
from rich.console import Console
from rich.progress import Progress

from mechlab.errors import MechlabError
from mechlab.files import (
    canonical_json,
    lock,
    read_json,
    sha256_bytes,
    sha256_file,
    staged_folder,
    told,
    write_json,
)
from mechlab.specs import FeatureSpec, Item
from mechlab.systems import Dataset
from reproductions.backbones.extraction import THUMBNAIL, batches
from reproductions.backbones.timm_features import Extractor, Origin
from reproductions.datasets.pictures import RESIZE

PATIENCE_SECONDS = 2.0  # before a progress bar appears
_LOG = logging.getLogger(__name__)
_DTYPES = {"values": np.float32, "masks": np.bool_, "thumbnails": np.uint8, "statistics": np.float64}


@dataclass(frozen=True, slots=True, kw_only=True)
class Features:
    """The frozen features of one class and split; arrays are mapped from the cache, writes stay private."""

    values: Float32[np.ndarray, "item row column dim"]
    masks: Bool[np.ndarray, "item height width"] | None  # of the test split; None for training
    thumbnails: UInt8[np.ndarray, "item side side 3"]
    mean: Float64[np.ndarray, " item"]  # of the grey image after the resize, 0..255
    std: Float64[np.ndarray, " item"]  # likewise
    items: tuple[Item, ...]
    spec: FeatureSpec


def feature_spec(dataset: str, items: Sequence[Item], origin: Origin) -> FeatureSpec:
    """Return what identifies the features of some items of one class and split."""
    places = {(item.class_name, item.split) for item in items}
    if len(places) != 1:
        raise ValueError(f"features are of one class and split, not of {sorted(places)}")
    rows = [[item.sha256, item.label, item.defect, _mask_identity(item)] for item in items]
    return FeatureSpec(
        dataset=dataset,
        class_name=items[0].class_name,
        split=items[0].split,
        manifest=sha256_bytes(canonical_json(rows).encode()),
        transform=f"{RESIZE}/{origin.normalisation}",
        image_size=origin.image_size,
        backbone=origin.backbone,
        weights=origin.weights_id,
        layers=origin.layers,
        dim=origin.dim,
        layout=origin.layout,
    )


def features(
    dataset: Dataset, items: Sequence[Item], extractor: Extractor, *, root: Path, quiet: bool = False
) -> Features:
    """Return the features of one class and split from the cache below `root`, computing them if needed.

    `root` is the folder of all features (`cache/features`). A full disk, an unreadable image or a folder
    that may not be written is a MechlabError, and leaves nothing behind.
    """
    items = tuple(items)
    spec = feature_spec(dataset.name, items, extractor.origin)
    shapes = _shapes(spec, len(items), extractor.grid)
    folder = root / spec.hash
    with told(folder), lock(root / f".{spec.hash}.lock", what="feature cache"):
        found = _opened(folder, spec=spec, shapes=shapes)
        if found is None:
            for left in root.glob(f".{spec.hash}.*.part"):  # of a process that was killed; we hold the lock
                shutil.rmtree(left, ignore_errors=True)
            with staged_folder(folder) as stage:
                _compute(stage, dataset, items, extractor, spec=spec, shapes=shapes, quiet=quiet)
            found = _opened(folder, spec=spec, shapes=shapes)
    if found is None:
        raise MechlabError(
            f"the features in '{folder}' could not be read back; check the disk and try again."
        )
    return Features(
        values=found["values"],
        masks=found.get("masks"),
        thumbnails=found["thumbnails"],
        mean=found["statistics"][:, 0],
        std=found["statistics"][:, 1],
        items=items,
        spec=spec,
    )


def _mask_identity(item: Item) -> str | None:
    """Return the SHA-256 of a mask, or of all in its folder; a rendered one is identified by its name."""
    if item.mask is None:
        return None
    place = Path(item.mask)
    if place.is_dir():
        return sha256_bytes("".join(sha256_file(file) for file in sorted(place.iterdir())).encode())
    return sha256_file(place) if place.is_file() else item.mask


def _shapes(spec: FeatureSpec, count: int, grid: tuple[int, int]) -> dict[str, tuple[int, ...]]:
    shapes: dict[str, tuple[int, ...]] = {
        "values": (count, *grid, spec.dim),
        "thumbnails": (count, THUMBNAIL, THUMBNAIL, 3),
        "statistics": (count, 2),
    }
    if spec.split == "test":
        shapes["masks"] = (count, spec.image_size, spec.image_size)
    return shapes


def _opened(
    folder: Path, *, spec: FeatureSpec, shapes: dict[str, tuple[int, ...]]
) -> dict[str, np.ndarray] | None:
    """Map a cached folder; None where it is absent or damaged, which is logged."""
    if not folder.exists():
        return None
    try:
        stored = FeatureSpec.model_validate(read_json(folder / "items.json")["spec"])
        found = {
            name: _mapped(folder / f"{name}.npy", shape, _DTYPES[name]) for name, shape in shapes.items()
        }
    except (MechlabError, OSError, ValueError, EOFError, KeyError, TypeError) as fault:
        _LOG.warning("the cached features in '%s' are damaged (%s); they are made again.", folder, fault)
        return None
    if stored != spec:
        _LOG.warning("the cached features in '%s' belong to another spec; they are made again.", folder)
        return None
    return found


def _mapped(path: Path, shape: tuple[int, ...], dtype: type) -> np.ndarray:
    """Map one array and compare its type, its shape and the size of its file."""
    array = np.load(path, mmap_mode="c", allow_pickle=False)
    if array.shape != shape or array.dtype != dtype:
        raise ValueError(f"{path.name} holds {array.dtype} {array.shape}, not {np.dtype(dtype)} {shape}")
    if path.stat().st_size != array.offset + array.nbytes:
        raise ValueError(f"{path.name} has {path.stat().st_size} bytes, not {array.offset + array.nbytes}")
    return array


def _compute(
    stage: Path,
    dataset: Dataset,
    items: tuple[Item, ...],
    extractor: Extractor,
    *,
    spec: FeatureSpec,
    shapes: dict[str, tuple[int, ...]],
    quiet: bool,
) -> None:
    """Write all files of a folder; they grow by plain writes, so that a full disk is an error."""
    with ExitStack() as stack:
        advance = stack.enter_context(
            _progress(f"features of {spec.class_name}/{spec.split}", len(items), quiet)
        )
        streams = {}
        for name, shape in shapes.items():
            streams[name] = stack.enter_context((stage / f"{name}.npy").open("wb"))
            header = {"descr": np.lib.format.dtype_to_descr(np.dtype(_DTYPES[name])), "fortran_order": False}
            np.lib.format.write_array_header_1_0(streams[name], header | {"shape": shape})
        for batch in batches(dataset, items, extractor):
            for name, stream in streams.items():
                stream.write(getattr(batch, name).tobytes())
            advance(len(batch.values))
        for stream in streams.values():
            stream.flush()
            os.fsync(stream.fileno())
    write_json(
        stage / "items.json",
        {"spec": spec.model_dump(mode="json"), "items": [asdict(item) for item in items]},
    )


@contextmanager
def _progress(what: str, total: int, quiet: bool) -> Iterator[Callable[[int], None]]:
    """Show a bar on a terminal's standard error once the work takes longer than two seconds."""
    console = Console(stderr=True)
    bar = Progress(console=console, transient=True, disable=quiet or not console.is_terminal)
    task = bar.add_task(what, total=total)
    started = time.monotonic()

    def advance(count: int) -> None:
        bar.advance(task, count)
        if time.monotonic() - started > PATIENCE_SECONDS:
            bar.start()

    try:
        yield advance
    finally:
        bar.stop()
