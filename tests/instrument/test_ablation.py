"""An ablation replaces what a site says, says whether that changed a bit, and leaves the model as it was."""

from typing import NamedTuple

import pytest
import torch
from torch import nn

from mechlab.errors import MechlabError
from mechlab.instrument.ablation import ablate, collect
from mechlab.instrument.recorder import Recorder
from mechlab.instrument.replacement import find_places
from mechlab.instrument.sites import Site


class Mapped(NamedTuple):
    latent: torch.Tensor
    log_det: torch.Tensor


class Block(nn.Module):
    def __init__(self, dim):
        super().__init__()
        self.linear = nn.Linear(dim, dim)

    def forward(self, x):
        scale = torch.tanh(self.linear(x))
        return Mapped(x * scale.exp(), scale.sum(dim=-1))


class Flow(nn.Module):
    """Two blocks; the score is what is left of -log p."""

    def __init__(self, dim=4):
        super().__init__()
        self.flow = nn.ModuleList([Block(dim), Block(dim)])
        self.unused = nn.Linear(dim, dim)

    def forward(self, batch):
        z, total = batch, 0.0
        for block in self.flow:
            z, log_det = block(z)
            total = total + log_det
        return 0.5 * z.square().sum(dim=-1) - total


PARTS = (("latent", ("item", "row", "dim")), ("log_det", ("item", "row")))
SITES = tuple(
    Site(name=f"{block}.{part}", module=block, output=output, quantity=part, axes=axes)
    for block in ("flow.0", "flow.1")
    for output, (part, axes) in enumerate(PARTS)
)


@pytest.fixture
def model():
    torch.manual_seed(0)
    return Flow().eval()


@pytest.fixture
def batch():
    return torch.randn(6, 3, 4, generator=torch.Generator().manual_seed(1))


def said(model, batch, path):
    """Return what a module returns, seen by a hook of the test's own."""
    seen = []
    handle = model.get_submodule(path).register_forward_hook(lambda _, __, output: seen.append(output))
    model(batch)
    handle.remove()
    return seen[0]


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def test_zero_takes_a_block_s_whole_word_latent_and_log_det(model, batch):
    alone = said(model, batch, "flow.0")
    with ablate(model, "flow.1", value="zero") as effect:
        score = model(batch)
    assert torch.equal(score, -alone.log_det)  # the last block's latent and log-det are gone
    assert (effect.calls, effect.unchanged) == ({"flow.1": 1}, ())


def test_zeroing_is_no_bypass(model, batch):
    with ablate(model, "flow.1", value="zero"):
        score = model(batch)
    bypassed = (
        0.5 * said(model, batch, "flow.0").latent.square().sum(dim=-1) - said(model, batch, "flow.0").log_det
    )
    assert not torch.allclose(score, bypassed)


def test_a_log_det_alone_is_taken_out_of_the_score(model, batch):
    term = said(model, batch, "flow.1").log_det
    with ablate(model, "flow.1.log_det", value="zero", sites=SITES):
        score = model(batch)
    torch.testing.assert_close(score, model(batch) + term)


def test_a_latent_without_its_log_det_is_refused(model):
    sentence = "ablate 'flow.1' \\(both\\) or 'flow.1.log_det'"
    with (
        pytest.raises(MechlabError, match=sentence),
        ablate(model, "flow.1.latent", value="zero", sites=SITES),
    ):
        pass


def test_both_parts_by_name_are_the_whole_block(model, batch):
    with ablate(model, "flow.1.*", value="zero", sites=SITES):
        by_name = model(batch)
    with ablate(model, "flow.1", value="zero"):
        assert torch.equal(by_name, model(batch))


def test_the_mean_is_over_items_and_keeps_places_and_channels(model, batch):
    expected = said(model, batch, "flow.0")
    with ablate(model, "flow.0", value="mean"):
        found = said(model, batch, "flow.0")
    for part, whole in zip(found, expected, strict=True):
        torch.testing.assert_close(part, whole.mean(dim=0, keepdim=True).expand_as(whole))


def test_a_reference_s_mean_does_not_depend_on_the_batch(model, batch):
    with collect(model, "flow.0") as reference:
        model(batch[:4])
        model(batch[4:])
    expected = said(model, batch, "flow.0").latent.mean(dim=0)
    with ablate(model, "flow.0", value="mean", reference=reference):
        one = said(model, batch[:1] + 3, "flow.0").latent
        two = said(model, batch[2:] - 5, "flow.0").latent
    torch.testing.assert_close(one[0], expected)
    assert all(torch.equal(row, one[0]) for row in two)
    averaged = reference.averaged(find_places(model, "flow.0"))
    assert averaged.rows["flow.0"][0].shape == (1, 3, 4)
    with ablate(model, "flow.0", value="mean", reference=averaged):
        assert torch.equal(said(model, batch, "flow.0").latent[0], one[0])


def test_a_batch_is_resampled_without_anyone_keeping_his_own(model, batch):
    before = said(model, batch, "flow.0")
    with ablate(model, "flow.0", value="resample", generator=seeded()):
        after = said(model, batch, "flow.0")
    source = [int((before.latent == row).all(dim=(1, 2)).nonzero()) for row in after.latent]
    assert sorted(source) == list(range(6))
    assert all(mine != theirs for mine, theirs in enumerate(source))
    assert torch.equal(after.log_det, before.log_det[source])  # both parts come from the same item


@pytest.mark.parametrize("with_reference", [False, True], ids=["batch", "reference"])
def test_a_seed_draws_the_same_and_another_seed_does_not(model, batch, with_reference):
    with collect(model, "flow.0") as reference:
        model(batch + 1)
    chosen = reference if with_reference else None

    def score(seed):
        with ablate(model, "flow.0", value="resample", generator=seeded(seed), reference=chosen):
            return model(batch)

    assert torch.equal(score(0), score(0))
    assert not torch.equal(score(0), score(1))


def test_reference_rows_are_rows_of_the_reference(model, batch):
    with collect(model, "flow.0") as reference:
        model(batch)
    pool = said(model, batch, "flow.0").latent
    with ablate(model, "flow.0", value="resample", generator=seeded(), reference=reference):
        found = said(model, batch[:1] * 9, "flow.0").latent
    assert any(torch.equal(found[0], row) for row in pool)


def test_zeroing_zeros_is_reported(model, batch):
    with torch.no_grad():
        for parameter in model.flow[1].parameters():
            parameter.zero_()
    with ablate(model, "flow.1.log_det", value="zero", sites=SITES) as effect:
        model(batch)
    assert effect.unchanged == ("flow.1.log_det",)
    assert effect.document() == {"intervention": "ablate:flow.1.log_det:zero", "calls": 1, "changed": False,
                                 "unchanged": ["flow.1.log_det"]}  # fmt: skip


def test_the_model_is_as_it_was_also_after_an_exception(model, batch):
    before, state = model(batch), {name: value.clone() for name, value in model.state_dict().items()}
    with pytest.raises(RuntimeError, match="on the way"), ablate(model, "flow.*", value="zero"):
        model(batch)
        raise RuntimeError("on the way")
    assert torch.equal(model(batch), before)
    assert not any(module._forward_hooks for module in model.modules())
    assert all(torch.equal(value, model.state_dict()[name]) for name, value in state.items())


def test_what_an_outer_block_replaces_is_refused_and_no_hook_stays(model, batch):
    with ablate(model, "flow.1", value="zero"):
        model(batch)
        with pytest.raises(MechlabError, match=r"'flow.1' is replaced by 'ablate:flow.1:zero' already"):
            ablate(model, "flow.*", value="mean").__enter__()
        assert sum(len(module._forward_hooks) for module in model.modules()) == 1


def test_ablations_nest(model, batch):
    with ablate(model, "flow.0.log_det", value="zero", sites=SITES):
        with ablate(model, "flow.1.log_det", value="zero", sites=SITES):
            both = model(batch)
        one = model(batch)
    torch.testing.assert_close(both, 0.5 * said(model, batch, "flow.1").latent.square().sum(dim=-1))
    torch.testing.assert_close(one, both - said(model, batch, "flow.1").log_det)


@pytest.mark.parametrize("recorder_first", [True, False], ids=["recorder outside", "recorder inside"])
def test_a_recorder_sees_what_the_rest_of_the_model_sees(model, batch, recorder_first):
    class Store:
        rows = ()

        def append(self, key, values, **_):
            self.rows = (*self.rows, values.copy())

    store = Store()
    recorder = Recorder(model, [{"site": "flow.1", "quantity": "activation"}], store)
    ablation = ablate(model, "flow.1", value="zero")
    outer, inner = (recorder, ablation) if recorder_first else (ablation, recorder)
    with outer, inner, recorder.step(items=None):
        model(batch)
    assert not store.rows[0].any()


def test_a_site_that_never_runs_is_an_error(model, batch):
    with (
        pytest.raises(MechlabError, match="'ablate:unused:zero' never acted: unused did not run"),
        ablate(model, "unused", value="zero"),
    ):
        model(batch)


def test_what_did_not_run_beside_what_did_is_listed(model, batch):
    with ablate(model, "type:Linear", value="zero") as effect:
        model(batch)
    assert effect.silent == ("unused",)


@pytest.mark.parametrize(
    ("pattern", "named", "sentence"),
    [
        ("flw.1", {"value": "zero"}, "no site named 'flw.1'. Did you mean 'flow.1'"),
        ("flow.1", {"value": "nil"}, "no value of an ablation named 'nil'"),
        ("flow.1", {"value": "resample"}, "draws items, so it needs a generator"),
        (
            "flow.1",
            {"value": "mean", "generator": torch.Generator()},
            "draws nothing, so it takes no generator",
        ),
    ],
    ids=["pattern", "value", "no generator", "unused generator"],
)
def test_what_does_not_fit_is_one_sentence(model, pattern, named, sentence):
    with pytest.raises(MechlabError, match=sentence), ablate(model, pattern, **named):
        pass


def test_a_zero_reads_no_reference(model, batch):
    with collect(model, "flow.0") as reference:
        model(batch)
    with (
        pytest.raises(MechlabError, match="by zero reads no reference"),
        ablate(model, "flow.0", value="zero", reference=reference),
    ):
        pass


@pytest.mark.parametrize("value", ["mean", "resample"])
def test_a_batch_of_one_has_no_other_item(model, batch, value):
    generator = seeded() if value == "resample" else None
    with (
        pytest.raises(MechlabError, match="got one item, whose mean and only choice is itself"),
        ablate(model, "flow.0", value=value, generator=generator),
    ):
        model(batch[:1])


def test_a_reference_of_another_size_is_refused(model, batch):
    with collect(model, "flow.0") as reference:
        model(batch[:, :2])
    with (
        pytest.raises(MechlabError, match=r"has \(2, 4\) an item and the batch \(3, 4\)"),
        ablate(model, "flow.0", value="mean", reference=reference),
    ):
        model(batch)


def test_a_reference_that_never_ran_is_refused(model, batch):
    with collect(model, "flow.0") as reference:
        pass
    with (
        pytest.raises(MechlabError, match=r"no reference was collected at site 'flow.0'"),
        ablate(model, "flow.0", value="mean", reference=reference),
    ):
        model(batch)


def test_a_module_that_returns_no_numbers_is_refused():
    class Tokens(nn.Module):
        def forward(self, x):
            return x.long()

    model = nn.Sequential(Tokens())
    with (
        pytest.raises(MechlabError, match="without floating-point tensors"),
        ablate(model, "0", value="zero"),
    ):
        model(torch.ones(3))


def test_a_compiled_model_is_refused():
    model = torch.compile(nn.Sequential(nn.Linear(2, 2)))
    with pytest.raises(MechlabError, match="is compiled"), ablate(model, "0", value="zero"):
        pass
