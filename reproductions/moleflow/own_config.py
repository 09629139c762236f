"""What a task may have of its own beside the run's configuration, and its configuration with it.

Source: notes 004 L2670 (parts by task), L3603 (DIA depth by task); M42. Keys that shape what tasks share, or
the order of images, hold for the whole run.
"""

from mechlab.specs import validated
from reproductions.moleflow.config import MoLEFlowConfig

OVERRIDABLE = (
    *("adapter", "gamma_low", "gamma_high", "beta_limit", "adapter_by_place", "adapter_ridge"),
    *("dia_blocks", "dia_hidden_ratio"),
    *("tail_weight", "tail_ratio", "log_det_weight", "center_weight", "focal", "focal_gamma"),
    *("learning_rate", "weight_decay", "clip_norm", "final_learning_rate"),
)


def own_configs(config: MoLEFlowConfig) -> dict[int, MoLEFlowConfig]:
    """Return the configuration of each task that has keys of its own.

    Raises:
        MechlabError: a key that no task can have of its own, or a value out of its range.
    """
    base = config.model_dump() | {"overrides": {}}
    kind = {key: value for key, value in base.items() if key in OVERRIDABLE}
    found = {}
    for task, own in config.overrides.items():
        strange = sorted(own.keys() - kind.keys())
        if strange:
            raise ValueError(f"task {task} cannot have '{strange[0]}' of its own: {', '.join(OVERRIDABLE)}")
        found[int(task)] = validated(MoLEFlowConfig, base | own, what=f"moleflow (task {task})")
    return found
