"""One training in a process of its own, told epoch by epoch: what `benchmarks.training` reads.

`python -m benchmarks.training_run REQUEST.json`: prints one JSON document with the seconds of each epoch and
of the features made in it, and the largest memory of the process.
"""

import json
import re
import resource
import sys
from pathlib import Path
from time import perf_counter
from typing import Any

from torch import Tensor

from mechlab.files import read_json
from mechlab.runs.folder import RunFolder
from mechlab.runs.request import TrainRequest
from mechlab.train.resolution import plan_of
from mechlab.train.session import train
from reproductions.backbones.timm_features import Extractor

EPOCH = re.compile(r"task (\d+) epoch (\d+)/")


class Stopwatch:
    """Notes when each epoch ends, and what extraction has cost until then."""

    def __init__(self) -> None:
        """Start."""
        self.extraction = 0.0
        self.marks: list[dict[str, Any]] = []

    def report(self, line: str) -> None:
        """Note an epoch's end."""
        if found := EPOCH.search(line):
            self.marks.append({"task": int(found[1]), "epoch": int(found[2]), "at": perf_counter(),
                               "extraction": self.extraction})  # fmt: skip

    def epochs(self) -> list[dict[str, Any]]:
        """Return the epochs that follow another one of their task: seconds, and those of extraction."""
        return [
            {"task": now["task"], "seconds": now["at"] - before["at"],
             "extraction": now["extraction"] - before["extraction"]}
            for before, now in zip(self.marks, self.marks[1:], strict=False)
            if before["task"] == now["task"]
        ]  # fmt: skip


def timed(watch: Stopwatch) -> None:
    """Let every pass through a backbone count as extraction."""
    plain = Extractor.forward

    def forward(self: Extractor, images: Tensor) -> Tensor:
        began = perf_counter()
        found = plain(self, images)
        watch.extraction += perf_counter() - began
        return found

    Extractor.forward = forward  # type: ignore[method-assign]


def main(path: str) -> int:
    """Train the request of a file and print what it took."""
    watch = Stopwatch()
    timed(watch)
    summary = train(TrainRequest.read(read_json(Path(path))), report=watch.report)
    kilobytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    inputs = plan_of(RunFolder(Path(summary["path"]))).inputs
    images = [len(inputs.fitting_items(task)) for task in range(len(inputs.tasks))]
    print(json.dumps({"epochs": watch.epochs(), "images": images, "memory": kilobytes / 1000}))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
