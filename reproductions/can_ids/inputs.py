"""Windows in the place of images: what the loop, checkpoints and the recorder read of them."""

from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

import numpy as np
from jaxtyping import Bool, Float, UInt8

from mechlab.errors import MechlabError
from mechlab.files import canonical_json, sha256_bytes
from mechlab.specs import FeatureSpec, Item, Split
from mechlab.train.inputs import Inputs
from mechlab.train.rows import FeatureRows
from reproductions.can_ids.graph_set import ARRAYS, NODE_FEATURES, GraphSet


@dataclass(frozen=True)
class WindowsByName:
    """The windows of a data set as a `mechlab.systems.Dataset` of one class; they have no pictures."""

    name: str
    train: GraphSet

    def classes(self) -> tuple[str, ...]:
        """Return the one class, which has the name of the data set."""
        return (self.name,)

    def items(self, class_name: str) -> tuple[Item, ...]:
        """Return the windows that are trained on; a window is known by the digest of its arrays."""
        del class_name
        return items_of(self.train, name=self.name, split="train")

    def image(self, item: Item, size: int) -> UInt8[np.ndarray, "height width 3"]:
        """Refuse."""
        self._refuse(item)

    def mask(self, item: Item, size: int) -> Bool[np.ndarray, "height width"]:
        """Refuse."""
        self._refuse(item)

    def _refuse(self, item: Item) -> NoReturn:
        raise MechlabError(
            f"'{item.image}' is a window of CAN messages and has no picture; ask for its scores or graphs "
            "instead."
        )


def items_of(graphs: GraphSet, *, name: str, split: Split) -> tuple[Item, ...]:
    """Return windows of a data set as the items of a split; a window is known by the digest of its arrays.

    Its `image` is `<part>/<log>@<seconds of its first message>`, its `defect` the attack, or good.
    """
    return tuple(_item(graphs.span(number, number + 1), name=name, split=split)
                 for number in range(len(graphs)))  # fmt: skip


def _item(one: GraphSet, *, name: str, split: Split) -> Item:
    source, attack = one.sources[int(one.source[0])], one.attacks[0]
    return Item(
        sha256=sha256_bytes(b"".join(np.ascontiguousarray(getattr(one, each)).tobytes() for each in ARRAYS)),
        class_name=name,
        split=split,
        label=int(one.y[0]),
        defect="good" if one.y[0] == 0 else attack,
        image=f"{source.part}/{source.name}@{one.start[0]:.6f}",
    )


@dataclass
class GraphInputs(Inputs):
    """The windows of one data set; `features` of the loop are their numbers."""

    @classmethod
    def of(cls, name: str, train: GraphSet, *, cache: Path) -> "GraphInputs":
        """Return the inputs of a training on these windows."""
        dataset = WindowsByName(name, train)
        return cls(dataset=dataset, tasks=((name,),), extractor=None, cache=cache, image_size=train.window,
                   dim=NODE_FEATURES, backbone="windows", holdout=0.0)  # fmt: skip

    @property
    def grid(self) -> tuple[int, int]:
        """A window is one place."""
        return 1, 1

    @property
    def train(self) -> GraphSet:
        """The windows that are trained on."""
        assert isinstance(self.dataset, WindowsByName)
        return self.dataset.train

    def spec(self, class_name: str, split: Split) -> FeatureSpec:
        """Return what names the windows of the training."""
        assert split == "train", "only training windows are inputs"
        return window_spec(class_name, self.train, split=split)

    def fitting(self, task: int) -> Float[np.ndarray, "item row column dim"]:
        """Return the numbers of the windows; float64 holds them exactly."""
        del task
        return np.arange(len(self.train), dtype=np.float64).reshape(-1, 1, 1, 1)

    def rows(self, task: int) -> FeatureRows:
        """Return `fitting`: numbers of windows take no room."""
        return self.fitting(task)

    def fitting_items(self, task: int) -> tuple[Item, ...]:
        """Return the windows behind `fitting`, in the same order."""
        del task
        return self.dataset.items(self.dataset.name)


def window_spec(name: str, graphs: GraphSet, *, split: Split) -> FeatureSpec:
    """Return the FeatureSpec of windows: what moves a number of theirs moves its hash."""
    parts = [np.ascontiguousarray(getattr(graphs, one)).tobytes() for one in ARRAYS]
    logs = canonical_json([[source.part, source.name, source.attack] for source in graphs.sources])
    return FeatureSpec(
        dataset=name,
        class_name=name,
        split=split,
        manifest=sha256_bytes(b"".join([*parts, logs.encode()])),
        transform=f"window-{graphs.window}/stride-{graphs.stride}",
        image_size=graphs.window,
        backbone="windows",
        weights=f"vocabulary-{graphs.vocabulary.digest}",
        layers=(),
        dim=NODE_FEATURES,
    )
