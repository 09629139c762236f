"""What a training holds on to: no mapped features that it is done with, and no library that goes unused."""

import subprocess
import sys

import numpy as np
import torch

from mechlab.runs.settings import EvaluationSettings
from mechlab.train import evaluation
from mechlab.train.resolution import plan_of
from mechlab.train.session import restore

OTHER = EvaluationSettings(sigma=1.25)  # of no other test, so that it is made here

PROGRAM = """
import sys
import mechlab.train.session
from mechlab.train.devices import device_of
print(device_of("cpu"), "lightning" in sys.modules)
"""


def test_features_that_were_copied_are_not_kept_mapped(small_run):
    inputs = plan_of(small_run).inputs
    name = inputs.tasks[0][0]
    once = inputs.fitting(0)
    assert not inputs.loaded
    held = inputs.held_out(name)
    assert not inputs.loaded
    inputs.features(name, "test")
    inputs.let_go(name)
    assert not inputs.loaded
    np.testing.assert_array_equal(inputs.fitting(0), once)
    np.testing.assert_array_equal(inputs.held_out(name), held)


def test_an_evaluated_class_is_not_kept_mapped(small_run):
    plan = plan_of(small_run)
    system = restore(plan, checkpoint=1, device=torch.device("cpu"))
    spec = evaluation.spec_of(plan.spec, plan.inputs, stage=1, settings=OTHER)
    evaluation.evaluate(system, plan.inputs, small_run, spec, settings=OTHER, device=torch.device("cpu"))
    assert not plan.inputs.loaded


def test_one_device_needs_no_lightning():
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["cpu", "False"]
