"""Swapped tasks are each other's experts for the time of the block, and bit for bit their own after it."""

import pytest
import torch
from torch import nn

from mechlab.errors import MechlabError
from mechlab.instrument.swap import swap
from reproductions.moleflow.system import MoLEFlow


class Experts(nn.Module):
    """A shared layer, an expert and a bare shift a task, a router, and a list of layers that is no task's."""

    def __init__(self, tasks=3, dim=4):
        super().__init__()
        self.shared = nn.Linear(dim, dim)
        self.adapter = nn.ModuleDict({str(task): nn.Linear(dim, dim) for task in range(tasks)})
        self.branch = nn.ModuleDict({str(task): nn.Linear(dim, dim) for task in range(1, tasks)})
        self.router = nn.ModuleDict({str(task): nn.Linear(dim, 1) for task in range(tasks)})
        self.names = nn.ModuleDict({"0": nn.Identity(), "last": nn.Identity()})

    def forward(self, batch, *, task):
        z = self.shared(self.adapter[str(task)](batch))
        return z + self.branch[str(task)](z) if str(task) in self.branch else z


@pytest.fixture
def experts():
    torch.manual_seed(0)
    return Experts()


@pytest.fixture
def batch():
    return torch.randn(5, 4, generator=torch.Generator().manual_seed(1))


def trained(parts=None):
    """Return a small MoLE-Flow of three tasks whose parts all differ."""
    from mechlab import systems

    parts = (
        dict(systems.preset("moleflow", "reduced").parts) | {"lora_rank": 2, "dia_blocks": 1} | (parts or {})
    )
    system = MoLEFlow.create(parts, dim=6, grid=(2, 2), seed=0)
    for task in range(3):
        system.add_task(task)
    draw = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in system.parameters():
            parameter.add_(0.1 * torch.randn(parameter.shape, generator=draw))
    return system.eval()


def snapshot(module):
    return [(name, value.data_ptr(), value.clone()) for name, value in module.state_dict().items()]


def is_unchanged(module, before):
    after = snapshot(module)
    return [(a, b) for a, b, _ in before] == [(a, b) for a, b, _ in after] and all(
        torch.equal(one, other) for (_, _, one), (_, _, other) in zip(before, after, strict=True)
    )


def test_each_task_is_the_other_s_expert(experts, batch):
    zero, one, two = (experts(batch, task=task) for task in range(3))
    with swap(experts, 0, 1) as effect:
        assert torch.equal(experts(batch, task=0), one)
        assert torch.equal(experts(batch, task=1), zero)
        assert torch.equal(experts(batch, task=2), two)
    assert effect.document()["intervention"] == "swap:0,1"
    assert effect.document()["changed"]


def test_a_moleflow_swaps_every_part_of_its_tasks():
    system = trained()
    features = torch.randn(3, 2, 2, 6, generator=torch.Generator().manual_seed(1))
    scores = [system.patch_scores(features, task=task) for task in range(3)]
    assert not torch.allclose(scores[0], scores[2])
    with swap(system, 0, 2):
        assert torch.equal(system.patch_scores(features, task=0), scores[2])
        assert torch.equal(system.patch_scores(features, task=2), scores[0])
        assert torch.equal(system.patch_scores(features, task=1), scores[1])
    assert torch.equal(system.patch_scores(features, task=0), scores[0])


def test_the_router_stays_unless_it_is_named(experts, batch):
    before = dict(experts.router.items())
    with swap(experts, 0, 1):
        assert dict(experts.router.items()) == before
        experts(batch, task=0)
    with swap(experts, 0, 1, parts=["adapter", "router"]):
        assert experts.router["0"] is before["1"]
        experts(batch, task=0)


def test_only_the_parts_that_are_named_are_swapped(experts, batch):
    adapter = experts.adapter["1"](batch)
    expected = experts.shared(adapter)
    with swap(experts, 0, 1, parts=["adapter"]):
        assert torch.equal(experts(batch, task=0), expected)


def test_a_container_with_other_names_is_no_task_s(experts, batch):
    kept = experts.names["0"]
    with swap(experts, 0, 1):
        experts(batch, task=1)
        assert experts.names["0"] is kept


def test_the_model_is_as_it_was_also_after_an_exception(experts, batch):
    before, order = snapshot(experts), [name for name, _ in experts.named_modules()]
    with pytest.raises(RuntimeError, match="on the way"), swap(experts, 0, 1):
        experts(batch, task=0)
        raise RuntimeError("on the way")
    assert is_unchanged(experts, before)
    assert [name for name, _ in experts.named_modules()] == order
    assert not any(module._forward_pre_hooks for module in experts.modules())


def test_swaps_nest(experts, batch):
    outputs = [experts(batch, task=task) for task in range(3)]
    before = snapshot(experts)
    with swap(experts, 0, 1), swap(experts, 1, 2):  # 0 -> 1, then 1 -> 2 of what stands there
        assert torch.equal(experts(batch, task=0), outputs[1])
        assert torch.equal(experts(batch, task=1), outputs[2])
        assert torch.equal(experts(batch, task=2), outputs[0])
    assert is_unchanged(experts, before)


def test_a_swap_back_is_the_model_itself(experts, batch):
    expected = experts(batch, task=0)
    with swap(experts, 0, 1), swap(experts, 1, 0):
        assert torch.equal(experts(batch, task=0), expected)


def test_bare_parameters_are_swapped_in_their_order():
    class Shifts(nn.Module):
        def __init__(self):
            super().__init__()
            self.shift = nn.ParameterDict(
                {str(task): nn.Parameter(torch.full((2,), float(task))) for task in range(3)}
            )

    model = Shifts()
    before = snapshot(model)
    with swap(model, 0, 2):
        assert model.shift["0"].tolist() == [2.0, 2.0]
        assert model.shift["2"].tolist() == [0.0, 0.0]
    assert is_unchanged(model, before)


def test_parts_that_are_alike_are_refused(experts):
    for container in (experts.adapter, experts.branch):
        container["2"].load_state_dict(container["1"].state_dict())
    with (
        pytest.raises(MechlabError, match="bit-identical, so swapping them changes nothing"),
        swap(experts, 1, 2),
    ):
        pass
    assert list(experts.adapter) == ["0", "1", "2"]


def test_a_swap_whose_parts_never_ran_is_an_error(experts, batch):
    with pytest.raises(MechlabError, match="'swap:0,1' never acted"), swap(experts, 0, 1):
        experts(batch, task=2)


@pytest.mark.parametrize(
    ("tasks", "named", "sentence"),
    [
        ((1, 1), {}, "task 1 cannot be swapped with itself"),
        ((0, 7), {}, "task 7 has no parts of its own to swap; tasks with parts: 0, 1, 2"),
        ((0, 1), {"parts": ["adaptor"]}, "no container of tasks named 'adaptor'. Did you mean 'adapter'"),
    ],
    ids=["itself", "unknown task", "unknown container"],
)
def test_what_does_not_fit_is_one_sentence(experts, tasks, named, sentence):
    with pytest.raises(MechlabError, match=sentence), swap(experts, *tasks, **named):
        pass


def test_a_model_without_tasks_is_refused():
    with pytest.raises(MechlabError, match="tasks with parts: none"), swap(nn.Linear(2, 2), 0, 1):
        pass
