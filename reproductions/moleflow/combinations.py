"""Keys that do not go together: each refusal is one sentence.

Source: notes 004 L996 and inventory notes, "Combinations to refuse".
"""

from mechlab.errors import MechlabError
from reproductions.moleflow.config import MoLEFlowConfig
from reproductions.moleflow.view_rules import refuse_views


def refuse_combinations(config: MoLEFlowConfig, *, dim: int, grid: tuple[int, int]) -> None:
    """Refuse what could not be built, or would train something other than it says.

    Raises:
        MechlabError: what was given, what is allowed, what to do.
    """
    if dim < 2 or min(grid) < 1:
        raise MechlabError(
            f"no flow over {dim} channels on a {grid[0]}x{grid[1]} grid; use 2 or more on 1x1."
        )
    if config.gamma_low >= config.gamma_high:
        raise MechlabError(
            f"gamma_low {config.gamma_low} is not below gamma_high {config.gamma_high}; swap them."
        )
    if config.adapter == "whitening" and config.mixer in ("multi-scale", "task-multi-scale"):
        raise MechlabError(
            f"adapter=whitening and mixer={config.mixer} both reshape the flow's input and diverge together "
            "in the notes (L996), which then drop the mixer; set mixer=none, or another adapter."
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
    _refuse_branches(config, dim=dim)
    refuse_views(config, grid=grid)


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
