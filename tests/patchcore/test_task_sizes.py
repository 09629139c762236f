"""A bank of a task's own resolution; the router compares means of one size."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file

from mechlab.files import read_json
from mechlab.runs.folder import RunFolder
from mechlab.train.scoring import Scores
from mechlab.train.session import plan_of, train
from reproductions.patchcore.exchange import export


def test_a_task_s_own_size_fills_its_bank_and_moves_no_route(bank_request, bank_run, tmp_path):
    overrides = {"nut": {"image_size": 96}}
    sized = RunFolder.open(Path(train(replace(bank_request, overrides=overrides, out=tmp_path))["path"]))
    one, two = (load_file(run.checkpoint(1) / "weights.safetensors") for run in (bank_run, sized))
    assert torch.equal(one["bank.0.patches"], two["bank.0.patches"])
    assert len(two["bank.1.patches"]) > 2 * len(one["bank.1.patches"])  # 12 x 12 places for 8 x 8
    assert all(torch.equal(one[f"bank.{task}.mean"], two[f"bank.{task}.mean"]) for task in (0, 1))
    for name, grid in (("bolt", (8, 8)), ("nut", (12, 12))):
        scores = [Scores.load(run.path / "evals" / str(run.summary()["evaluation"]) / f"{name}.npz")
                  for run in (bank_run, sized)]  # fmt: skip
        np.testing.assert_array_equal(scores[0].distances, scores[1].distances)
        assert scores[1].routed.shape[1:] == grid
    assert plan_of(sized).spec == sized.spec()
    export(sized, tmp_path / "banks")
    sizes = {name: read_json(tmp_path / "banks" / f"{name}.json")["image_size"] for name in ("bolt", "nut")}
    assert sizes == {"bolt": 64, "nut": 96}
