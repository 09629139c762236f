"""What recording reductions costs: mean, variance, row norms and range of every block, norms of gradients.

Only kilobytes leave the hooks, so the target is tighter. Source: numerics notes, "Recording overhead",
micro-benchmark of reductions.
"""

from collections.abc import Iterator

from benchmarks.measure import Measurement, keep_memory, one_thread, ratio
from benchmarks.recorder import STEPS, interleaved, plain, ratios, recorded
from benchmarks.workloads import NAMES, Workload, workload
from mechlab.specs import PlanEntry

PAIRS, TARGET = 30, 1.03  # pairs: one differs from the next by more than what is left


def measure() -> Iterator[Measurement]:
    """Yield the total over plain steps for each model."""
    keep_memory()
    with one_thread():
        for name in NAMES:
            work = workload(name)
            sessions = {
                "plain": plain(workload(name), steps=STEPS),
                "recorded": recorded(work, steps=STEPS, plan=reductions(work)),
            }
            found = ratios(interleaved(sessions, rounds=PAIRS), "recorded", "plain")
            against = "plain steps, with flush and fsync"
            yield ratio(f"recorder-reductions-{name}", found, against=against, target=TARGET)


def reductions(work: Workload) -> list[PlanEntry]:
    """Return the plan: moments and norms of each block, norms of gradients."""
    kinds = ("moments", "norm")
    outputs = [
        PlanEntry(site=site, quantity="activation", reduction=kind) for site in work.sites for kind in kinds
    ]
    return [*outputs, PlanEntry(site="*", quantity="gradient", reduction="norm")]
