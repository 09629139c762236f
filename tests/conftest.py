"""Fixtures that every room shares."""

import os
from pathlib import Path

import numpy as np
import pytest

REPOSITORY = Path(__file__).resolve().parent.parent


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)


@pytest.fixture
def repository() -> Path:
    return REPOSITORY


@pytest.fixture
def shared() -> Path:
    """The folder with real images and weights; tests that need it skip where it is absent."""
    folder = Path(os.environ.get("MECHLAB_SHARED", REPOSITORY.parent / "shared"))
    if not (folder / "data").is_dir():
        pytest.skip("the shared images and weights are absent (set MECHLAB_SHARED to their folder)")
    return folder
