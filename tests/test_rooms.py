"""Each name resolves inside the repository; this file imports none of the five rooms."""

import importlib.util
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parent.parent


@pytest.mark.parametrize("name", ["mechlab", "probes", "reproductions", "figures", "cli"])
def test_room_is_ours(name):
    origin = importlib.util.find_spec(name).origin
    assert Path(origin).is_relative_to(REPOSITORY), f"'{name}' comes from {origin}"
