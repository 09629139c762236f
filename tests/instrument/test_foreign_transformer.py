"""An encoder layer of PyTorch's own Transformer, which has a path of its own for evaluation."""

import numpy as np
import pytest
import torch
from torch import nn

import mechlab
from mechlab import recording
from mechlab.errors import MechlabError

PLAN = [
    {"site": "linear1", "quantity": "activation"},
    {"site": "norm2", "quantity": "activation"},
    {"site": "type:Linear", "quantity": "row_contribution"},
]


def encoder(*, dropout=0.1):
    torch.manual_seed(0)
    return nn.TransformerEncoderLayer(8, 2, dim_feedforward=16, dropout=dropout, batch_first=True)


def sequences(count=3, *, images=4, length=5):
    draw = torch.Generator().manual_seed(2)
    return [(torch.randn(images, length, 8, generator=draw),) for _ in range(count)]


def test_training_is_the_same_bits_and_gradients_are_those_of_the_loop(foreign):
    found, _ = foreign(encoder, sequences(), PLAN)
    assert found["activation/linear1"].shape == (12, 5, 16)
    assert found["activation/linear1"].axes == ("item", "row", "dim")
    assert found["row_contribution/linear2"].shape == (12, 5)
    assert found.silent == ("row_contribution/self_attn.out_proj",)  # attention multiplies with it itself


@pytest.fixture
def without_fused_kernels():
    torch.backends.mha.set_fastpath_enabled(False)
    yield
    torch.backends.mha.set_fastpath_enabled(True)


def evaluated(path, plan=PLAN[:2]):
    """Return outputs without and with recording, under no_grad."""
    model, batches = encoder().eval(), sequences()
    with torch.no_grad():
        plain = [model(*arguments) for arguments in batches]
        with mechlab.record(model, plan, path):
            return plain, [model(*arguments) for arguments in batches]


def test_an_evaluation_is_the_same_bits_where_the_fused_kernels_are_off(tmp_path, without_fused_kernels):
    plain, outputs = evaluated(tmp_path / "recording")
    assert all(torch.equal(one, other) for one, other in zip(outputs, plain, strict=True))


def test_an_evaluation_records_what_the_layer_returned_and_agrees_with_the_fused_kernel(tmp_path):
    fused, outputs = evaluated(tmp_path / "recording")
    torch.testing.assert_close(outputs, fused, rtol=1e-5, atol=1e-6)
    with recording.open(tmp_path / "recording") as found:
        np.testing.assert_array_equal(found["activation/norm2"].read(), torch.cat(outputs).numpy())
        assert found["activation/linear1"].shape == (12, 5, 16)


@pytest.mark.filterwarnings("ignore:The PyTorch API of nested tensors")
@pytest.mark.parametrize("is_nested", [True, False], ids=["nested tensors", "padded tensors"])
def test_padded_sequences_are_refused_only_where_they_become_nested(tmp_path, is_nested):
    model = nn.TransformerEncoder(encoder(), 2, enable_nested_tensor=is_nested).eval()
    (x,) = sequences(1)[0]
    padded = torch.zeros(4, 5, dtype=torch.bool)
    padded[1, 3:] = True
    plan = [{"site": "layers.*.linear1", "quantity": "activation"}, {"site": "", "quantity": "activation"}]
    with torch.no_grad():
        plain = model(x, src_key_padding_mask=padded)
        if is_nested:
            with (
                pytest.raises(MechlabError, match=r"'layers.0.linear1' gives a nested tensor"),
                mechlab.record(model, plan, tmp_path / "recording"),
            ):
                model(x, src_key_padding_mask=padded)
            return
        with mechlab.record(model, plan, tmp_path / "recording"):
            output = model(x, src_key_padding_mask=padded)
    torch.testing.assert_close(output[~padded], plain[~padded], rtol=1e-5, atol=1e-6)
    with recording.open(tmp_path / "recording") as found:
        np.testing.assert_array_equal(found["activation/model"].read(), output.numpy())
        assert found["activation/layers.1.linear1"].shape == (4, 5, 16)


def test_sequences_first_are_told_by_axes_or_refused_when_items_are_named(tmp_path):
    torch.manual_seed(0)
    model = nn.TransformerEncoderLayer(8, 2, dim_feedforward=16).eval()
    plan = [{"site": "norm2", "quantity": "activation"}]
    x = torch.randn(5, 4, 8)
    with (
        pytest.raises(MechlabError, match=r"names 4 items, a site gives 5 rows; .*Site\(axes="),
        mechlab.record(model, plan, tmp_path / "guessed", items=list("abcd")) as recorder,
    ):
        recorder.batch(list("abcd"))
        model(x)
    from mechlab.instrument.sites import Site

    site = Site(name="norm2", module="norm2", axes=("row", "item", "dim"))
    with mechlab.record(model, plan, tmp_path / "told", items=list("abcd"), sites=[site]) as recorder:
        recorder.batch(list("abcd"))
        output = model(x)
    with recording.open(tmp_path / "told") as found:
        np.testing.assert_array_equal(
            found["activation/norm2"].read(), output.detach().transpose(0, 1).numpy()
        )
