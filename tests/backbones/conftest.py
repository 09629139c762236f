"""What every test of the backbones needs: one torch thread, and no weights of the user's."""

from collections.abc import Iterator

import pytest
import torch


@pytest.fixture(autouse=True)
def alone(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """On a busy machine several threads for tiny images wait for one another far longer than they work."""
    monkeypatch.delenv("MECHLAB_WEIGHTS", raising=False)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)
