"""What a configuration's names stand for: each function builds one kind of part.

Nothing here is drawn from a global generator: a start depends on seed, task and name alone.
Source: notes 004 L2571, facts 1.2.
"""

from collections.abc import Callable

from jaxtyping import Float
from torch import Tensor, nn

from reproductions.moleflow.adapter import AffineAdapter, NoAdapter, WhiteningAdapter
from reproductions.moleflow.alignment import Alignment, NoAlignment
from reproductions.moleflow.attention import PatchAttention
from reproductions.moleflow.config import MoLEFlowConfig
from reproductions.moleflow.content_place import ContentPlacing
from reproductions.moleflow.film import FiLMAdapter
from reproductions.moleflow.flow import dia
from reproductions.moleflow.flow.coupling import CouplingBlock
from reproductions.moleflow.flow.cross_patch import NOT_A_DENSITY, CrossPatchSubnet
from reproductions.moleflow.flow.gate import PatchGate
from reproductions.moleflow.flow.neighbourhood import neighbourhood_of
from reproductions.moleflow.flow.subnet import ContextSubnet, PlainSubnet, SubnetShape
from reproductions.moleflow.global_context import GlobalContext
from reproductions.moleflow.instance_mlp import InstanceAdapter
from reproductions.moleflow.interaction import PatchInteraction
from reproductions.moleflow.mixer import ContextMixer, NoMixer
from reproductions.moleflow.multi_scale import MultiScaleMixer, TaskMultiScaleMixer
from reproductions.moleflow.placing import NoPlacing, SinePlacing, TaskStrength
from reproductions.moleflow.relative_place import RelativePlacing
from reproductions.moleflow.semantic import SemanticProjector
from reproductions.moleflow.task_mixer import TaskAdaptiveMixer


def placing_of(config: MoLEFlowConfig, place: Float[Tensor, "row column place"], *, seed: int) -> NoPlacing:
    """Return what tells features where they stand; `place` is the embedding of the grid."""
    rows, columns, dim = place.shape
    content = {"content": 0.0, "hybrid": config.hybrid_share}
    build: dict[str, Callable[[], NoPlacing]] = {
        "none": NoPlacing,
        "condition": NoPlacing,
        "sine": SinePlacing,
        "tape": lambda: TaskStrength(initial=config.tape_initial),
        "relative": lambda: RelativePlacing(
            (rows, columns), dim, distance=config.relative_distance, seed=seed
        ),
        **{
            name: lambda share=share: ContentPlacing(place, count=config.content_prototypes, share=share)
            for name, share in content.items()
        },
    }
    return build[config.position]()


def aligner_of(config: MoLEFlowConfig, *, dim: int, task: int, seed: int) -> NoAlignment | Alignment:
    """Return what turns a task's images upright."""
    if config.align == "none":
        return NoAlignment()
    return Alignment(dim, hidden=config.align_hidden, task=task, seed=seed)


def adapter_of(config: MoLEFlowConfig, *, dim: int, grid: tuple[int, int], task: int, seed: int) -> nn.Module:
    """Return a task's input adapter."""
    if config.adapter == "none" or (task == 0 and not config.adapter_first_task):
        return NoAdapter()
    if config.adapter == "instance-mlp":
        return InstanceAdapter(dim, task=task, seed=seed)
    if config.adapter == "film":
        return FiLMAdapter(dim, task=task, seed=seed)
    if config.adapter in ("whitening", "whitening-no-ln"):
        return WhiteningAdapter(
            dim,
            task=task,
            low=config.gamma_low,
            high=config.gamma_high,
            limit=config.beta_limit,
            standardises=config.adapter == "whitening",
        )
    return AffineAdapter(
        grid,
        dim,
        diagonal=config.adapter == "diagonal",
        by_place=config.adapter_by_place,
        ridge=config.adapter_ridge,
    )


Mixer = (
    NoMixer
    | ContextMixer
    | TaskAdaptiveMixer
    | PatchAttention
    | PatchInteraction
    | MultiScaleMixer
    | TaskMultiScaleMixer
    | GlobalContext
    | SemanticProjector
)


def mixer_of(config: MoLEFlowConfig, *, dim: int, grid: tuple[int, int], seed: int) -> Mixer:
    """Return the mixer in front of the flow."""
    build: dict[str, Callable[[], Mixer]] = {
        "none": NoMixer,
        "depthwise": lambda: ContextMixer(dim, kernel=config.mixer_kernel),
        "task-adaptive": lambda: TaskAdaptiveMixer(dim, kernel=config.mixer_kernel),
        "attention": lambda: PatchAttention(
            dim, hidden=config.attention_hidden, dropout=config.attention_dropout, seed=seed
        ),
        "multi-scale": lambda: MultiScaleMixer(dim, seed=seed),
        "task-multi-scale": lambda: TaskMultiScaleMixer(dim, seed=seed),
        "interaction": lambda: PatchInteraction(dim, seed=seed),
        "global": lambda: GlobalContext(dim, grid=grid, regions=config.global_regions, seed=seed),
        "semantic": lambda: SemanticProjector(dim, ratio=config.semantic_ratio, seed=seed),
    }
    return build[config.mixer]()


def coupling_blocks(config: MoLEFlowConfig, *, dim: int, grid: tuple[int, int], seed: int) -> nn.ModuleList:
    """Return a whole coupling flow, without branches of tasks."""
    return nn.ModuleList(
        _block(config, dim=dim, grid=grid, name=f"flow.{number}", seed=seed)
        for number in range(config.blocks)
    )


def _block(config: MoLEFlowConfig, *, dim: int, grid: tuple[int, int], name: str, seed: int) -> nn.Module:
    subnet = subnet_of(config, dim=dim, grid=grid, name=name, seed=seed)
    settings = {"clamp": config.clamp, "global_affine": config.global_affine, "name": name, "seed": seed}
    if config.coupling == "freia":
        from reproductions.moleflow.flow.freia_block import FreiaBlock  # slow to import, and rarely used

        return FreiaBlock(dim, subnet=subnet, **settings)
    reason = NOT_A_DENSITY if config.subnet == "cpcf-sketch" else None
    return CouplingBlock(dim, subnet=subnet, not_a_density=reason, **settings)


def subnet_of(
    config: MoLEFlowConfig, *, dim: int, grid: tuple[int, int], name: str, seed: int
) -> PlainSubnet | ContextSubnet | CrossPatchSubnet:
    """Return the network inside one coupling block."""
    shape = _shape(config, dim=dim, grid=grid)
    start = {"name": name, "seed": seed}
    if config.subnet == "plain":
        return PlainSubnet(shape, **start)
    if config.subnet in ("cpcf", "cpcf-sketch"):
        is_sketch = config.subnet == "cpcf-sketch"
        neighbourhood = neighbourhood_of(
            config.neighbourhood,
            dim if is_sketch else shape.passive,
            kernel=config.context_kernel,
            **start,
        )
        return CrossPatchSubnet(shape, neighbourhood=neighbourhood, is_sketch=is_sketch, **start)
    gate = None
    if config.subnet != "context":
        is_published = config.subnet == "gated-published"
        gate = PatchGate(2 * shape.passive, hidden=config.gate_hidden, is_published=is_published, **start)
    return ContextSubnet(
        shape,
        gate=gate,
        kernel=config.context_kernel,
        initial=config.context_initial,
        limit=config.context_limit,
        **start,
    )


def _shape(config: MoLEFlowConfig, *, dim: int, grid: tuple[int, int]) -> SubnetShape:
    passive = dim - dim // 2
    return SubnetShape(
        passive=passive,
        active=dim // 2,
        place=config.position_dim if config.position == "condition" else 0,
        hidden=max(1, round(config.hidden_ratio * passive)),
        rank=config.lora_rank,
        alpha=config.lora_alpha,
        branch=config.branch,
        nodes=config.lora_nodes,
        grid=grid,
        is_spectral=config.spectral_norm,
        is_fused=config.products == "fused",
        precision=config.precision,
    )


def dia_of(config: MoLEFlowConfig, *, dim: int, task: int, seed: int) -> nn.ModuleList:
    """Return the small flow of a task's own."""
    return dia.adapter(
        dim,
        blocks=config.dia_blocks,
        hidden=max(1, round(config.dia_hidden_ratio * dim)),
        clamp=config.clamp,
        task=task,
        seed=seed,
        precision=config.precision,
    )
