"""A patch puts recorded rows of the same items in the place of what a site says, and refuses any others."""

import numpy as np
import pytest
import torch
from torch import nn

import mechlab
from mechlab import recording
from mechlab.errors import MechlabError
from mechlab.instrument.patching import patch
from mechlab.instrument.recorder import Recorder
from mechlab.instrument.sites import Site
from mechlab.recording import Writer
from mechlab.runs.interventions import recording_hash

PLAN = [{"site": "0", "quantity": "activation"}, {"site": "2", "quantity": "activation"}]


@pytest.fixture
def model():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, 3)).eval()


@pytest.fixture
def other():
    torch.manual_seed(1)
    return nn.Sequential(nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, 3)).eval()


@pytest.fixture
def batch():
    return torch.randn(6, 4, generator=torch.Generator().manual_seed(1))


def record(model, folder, batch, plan=PLAN, *, items=range(6), sites=(), passes=({},)):
    """Record one batch, once for each of `passes` (further coordinates); return the opened recording."""
    plan = [{"dtype": "float32"} | entry for entry in plan]
    with Writer.create(folder, attributes={"run_id": "r"}) as writer, torch.no_grad():
        recorder = Recorder(model, plan, writer, sites=sites)
        with recorder:
            for coordinates in passes:
                with recorder.step(items=np.array(items), **coordinates):
                    model(batch)
    return recording.open(folder)


def test_patching_a_model_s_own_recording_changes_no_bit(model, batch, tmp_path):
    found = record(model, tmp_path / "r", batch)
    expected = model(batch)
    with patch(model, "0", found, "activation/0", items=range(6)) as effect:
        assert torch.equal(model(batch), expected)
    assert effect.unchanged == ("0",)
    assert effect.name == f"patch:0:{recording_hash(found, 'activation/0')}:activation/0"


def test_from_a_patched_site_on_the_other_model_s_value_goes_through(model, other, batch, tmp_path):
    found = record(other, tmp_path / "r", batch)
    expected = model[2](model[1](other[0](batch)))
    with patch(model, "0", found, "activation/0", items=range(6)) as effect:
        assert torch.equal(model(batch), expected)
    assert effect.unchanged == ()


def test_items_are_taken_in_the_order_in_which_they_come(model, batch, tmp_path):
    found = record(model, tmp_path / "r", batch)
    expected = model(batch)
    with patch(model, "0", found, "activation/0", items=[4, 1, 0, 5]):
        first, second = model(batch[:3]), model(batch[:1])
    assert torch.equal(torch.cat([first, second]), expected[[4, 1, 0, 5]])


def test_the_model_is_as_it_was_also_after_an_exception(model, other, batch, tmp_path):
    found, before = record(other, tmp_path / "r", batch), model(batch)
    with (
        pytest.raises(RuntimeError, match="on the way"),
        patch(model, "0", found, "activation/0", items=range(6)),
    ):
        raise RuntimeError("on the way")
    assert torch.equal(model(batch), before)
    assert not any(module._forward_hooks for module in model.modules())


def test_an_adapter_is_chosen_among_several(model, other, batch, tmp_path):
    found = record(model, tmp_path / "r", batch, passes=({"adapter": 0}, {"adapter": 1}))
    sentence = r"has several rows of item 0, which differ in adapter; say which with at={'adapter': ...}"
    with (
        pytest.raises(MechlabError, match=sentence),
        patch(model, "0", found, "activation/0", items=range(6)),
    ):
        pass
    expected = model(batch)
    with patch(model, "0", found, "activation/0", items=range(6), at={"adapter": 1}):
        assert torch.equal(model(batch), expected)
    with (
        pytest.raises(MechlabError, match="has no coordinate 'stage'; it has"),
        patch(model, "0", found, "activation/0", items=range(6), at={"stage": 1}),
    ):
        pass


def test_patches_lie_flat_or_folded(batch, tmp_path):
    class Flat(nn.Module):
        def __init__(self):
            super().__init__()
            self.linear = nn.Linear(4, 2)

        def forward(self, x):
            return self.linear(x.reshape(-1, 4)).reshape(*x.shape[:-1], 2)

    model, images = Flat().eval(), torch.randn(3, 2, 2, 4, generator=torch.Generator().manual_seed(0))
    with Writer.create(tmp_path / "r", attributes={}) as writer, torch.no_grad():
        recorder = Recorder(model, [{"site": "linear", "quantity": "activation"}], writer, grid=(2, 2))
        with recorder, recorder.step(items=np.arange(3)):
            expected = model(images)
    found = recording.open(tmp_path / "r")
    assert found["activation/linear"].shape == (3, 2, 2, 2)
    with patch(model, "linear", found, "activation/linear", items=[2, 0]):
        assert torch.equal(model(images[:2]), expected[[2, 0]])


def test_items_need_not_stand_first(tmp_path):
    class Sequence(nn.Module):
        def forward(self, x):
            return x * 2

    model, site = Sequence(), Site(name="out", module="", axes=("row", "item", "dim"))
    batch = torch.randn(3, 5, 2, generator=torch.Generator().manual_seed(0))
    found = record(model, tmp_path / "r", batch, [{"site": "out", "quantity": "activation"}], items=range(5),
                   sites=[site])  # fmt: skip
    with patch(model, "out", found, "activation/out", items=[4, 0], sites=[site]):
        assert torch.equal(model(batch[:, :2]), 2 * batch[:, [4, 0]])


def test_one_part_of_an_output_is_patched_and_the_other_stays(tmp_path, batch):
    class Block(nn.Module):
        def forward(self, x):
            return x + 1, x.sum(dim=-1)

    model = Block()
    site = Site(name="latent", module="", output=0, axes=("item", "dim"))
    found = record(model, tmp_path / "r", batch, [{"site": "latent", "quantity": "activation"}], sites=[site])
    with patch(model, "latent", found, "activation/latent", items=[5, 4], sites=[site]):
        latent, log_det = model(batch[:2])
    assert torch.equal(latent, batch[[5, 4]] + 1)
    assert torch.equal(log_det, batch[:2].sum(dim=-1))
    with (
        pytest.raises(MechlabError, match="returns 2 tensors and 'activation/latent' holds one"),
        patch(model, "", found, "activation/latent", items=[5, 4]),
    ):
        model(batch[:2])


@pytest.mark.parametrize(
    ("site", "key", "items", "sentence"),
    [
        ("9", "activation/0", range(6), "no site named '9'"),
        ("*", "activation/0", range(6), r"site '\*' selects 0, 1, 2; a patch replaces one"),
        ("0", "activation/9", range(6), "nothing is recorded under 'activation/9'"),
        ("0", "activation/0", [0, 6, 7], r"item 6 \(and 1 more\) is not recorded under 'activation/0'"),
        ("0", "activation/0", range(5), "6 items come through site '0' and 5 are left"),
        ("0", "activation/0", [0, 1, 2, 3, 4, 5, 0], "was given 1 more items than came through"),
        ("0", "activation/2", range(6), r"'activation/2' holds \(3,\) an item and site '0' gives \(5,\)"),
    ],
    ids=["site", "sites", "key", "item", "too few", "too many", "shape"],
)
def test_what_does_not_fit_is_one_sentence(model, batch, tmp_path, site, key, items, sentence):
    found = record(model, tmp_path / "r", batch)
    with pytest.raises(MechlabError, match=sentence), patch(model, site, found, key, items=items):
        model(batch)


def test_values_that_were_rounded_are_refused(model, batch, tmp_path):
    plan = [{"site": "0", "quantity": "activation", "dtype": "float16"}]
    found = record(model, tmp_path / "r", batch, plan)
    sentence = "is float16 and the site gives torch.float32, so the patch would be rounded; record it with"
    with (
        pytest.raises(MechlabError, match=sentence),
        patch(model, "0", found, "activation/0", items=range(6)),
    ):
        model(batch)


def test_wider_values_are_taken_only_where_nothing_is_lost(model, batch, tmp_path):
    plan = [{"site": "0", "quantity": "activation", "dtype": "float64"}]
    exact = record(model, tmp_path / "exact", batch, plan)
    expected = model(batch)
    with patch(model, "0", exact, "activation/0", items=range(6)):
        assert torch.equal(model(batch), expected)
    finer = record(model.double(), tmp_path / "finer", batch.double(), plan)
    with (
        pytest.raises(MechlabError, match="so the patch would be rounded"),
        patch(model.float(), "0", finer, "activation/0", items=range(6)),
    ):
        model(batch)


def test_a_patch_that_never_ran_is_an_error(model, batch, tmp_path):
    found = record(model, tmp_path / "r", batch)
    with (
        pytest.raises(MechlabError, match="never acted"),
        patch(model, "0", found, "activation/0", items=range(6)),
    ):
        pass


def test_rows_without_items_are_refused(model, batch, tmp_path):
    with mechlab.record(model, PLAN, tmp_path / "r"):
        model(batch)
    found = recording.open(tmp_path / "r")
    with (
        pytest.raises(MechlabError, match="does not say which item a row is of"),
        patch(model, "0", found, "activation/0", items=range(6)),
    ):
        pass


def test_a_foreign_recording_is_named_by_what_it_holds(model, other, batch, tmp_path):
    one, same = record(model, tmp_path / "a", batch), record(model, tmp_path / "b", batch)
    another = record(other, tmp_path / "c", batch)
    assert recording_hash(one, "activation/0") == recording_hash(same, "activation/0")
    assert recording_hash(one, "activation/0") != recording_hash(another, "activation/0")
    assert recording_hash(one, "activation/0") != recording_hash(one, "activation/2")
