"""The keys that the first runs were named by: they stand in each TrainSpec, whatever their value.

A key that is not here was added later and is left out of the hash at its default (`mechlab.runs.parts`), so
this list never grows.
"""

FOUNDING = frozenset(
    {
        *("position", "position_dim"),
        *("adapter", "gamma_low", "gamma_high", "beta_limit", "adapter_by_place", "adapter_ridge"),
        *("mixer", "mixer_kernel"),
        *("blocks", "subnet", "hidden_ratio", "context_kernel", "context_initial", "context_limit"),
        *("clamp", "global_affine", "base"),
        *("lora_rank", "lora_alpha", "lora_first_task", "dia_blocks", "dia_hidden_ratio"),
        *("tail_weight", "tail_ratio", "log_det_weight"),
        *("learning_rate", "weight_decay", "clip_norm", "warmup_epochs", "final_learning_rate"),
    }
)
