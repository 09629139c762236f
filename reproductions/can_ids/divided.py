"""The windows of a folder of logs, divided: to train on, to set a threshold on, to be judged on."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from mechlab.errors import MechlabError
from reproductions.can_ids.config import TrainingConfig
from reproductions.can_ids.folder import open as open_folder
from reproductions.can_ids.fusion_config import FusionConfig
from reproductions.can_ids.graph_set import NORMAL, GraphSet
from reproductions.can_ids.prepare import prepared


@dataclass(frozen=True, slots=True, kw_only=True)
class Divided:
    """Windows with labels; the ids are those of the training logs."""

    whole: GraphSet
    train: GraphSet
    validation: GraphSet
    test: GraphSet

    def of_split(self, split: str) -> GraphSet:
        """Return all windows of a split, those of training and validation in groups of its name."""
        return self.test if split == "test" else self.whole.of_split(split).labelled().grouped()

    def normal(self) -> "Divided":
        """Return these windows, but only those without an attack to train and to set a threshold on."""
        train, validation = (one.select(one.y == NORMAL) for one in (self.train, self.validation))
        return replace(self, train=train, validation=validation)


def divided(
    root: Path, config: TrainingConfig | FusionConfig, *, cache: Path, say: Callable[[str], None]
) -> Divided:
    """Return the windows of the logs below a folder, from the cache or made now.

    Raises:
        MechlabError: logs that cannot be read, windows without a label, or no window to train or to judge on.
    """
    folder = open_folder(root, exclude=config.exclude)
    graphs, _ = prepared(
        folder, cache=cache, way=config.split, window=config.window, stride=config.stride, say=say
    )
    parts = {name: graphs.of_split(name).labelled() for name in ("train", "validation", "test")}
    for name, part in parts.items():
        if not len(part):
            raise MechlabError(
                f"the logs in '{root}' give no {name} window of {config.window} messages; add logs, or "
                "longer ones."
            )
    found = Divided(whole=graphs, **parts)
    if not len(found.normal().train) or not len(found.normal().validation):
        raise MechlabError(
            f"the logs in '{root}' give no window without an attack to train or validate on; add "
            "attack-free logs."
        )
    return found
