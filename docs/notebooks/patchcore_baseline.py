# %% [markdown]
# # A PatchCore baseline
#
# A memory of normal patches on two rendered parts, `gear` and `weave`: nothing to download, under a minute
# on two cores. What stands below each cell is what it gave; `scripts/notebook
# docs/notebooks/patchcore_baseline.py` runs it again. The same from the command line is `mechlab train
# patchcore --tasks gear,weave`.
#
# Nothing trains: of each class the patches of its normal pictures go through a frozen ResNet-18, one per
# cent of them is kept by greedy k-center, and a patch scores its distance to the nearest kept one (Roth et
# al., CVPR 2022; notes 002).

# %%
from pathlib import Path
from tempfile import TemporaryDirectory

from mechlab.runs.request import TrainRequest
from mechlab.train.session import train

place = TemporaryDirectory()
folder = Path(place.name)
request = TrainRequest(
    system="patchcore",
    tasks="gear,weave",
    device="cpu",
    threads=1,
    out=folder / "runs",
    cache=folder / "cache",
)
summary = train(request)

# %% [markdown]
# ## What it reaches
#
# Each class given its task, and beside it the best image AUROC of three statistics of the raw picture that
# know nothing. Where that comes near the model's, a benchmark shows nothing.

# %%
shown = ("image_auroc", "trivial_image_auroc", "pixel_auroc", "aupro", "routing_accuracy")
for name, metrics in summary["metrics"].items():
    print(f"{name:6}", *[f"{key} {metrics[key]:.2f}" for key in shown], sep="  ")
print("earlier scores bit-identical:", summary["scores_identical"], " forgetting:", summary["forgetting"])

# %% [markdown]
# ## What the bank holds
#
# The covering radius is the distance of the farthest training patch to the bank. Greedy k-center makes it
# small; a random subset of equal size is what it has to beat. The probe `coreset-coverage` asks this over
# seeds.

# %%
import numpy as np
import torch

from mechlab.runs.folder import RunFolder
from mechlab.train.resolution import plan_of
from mechlab.train.session import restore
from reproductions.patchcore.coreset import covering_radius

plan = plan_of(RunFolder.open(Path(summary["path"])))
system = restore(plan, checkpoint=1, device=torch.device("cpu"))
for task, name in enumerate(("gear", "weave")):
    patches = torch.from_numpy(plan.inputs.fitting(task)).flatten(0, 2)
    bank = system.bank[str(task)].patches.detach()
    drawn = torch.from_numpy(np.random.default_rng(0).choice(len(patches), len(bank), replace=False))
    both = torch.cat([patches, bank])
    greedy = covering_radius(both, torch.arange(len(patches), len(both))).max()
    random = covering_radius(patches, drawn).max()
    kept = f"{name:6}  {len(bank)} of {len(patches)} patches"
    print(f"{kept}  radius {greedy:.1f}, of a random subset {random:.1f}")

# %% [markdown]
# ## Where it sees defects
#
# Picture with the outline of its mask, the anomaly map, and the score, in units of the features.

# %%
from figures.page.reading import run_content
from figures.render import rendered

rendered("gallery", run_content(plan.run), kind="png", dpi=48)

# %% [markdown]
# ## A threshold without a defect
#
# Ten per cent of the normals never entered a bank. The decision threshold is their conformal quantile: no
# defective picture is needed, and the false-positive rate that it promises stands beside the one that test
# pictures show.

# %%
for name, metrics in summary["metrics"].items():
    rates = [
        metrics[key] for key in ("promised_false_positive_rate", "false_positive_rate", "true_positive_rate")
    ]
    print(f"{name:6}  promised {rates[0]:.2f}, false positives {rates[1]:.2f}, defects found {rates[2]:.2f}")
place.cleanup()
