"""Runs and results as plain data, small and made up."""

from dataclasses import replace

import numpy as np
import pytest

from figures.page.content import ClassScores, Example, RunContent
from mechlab.result import Null, Result


def example(rng, name, *, label):
    row, column = np.mgrid[:12, :12]
    return Example(
        class_name=name,
        defect="scratch" if label else "good",
        label=label,
        score=9.0 if label else 2.0,
        thumbnail=rng.integers(0, 256, (12, 12, 3)).astype(np.uint8),
        mask=((row - 4) ** 2 + (column - 7) ** 2 < 6) & bool(label),
        map=rng.uniform(0.0, 5.0, (7, 7)) + 4.0 * label,
    )


@pytest.fixture
def make_run():
    def make(classes=("gear", "weave"), *, images=6, seed=0, **changes):
        rng = np.random.default_rng(seed)
        aurocs = {name: 0.9 + 0.01 * at for at, name in enumerate(classes)}
        tasks = len(classes)
        run = RunContent(
            name=f"moleflow-{seed:012x}",
            tasks=tuple((name,) for name in classes),
            metrics={
                name: {"image_auroc": value, "pixel_auroc": 0.97, "aupro": 0.9, "routing_accuracy": 1.0}
                for name, value in aurocs.items()
            },
            trivial={name: {"mean": 0.6, "std": 0.55, "distance": None} for name in classes},
            forgetting=0.0 if tasks > 1 else None,
            scores_identical=True if tasks > 1 else None,
            accuracy_matrix=tuple(
                tuple(aurocs[name] if task <= stage else None for task, name in enumerate(classes))
                for stage in range(tasks)
            ),
            scores={
                name: ClassScores(
                    labels=np.arange(2 * images) // images,
                    scores=np.concatenate([rng.normal(2.0, 1.0, images), rng.normal(6.0, 1.0, images)]),
                    threshold=4.0,
                )
                for name in classes
            },
            examples=tuple(example(rng, name, label=label) for name in classes for label in (0, 1)),
            log=tuple(
                {"step": 10 * task + step, "task": task, "epoch": step // 5, "loss": 2.0 - 0.1 * step}
                for task in range(tasks)
                for step in range(10)
            ),
            spec={"system": "moleflow", "seed": seed, "parts": {"rank": 16}},
            provenance={"mechlab": "0.1.0"},
        )
        return replace(run, **changes)

    return make


@pytest.fixture
def make_result():
    def make(probe="shortcut", **changes):
        thresholds = {
            "gradient_concentration": {"least_ratio": 1.2, "least_n": 12.0},
            "tail_training": {"least_ratio": 1.2, "least_n": 6.0},
            "gaussianity": {"largest_distance": 0.1, "least_n": 12.0},
            "energy_rank": {"largest_share": 0.5, "least_n": 6.0},
            "coreset_coverage": {"ratio": 0.01, "largest_quotient": 0.8, "least_n": 6.0},
            "noise_influence": {"least_correlation": 0.3, "least_n": 6.0},
            "distillation_signal": {"least_ratio": 1.25, "least_n": 6.0},
            "cross_task_cka": {"least_cka": 0.3, "largest_cka": 0.7, "least_n": 6.0},
        }
        result = Result(
            probe=probe,
            hypothesis="A trivial statistic tells defective from normal images.",
            decision_rule="supported if the interval lies above the threshold",
            verdict="supported",
            effect=0.875,
            interval=(0.8125, 0.9375),
            unit="image AUROC",
            null=Null(kind="permutation: labels", value=0.5625, interval=(0.5, 0.625)),
            n=80,
            replication="image",
            thresholds=thresholds.get(probe, {"trivial_auroc": 0.75}),
            reason="the mean on screw is the largest",
            plan_hash="0123456789ab",
            inputs=("moleflow-1/recordings/2",),
            provenance={"mechlab": "0.1.0"},
        )
        return replace(result, **changes)

    return make
