"""Patterns over modules and parameters: what they select, and what they refuse."""

from dataclasses import dataclass
from functools import partial

import pytest
import torch
from torch import nn

from mechlab.errors import MechlabError
from mechlab.instrument.sites import Site, element, find_layers, find_parameters, find_sites, hook_outputs


@dataclass
class Flowed:
    """What a flow may return."""

    z: torch.Tensor
    log_det: torch.Tensor


class Special(nn.Linear):
    """A derived type."""


def small_model():
    return nn.Sequential(
        nn.Linear(3, 4), nn.ReLU(), nn.Sequential(Special(4, 4), nn.ReLU()), nn.Conv2d(1, 1, 1)
    )


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        pytest.param("0", ["0"], id="a path"),
        pytest.param("2.*", ["2.0", "2.1"], id="a wildcard"),
        pytest.param("*", ["0", "1", "2", "2.0", "2.1", "3"], id="everything below the root"),
        pytest.param("", [""], id="the root"),
        pytest.param("type:ReLU", ["1", "2.1"], id="a type"),
        pytest.param("type:Linear", ["0", "2.0"], id="a derived type"),
        pytest.param("type:Spec*", ["2.0"], id="a wildcard over types"),
    ],
)
def test_a_pattern_selects_modules_by_path_or_type(pattern, expected):
    found = find_sites(small_model(), pattern, quantities=("activation",))
    assert [site.module for site in found] == expected


def test_named_sites_come_before_modules_and_only_those_of_the_quantity():
    named = (
        Site(name="flow.0.latent", module="0", quantity="latent"),
        Site(name="flow.0.log_det", module="0", quantity="log_det"),
    )
    assert find_sites(small_model(), "flow.*", quantities=("latent",), named=named) == named[:1]
    with pytest.raises(MechlabError, match="gives log_det, not latent"):
        find_sites(small_model(), "flow.0.log_det", quantities=("latent",), named=named)


def test_a_named_site_at_a_module_that_is_absent_is_refused():
    named = (Site(name="far", module="9"),)
    with pytest.raises(MechlabError, match="module '9', which this model does not have"):
        find_sites(small_model(), "far", quantities=("activation",), named=named)


@pytest.mark.parametrize("find", [find_layers, find_parameters], ids=["layers", "parameters"])
def test_a_pattern_that_matches_nothing_is_refused(find):
    with pytest.raises(MechlabError, match=r"no (site|parameter) named 'flow"):
        find(small_model(), "flow.*")


def test_an_unknown_site_gets_the_nearest_name_and_only_a_few_known_ones():
    model = nn.ModuleDict({f"block{n}": nn.Linear(1, 1) for n in range(30)})
    with pytest.raises(MechlabError, match=r"Did you mean 'block7'\? Known: .* and 24 more\.") as caught:
        find_sites(model, "blok7", quantities=("activation",))
    assert str(caught.value).count("block") == 7


def test_layers_are_found_at_and_below_the_matching_modules():
    assert list(find_layers(small_model(), "2")) == ["2.0"]
    assert list(find_layers(small_model(), "*")) == ["0", "2.0", "3"]
    assert list(find_layers(small_model(), "type:Conv2d")) == ["3"]
    with pytest.raises(MechlabError, match=r"no Linear or convolution layer is at or below site '1'; .* 0, "):
        find_layers(small_model(), "1")


def test_parameters_are_found_by_their_own_name_and_by_their_module():
    model = small_model()
    assert list(find_parameters(model, "*.bias")) == ["0.bias", "2.0.bias", "3.bias"]
    assert list(find_parameters(model, "type:Linear")) == ["0.weight", "0.bias", "2.0.weight", "2.0.bias"]
    assert find_parameters(model, "2.0.weight")["2.0.weight"] is model[2][0].weight


@pytest.mark.parametrize(
    ("value", "output"),
    [
        pytest.param(torch.ones(2), None, id="a tensor"),
        pytest.param((torch.ones(2), torch.zeros(2)), None, id="the first of a tuple"),
        pytest.param((torch.zeros(2), torch.ones(2)), 1, id="a position"),
        pytest.param(((torch.ones(2),), torch.zeros(2)), 0, id="a tuple in a tuple"),
        pytest.param({"z": torch.ones(2), "y": torch.zeros(2)}, "z", id="a key"),
        pytest.param({"z": torch.zeros(2), "y": torch.ones(2)}, 1, id="a position in a mapping"),
        pytest.param(torch.return_types.max((torch.ones(2), torch.zeros(2))), "values", id="an attribute"),
        pytest.param(Flowed(z=torch.zeros(2), log_det=torch.ones(2)), 1, id="a dataclass"),
    ],
)
def test_an_element_of_an_output_is_found(value, output):
    assert element(value, output).tolist() == [1.0, 1.0]


def test_an_output_without_a_tensor_is_told():
    with pytest.raises(ValueError, match="is a str, not a tensor"):
        element(("text",), None)


def test_hooks_call_with_the_site_and_go_when_removed():
    model, seen = small_model(), []
    sites = find_sites(model, "0", quantities=("activation",))
    removals = hook_outputs(model, sites, lambda site, tensor: seen.append((site.name, tuple(tensor.shape))))
    model[0](torch.ones(2, 3))
    for remove in removals:
        remove()
    model[0](torch.ones(2, 3))
    assert seen == [("0", (2, 4))]


@pytest.mark.parametrize(
    "find", [partial(find_sites, quantities=("activation",)), find_layers, find_parameters]
)
def test_a_type_that_the_model_lacks_is_told_with_the_nearest_type(find):
    with pytest.raises(MechlabError, match=r"no site named 'type:Linar'\. Did you mean 'type:Linear'"):
        find(small_model(), "type:Linar")
