"""One rank of a training on several devices: `python -m mechlab.train.rank PLACE RANK SIZE`.

Started by `mechlab.train.launch`, which says how ranks speak and when they end.
"""

import json
import os
import signal
import sys
import threading
from pathlib import Path
from typing import IO, NoReturn

from mechlab.errors import MechlabError
from mechlab.files import read_json
from mechlab.runs.request import TrainRequest
from mechlab.train.devices import joined
from mechlab.train.session import train_rank


def main(place: Path, rank: int, size: int) -> NoReturn:
    """Train as one rank; a user's mistake is one line and exit status 1."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # whoever started all ranks ends them
    channel = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # whatever else is printed, e.g. by gloo, goes to the log
    threading.Thread(target=_end_with_parent, daemon=True).start()
    asked = read_json(place / "request.json")
    status = 0
    try:
        world = joined(asked["request"]["device"], rank=rank, size=size, meeting=place / "meeting")
        train_rank(
            TrainRequest.read(asked["request"]),
            world,
            device=world.device,
            spent=asked["spent"],
            report=lambda line: _say(channel, report=line),
        )
    except MechlabError as error:
        _say(channel, error=str(error))
        status = 1
    # Every file is closed. The ordinary way out waits for peers that are gone, or aborts in gloo's threads.
    sys.stderr.flush()
    os._exit(status)


def _say(channel: IO[str], **word: str) -> None:
    channel.write(json.dumps(word) + "\n")
    channel.flush()


def _end_with_parent() -> None:
    os.read(0, 1)  # returns when the pipe is closed: nobody would follow this rank
    os._exit(1)


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
