"""The first versions' input adapter: the normalisation alone at the start, then a network on top."""

import torch

from reproductions.moleflow.instance_mlp import InstanceAdapter

X = torch.randn(2, 4, 5, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


def adapter_of(*, task: int = 1) -> InstanceAdapter:
    return InstanceAdapter(8, task=task, seed=0).double()


def test_it_starts_as_the_normalisation_of_each_image_and_channel():
    expected = torch.nn.functional.instance_norm(X.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
    torch.testing.assert_close(adapter_of()(X), expected)


def test_shift_and_size_of_a_channel_do_not_matter():
    factor, shift = torch.linspace(1, 9, 8), torch.linspace(-4, 4, 8)
    adapter = adapter_of()
    with torch.no_grad():
        adapter.second.weight.normal_(generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(adapter(X * factor + shift), adapter(X), rtol=1e-4, atol=1e-4)


def test_the_network_is_added_once_it_has_moved():
    adapter = adapter_of()
    before = adapter(X)
    with torch.no_grad():
        adapter.second.bias.fill_(1.0)
    torch.testing.assert_close(adapter(X), before + 1)


def test_each_task_has_a_start_of_its_own():
    assert not torch.equal(adapter_of(task=1).first.weight, adapter_of(task=2).first.weight)
