"""The benchmark of row contributions: its naive reference is right, and its exactness holds."""

import numpy as np
import torch

from benchmarks.patch_gradients import cost, errors, exactness, mini, naive, perturbed


def test_the_naive_loop_is_the_gradient_of_one_row():
    system = perturbed(mini({"subnet": "plain", "lora_rank": 4}, grid=(2, 2), dim=8)).double()
    features = torch.randn(1, 2, 2, 8, dtype=torch.float64)
    layers, total = naive(system, features)
    system.patch_scores(features, task=0)[0, 1, 0].backward()
    layer = system.get_submodule(name := next(iter(layers)))
    np.testing.assert_allclose(layers[name][0, 1, 0], float(layer.weight.grad.norm()), rtol=1e-12)
    assert total.shape == (1, 2, 2)
    assert (total > layers[name]).all()


def test_contributions_are_exact_where_rows_are_independent():
    found = {one.name: one for one in exactness()}
    assert found["patch-gradients-float64"].value <= 1e-12
    assert found["patch-gradients-float32"].value <= 1e-5
    assert 0 < found["patch-gradients-float64"].value < found["patch-gradients-float32"].value


def test_the_check_can_fail_rows_that_see_one_another_are_not_exact():
    system = perturbed(mini({"subnet": "context", "lora_rank": 4}, grid=(3, 3), dim=8)).double()
    features = torch.randn(1, 3, 3, 8, dtype=torch.float64)
    layers, total = naive(system, features)
    assert max(errors(system, features, layers, total)) > 1e-3


def test_both_forms_are_timed_by_both_clocks():
    found = list(cost(pairs=2, grid=(4, 4), dim=32, batch=2))
    names = ["patch-gradients", "patch-gradients-by-layer"]
    assert [one.name for one in found] == [f"{name}{clock}" for name in names for clock in ("", "-processor")]
    assert all(one.value > 0 and (one.target, one.n) == (1.05, 2) for one in found)
