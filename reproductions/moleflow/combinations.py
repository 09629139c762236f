"""Settings that do not go together: what is refused unless --allow NAME, and what cannot be built at all.

`COMBINATIONS` is judged by `mechlab.runs.combinations` and printed by `mechlab list combinations`; a new row
is one entry, its sentence filled in from the parts. Source: notes 004; inventory notes, "Combinations to
refuse".
"""

import math
from collections.abc import Mapping
from itertools import product
from typing import Any

from mechlab.errors import MechlabError
from mechlab.runs.combinations import Combination, Setup
from reproductions.moleflow.config import MoLEFlowConfig
from reproductions.moleflow.grid_rules import Grid, refuse_own_grids
from reproductions.moleflow.own_config import own_configs
from reproductions.moleflow.run_name import contradictions
from reproductions.moleflow.sharing import KEYS, shared_parts
from reproductions.moleflow.view_rules import has_idle_scorer, is_place_fixed, refuse_views

CLAMP = 20.0  # nats, of focal=published
LOW, HIGH = 12, 16  # blocks from which the notes' runs fall: image AUROC 0.94 at 12, 0.60 at 16
MULTI_SCALE = ("multi-scale", "task-multi-scale")
# Keys that treat the first task otherwise, at the values at which they do not
_OF_THE_FIRST = {"adapter_first_task": True, "lora_first_task": True, "identity_weight": 0.0,
                 "later_warmup_epochs": None}  # fmt: skip


def _even_kernel(setup: Setup) -> str | None:
    """Return the first key of a kernel that is read and even."""
    parts = setup.parts
    is_read = {
        "mixer_kernel": parts["mixer"] in ("depthwise", "task-adaptive"),
        "context_kernel": parts["subnet"] != "plain",
    }
    return next((key for key in is_read if is_read[key] and parts[key] % 2 == 0), None)


def _shares_nothing(parts: Any) -> bool:  # noqa: ANN401 - parts by name
    """Whether no parameter that earlier tasks are scored with moves in a later one."""
    return not shared_parts(MoLEFlowConfig(**parts))


def _protections(parts: Any) -> str:  # noqa: ANN401 - parts by name
    """Return the protecting keys besides the projection that are set, as words."""
    keys = ("ewc_weight", "distillation_weight", "replay_images")
    return ", ".join(f"{key}={parts[key]}" for key in keys if parts[key])


def _scorers(parts: Any) -> str:  # noqa: ANN401 - parts by name
    """Return the keys of scorers that are set, as words."""
    usual = {"scorer": "nll", "consistency": "none"}
    return " and ".join(f"{key}={parts[key]}" for key in usual if parts[key] != usual[key])


def _switches_tail(setup: Setup) -> bool:
    """Whether a tail is switched beside a log-det term, under the reduction that depends on the tail."""
    parts, preset = setup.parts, setup.preset
    return (
        parts["reduction"] == "published"
        and bool(parts["tail_weight"]) != bool(preset["tail_weight"])
        and bool(parts["log_det_weight"] or preset["log_det_weight"])
    )


def _least_nll(dim: int) -> float:
    """Return -log p of a patch at the mode of the prior, without a log-det: D / 2 log 2 pi, nats."""
    return 0.5 * dim * math.log(2 * math.pi)


def _contradictions(setup: Setup) -> list[tuple[str, str, Any]]:
    values = {key: value for key, value in setup.parts.items() if isinstance(value, int | float)}
    scored = setup.evaluation
    if scored.aggregation in ("top_k", "percentile", "top_k_percent"):
        values |= {scored.aggregation: scored.aggregation_value}
    return contradictions(setup.name, values | {"seed": setup.seed}) if setup.name else []


COMBINATIONS: tuple[Combination, ...] = (
    Combination(
        name="even-kernel",
        summary="a kernel without a centre, which the public code cannot run; here it reaches up and left",
        source="notes 004 L6940",
        holds=lambda setup: _even_kernel(setup) is not None,
        words=lambda setup: {"key": (key := _even_kernel(setup)), "size": setup.parts[str(key)]},
        sentence="{key}={size} is even, so the kernel has no centre; give an odd size such as 3, 5 or 7",
    ),
    Combination(
        name="projection-of-nothing",
        summary="gradient projection where later tasks move nothing that earlier ones use",
        source="notes 004 L1776",
        holds=lambda setup: setup.parts["projection"] != "none" and _shares_nothing(setup.parts),
        sentence="projection={projection} protects what tasks share, and after the first task nothing that "
        f"they share moves; set {KEYS}, or projection=none",
    ),
    Combination(
        name="protection-of-nothing",
        summary="consolidation, distillation or replay where later tasks move nothing that earlier ones use",
        source="notes 004 L1776; inventory row M32",
        holds=lambda setup: bool(_protections(setup.parts)) and _shares_nothing(setup.parts),
        words=lambda setup: {"given": _protections(setup.parts)},
        sentence="{given} protects what tasks share, and after the first task nothing that they share moves; "
        f"set {KEYS}, or leave it out",
    ),
    Combination(
        name="score-matching-with-dia",
        summary="denoising score matching beside a DIA, which the notes switch off",
        source="notes 004 L4135",
        holds=lambda setup: setup.parts["dsm"] != "none" and setup.parts["dia_blocks"] > 0,
        sentence="dsm={dsm} and dia_blocks={dia_blocks}: the notes train score matching without a DIA; set "
        "dia_blocks=0, or dsm=none",
    ),
    Combination(
        name="whitening-with-multi-scale",
        summary="two parts that reshape the flow's input; the notes drop the second in silence",
        source="notes 004 L996",
        holds=lambda setup: setup.parts["adapter"] == "whitening" and setup.parts["mixer"] in MULTI_SCALE,
        sentence="adapter=whitening and mixer={mixer} both reshape the flow's input and diverge together in "
        "the notes (L996), which then drop the mixer; set mixer=none, or another adapter",
    ),
    Combination(
        name="rotation-with-fixed-place",
        summary="turned training images beside a position that stays with the grid",
        source="notes 004 L3552",
        holds=lambda setup: is_place_fixed(MoLEFlowConfig(**setup.parts)),
        sentence="rotation={rotation} turns training images while their places stay (position={position}, "
        "adapter_by_place={adapter_by_place}); set position_turns=true or position=none, and "
        "adapter_by_place=false",
    ),
    Combination(
        name="scorer-behind-the-loss",
        summary="a scorer with parameters that no loss reaches, called learnable in the notes",
        source="notes 004 L2734, L2987",
        holds=lambda setup: has_idle_scorer(MoLEFlowConfig(**setup.parts)),
        words=lambda setup: {"given": _scorers(setup.parts)},
        sentence="{given} would stand behind the loss, so that nothing that could be learned reaches it; "
        "give a margin_weight, or leave it out",
    ),
    Combination(
        name="tail-switch",
        summary="a tail switched beside a log-det term under reduction=published: 784 times its weight",
        source="MoLE-Flow facts 1.3",
        holds=_switches_tail,
        sentence="reduction=published sums the NLL without a tail and averages it with one, so tail_weight="
        "{tail_weight} also changes what log_det_weight={log_det_weight} weighs beside it, by the number of "
        "patches (784 on a 28x28 grid); set reduction=mean, or log_det_weight=0 in both arms",
    ),
    Combination(
        name="focal-above-20",
        summary="focal=published at an NLL above its clamp of 20 nats, where every weight is 1: a no-op",
        source="notes 004 L487",
        holds=lambda setup: setup.parts["focal"] == "published" and _least_nll(setup.dim) > CLAMP,
        words=lambda setup: {"dim": setup.dim, "least": round(_least_nll(setup.dim))},
        sentence="focal=published clamps the NLL at 20 nats, and over {dim} channels a patch begins at "
        "{least}: every weight is 1 and nothing changes; set focal=relative, or focal=none",
    ),
    Combination(
        name="deep-flow",
        summary="16 coupling blocks or more: image AUROC 0.60 in the notes' logs",
        source="MoLE-Flow facts 4.1",
        holds=lambda setup: setup.parts["blocks"] >= HIGH,
        sentence="blocks={blocks}: from 16 coupling blocks on the notes' runs fall to an image AUROC of "
        "0.60; give fewer than 16",
    ),
    Combination(
        name="rather-deep-flow",
        summary="12 to 15 coupling blocks: image AUROC 0.94 in the notes' logs; told, not refused",
        source="MoLE-Flow facts 4.1",
        holds=lambda setup: LOW <= setup.parts["blocks"] < HIGH,
        sentence="blocks={blocks}: with 12 coupling blocks and DIA 2 the notes' image AUROC is 0.942, with 6 "
        "and 8 it is 0.980",
        is_warning=True,
    ),
    Combination(
        name="name-says-otherwise",
        summary="a --name with a number that contradicts its key, e.g. TopK3 while top_k is 6",
        source="notes 004 L5945",
        holds=lambda setup: bool(_contradictions(setup)),
        words=lambda setup: dict(
            zip(("key", "said", "value"), _contradictions(setup)[0], strict=True), name=setup.name
        ),
        sentence="the name '{name}' says {key} {said}, and {key} is {value}; correct one of them",
    ),
)


def refuse_unbuildable(
    config: MoLEFlowConfig, *, dim: int, grid: Grid | None, own: Mapping[int, Grid], tasks: int = 0
) -> None:
    """Refuse what could not be built, before anything is: the run, and what tasks have of their own.

    `grid` is the run's and `tasks` how many it has, None and 0 where they are not known yet; `own` are the
    grids of tasks that see another size.

    Raises:
        MechlabError: what was given, what is allowed, what to do.
    """
    for one, seen in product((config, *own_configs(config).values()), {grid, *own.values()}):
        refuse_combinations(one, dim=dim, grid=seen)
    refuse_own_grids(config, own)
    _refuse_first_task(config)
    if config.replay_images:
        refuse_small_bank(config.replay_images, tasks=tasks)


def refuse_combinations(config: MoLEFlowConfig, *, dim: int, grid: Grid | None) -> None:
    """Refuse what could not be built on one grid, or would train something other than it says.

    Raises:
        MechlabError: what was given, what is allowed, what to do.
    """
    if dim < 2 or (grid is not None and min(grid) < 1):
        raise MechlabError(
            f"no flow over {dim} channels on a grid of {grid}; use 2 or more channels on 1x1 or more."
        )
    if config.gamma_low >= config.gamma_high:
        raise MechlabError(
            f"gamma_low {config.gamma_low} is not below gamma_high {config.gamma_high}; swap them."
        )
    if config.identity_weight and not config.adapter_first_task:
        raise MechlabError(
            f"identity_weight {config.identity_weight} acts on the first task's adapter, which "
            "adapter_first_task=false leaves out; set one of them back."
        )
    if config.coupling == "freia" and config.subnet == "cpcf-sketch":
        raise MechlabError(
            "coupling=freia hands its subnet the untouched half alone, and subnet=cpcf-sketch reads all "
            "channels; set subnet=cpcf, or coupling=functional."
        )
    is_mergeable = config.subnet in ("plain", "context") and config.branch != "sc-lora"
    if config.products == "fused" and not is_mergeable:
        raise MechlabError(
            f"products=fused merges the Linears of subnet=plain or context, and subnet={config.subnet} with "
            f"branch={config.branch} is none of them; set products=apart."
        )
    _refuse_branches(config, dim=dim)
    refuse_views(config, dim=dim, grid=grid)


def refuse_small_bank(images: int, *, tasks: int) -> None:
    """Refuse a bank of earlier images that would have none of some task.

    Raises:
        MechlabError: fewer images than tasks.
    """
    if images < tasks:
        raise MechlabError(
            f"a bank of {images} images has none left for some of {tasks} tasks; raise replay_images to "
            f"{tasks} or more."
        )


def _refuse_first_task(config: MoLEFlowConfig) -> None:
    for key, usual in _OF_THE_FIRST.items() if config.starts == "classes" else ():
        if getattr(config, key) != usual:
            raise MechlabError(
                f"starts=classes makes no task the first one, and {key}={getattr(config, key)} treats the "
                f"first one otherwise; set starts=place, or leave {key} out."
            )


def _refuse_branches(config: MoLEFlowConfig, *, dim: int) -> None:
    rank, kind = config.lora_rank, config.branch
    if kind == "linear" and rank:
        raise MechlabError(
            f"branch=linear has no rank, but lora_rank is {rank}; set lora_rank=0, or branch=lora."
        )
    if kind == "sc-lora" and not rank:
        raise MechlabError("branch=sc-lora needs a rank, but lora_rank is 0; set it to 1 or more.")
    if config.blocks and rank > dim // 2:
        raise MechlabError(
            f"lora_rank {rank} is above {dim // 2}, the least side of a product over {dim} channels, where a "
            "branch is no longer low-rank; lower lora_rank, or take branch=linear with lora_rank=0."
        )
