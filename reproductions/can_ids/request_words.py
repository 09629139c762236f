"""Which words of a training request a detector of CAN windows reads; any other that was given is refused."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import JsonValue

from mechlab import systems
from mechlab.errors import MechlabError
from mechlab.runs.request import TrainRequest
from mechlab.runs.settings import split
from mechlab.train.resolution import asked
from reproductions.can_ids.config import WITH_TEACHER

UNREAD = ("tasks", "stream", "order", "backbone", "weights", "image_size", "layers", "dim", "overrides",
          "base_from", "allow")  # fmt: skip


def refuse_words_of_images(request: TrainRequest) -> None:
    """Refuse what says something of images, tasks of a stream, or several devices.

    Raises:
        MechlabError: the first such word.
    """
    usual = TrainRequest()
    for name in UNREAD:
        if getattr(request, name) != getattr(usual, name):
            option = "task" if name == "overrides" else name.replace("_", "-")
            raise MechlabError(
                f"--{option} was given, and {request.system} reads windows of CAN messages, for which it "
                "means "
                "nothing; leave it out."
            )
    if request.devices != 1:
        raise MechlabError(
            f"--devices {request.devices} was given, and {request.system} trains on one: its batch "
            "normalisation "
            "sees the whole batch; leave it out."
        )


def logs_of(request: TrainRequest) -> tuple[Path, str]:
    """Return the folder of the logs and the name of the data set: that of --data, else the folder's.

    Raises:
        MechlabError: no folder.
    """
    if request.root is None:
        raise MechlabError(
            f"{request.system} reads CAN logs, and no folder of logs was given; give --root FOLDER with "
            "files named "
            "train_01_attack_free..., train_02_with_attacks..., test_01_known_vehicle_known_attack...."
        )
    return request.root, request.root.resolve().name if request.data == TrainRequest().data else request.data


def refuse_without_teacher(given: Mapping[str, JsonValue], *, distill: str | None) -> None:
    """Refuse keys of a distillation that does not take place.

    Raises:
        MechlabError: the first such key.
    """
    if distill is not None:
        return
    for key in WITH_TEACHER:
        if key in given:
            raise MechlabError(
                f"'{key}' was given, but nothing reads it without a teacher; give --distill RUN or "
                "--distill auto, "
                f"or leave '{key}' out."
            )


def words_of(request: TrainRequest) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the user's keys of the system, and with them those of the preset.

    Raises:
        MechlabError: an unknown preset or key, a key given twice, or a setting of images.
    """
    seen, given, scored = split(asked(request), parts=systems.load(systems.catalog(request.system).CONFIG))
    for key in (*seen, *scored):
        raise MechlabError(
            f"'{key}' was given, which is a setting of images, and {request.system} reads windows of CAN "
            "messages; "
            "leave it out."
        )
    return dict(given), {**systems.preset(request.system, request.preset).parts, **given}
