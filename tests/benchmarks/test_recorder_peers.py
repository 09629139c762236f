"""Peers of the recorder: each trains the very steps that it is compared on, and an absent one is told."""

from importlib.util import find_spec

import pytest
import torch
from torch import nn

from benchmarks import recorder, recorder_peers
from benchmarks.workloads import Block, Workload

STEPS = 3


def tiny():
    torch.manual_seed(0)
    model = nn.Sequential(Block(6), Block(6))
    inputs, target = torch.randn(5, 6), torch.randn(5, 6)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)

    def update(output):
        optimizer.zero_grad(set_to_none=True)
        nn.functional.mse_loss(output, target).backward()
        optimizer.step()

    return Workload(
        model=model, inputs=inputs, step=lambda: update(model(inputs)), update=update, sites=("0", "1")
    )


def trained(make, folder):
    work = tiny()
    make(work)(folder)
    return [parameter.detach().numpy().tobytes() for parameter in work.model.parameters()]


@pytest.mark.parametrize("peer", list(recorder_peers.PEERS))
def test_a_peer_trains_the_same_steps(peer, tmp_path):
    package, _, make = recorder_peers.PEERS[peer]
    if find_spec(package) is None:
        pytest.skip(f"{package} is not installed; it is an extra of the benchmarks")
    expected = trained(lambda work: recorder.plain(work, steps=STEPS), tmp_path)
    assert trained(lambda work: make(work, STEPS), tmp_path) == expected


def test_files_hold_what_hooks_saw(tmp_path):
    from safetensors.torch import load_file

    work = tiny()
    recorder_peers.safetensors(work, STEPS)(tmp_path)
    found = load_file(tmp_path / f"{STEPS - 1}.safetensors")
    last = {f"gradient.{name}": parameter.grad for name, parameter in work.model.named_parameters()}
    assert found.keys() == {"output.0", "output.1", *last}
    assert all(torch.equal(found[name], gradient) for name, gradient in last.items())


def test_who_is_there_has_a_ratio_and_who_is_not_is_absent(monkeypatch):
    monkeypatch.setattr(recorder_peers, "workload", lambda name: tiny())
    monkeypatch.setattr(
        recorder_peers, "find_spec", lambda name: find_spec(name) if name == "safetensors" else None
    )
    found = list(recorder_peers.cost("x", pairs=3, steps=2))
    rows = {row.name.removeprefix("recorder-peers-x-"): row for row in found}
    assert list(rows)[:2] == ["mechlab", "safetensors"]
    assert rows.keys() == {"mechlab", *recorder_peers.PEERS}
    for name, row in rows.items():
        is_there = name in ("mechlab", "safetensors")
        assert (row.n, row.holds, row.target) == (3 if is_there else 0, None, None)
        assert (row.value is not None) == is_there
        assert is_there or row.against == f"{name} is not installed"
