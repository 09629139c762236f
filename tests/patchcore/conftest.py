"""One thread, and a small trained memory of two tasks."""

from collections.abc import Iterator
from dataclasses import replace

import pytest
import torch


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def bank_request(small_request, tmp_path_factory):
    place = tmp_path_factory.mktemp("patchcore")
    return replace(
        small_request, system="patchcore", preset="mini", epochs=None, batch_size=None,
        settings={"ratio": 0.1}, out=place / "runs",
    )  # fmt: skip


@pytest.fixture(scope="session")
def bank_summary(bank_request, make_trained):
    return make_trained(bank_request)


@pytest.fixture(scope="session")
def bank_run(bank_summary, make_opened):
    return make_opened(bank_summary)
