"""A key that is added with a default renames no run; a changed default is never taken for the same."""

import pytest

from mechlab import systems
from mechlab.errors import MechlabError
from mechlab.runs import parts as module
from mechlab.runs.parts import canonical, complete, defaults, hashed, refuse_other_defaults
from mechlab.specs import TrainSpec
from reproductions.moleflow.config import MoLEFlowConfig
from reproductions.moleflow.founding import FOUNDING
from reproductions.moleflow.presets import PRESETS

MINI = next(preset for preset in PRESETS if preset.name == "mini").parts
# Keys that came after the first runs, and what an older run that lacks them was trained with.
LATER = {
    "position_turns": False,
    "tape_initial": 0.0,
    "tape_rate": 100.0,
    "relative_distance": 7,
    "content_prototypes": 16,
    "hybrid_share": 0.5,
    "rotation": 0.0,
    "align": "none",
    "align_hidden": 128,
    "align_weight": 0.01,
    "adapter_first_task": True,
    "identity_weight": 0.0,
    "mixer_trains": "first-task",
    "attention_hidden": 256,
    "attention_dropout": 0.1,
    "global_regions": 4,
    "semantic_ratio": 0.5,
    "coupling": "functional",
    "context_trains": "first-task",
    "neighbourhood": "mean",
    "gate_hidden": 64,
    "base_weights": None,
    "starts": "place",
    "spectral_norm": False,
    "products": "apart",
    "branch": "lora",
    "lora_nodes": 4,
    "center_weight": 0.0,
    "focal": "none",
    "focal_gamma": 2.0,
    "reduction": "mean",
    "margin_weight": 0.0,
    "margin": 1.0,
    "pseudo_anomaly": "cutpaste",
    "jitter": 1.0,
    "scorer": "nll",
    "consistency": "none",
    "consistency_kernel": 3,
    "optimizer": "adamw",
    "schedule": "step",
    "later_warmup_epochs": None,
    "last_batch": "keep",
    "slow_blocks": 0,
    "slow_epochs": 10,
    "slow_rate": 0.2,
    "slow_held_out": 0.15,
    "projection": "none",
    "projection_threshold": 0.99,
    "projection_rank": 50,
    "projection_images": 300,
    "ewc_weight": 0.0,
    "ewc_images": 300,
    "distillation_weight": 0.0,
    "replay_images": 0,
    "replay_weight": 1.0,
    "dsm": "none",
    "dsm_alpha": 0.5,
    "dsm_alpha_last": None,
    "dsm_noise": "geometric",
    "dsm_sigma_min": 0.01,
    "dsm_sigma_max": 1.0,
    "dsm_projections": 1,
    "dsm_clean_weight": 0.0,
    "overrides": {},
}


def spec(parts):
    return TrainSpec(
        system="moleflow", parts=parts, tasks=(("gear",),), features=(), seed=0, epochs=10, batch_size=16
    )


def full(**changed):
    config = MoLEFlowConfig(**(MINI | changed)).model_dump(mode="json")
    return {key: value for key, value in config.items() if key not in module.IN_SPEC}


def test_the_name_of_the_first_runs_is_kept():
    parts = hashed("moleflow", full()) | {"holdout": 0.1}
    assert spec(parts).hash == "5e71e894fd5f"
    assert set(parts) == FOUNDING | {"holdout"}


@pytest.mark.parametrize("key", LATER)
def test_a_later_key_keeps_the_default_that_older_runs_were_trained_with(key):
    assert defaults("moleflow")[key] == LATER[key]


def test_founding_keys_exist_and_are_hashed_at_any_value():
    assert set(defaults("moleflow")) >= FOUNDING
    assert not FOUNDING & set(LATER)
    assert set(hashed("moleflow", defaults("moleflow"))) == FOUNDING


def test_a_later_key_counts_where_it_leaves_its_default():
    assert spec(hashed("moleflow", full(reduction="sum"))).hash != spec(hashed("moleflow", full())).hash
    assert hashed("moleflow", full(reduction="sum"))["reduction"] == "sum"


def test_a_spec_of_all_keys_of_its_time_is_the_same_training():
    today = spec(hashed("moleflow", full()))
    older = spec({key: value for key, value in full().items() if key != "reduction"})
    assert canonical(spec(full())) == canonical(older) == today
    assert complete(older) == complete(today) == full() | {"epochs": 10, "batch_size": 16}


def test_an_added_key_renames_no_run(monkeypatch):
    class Grown(MoLEFlowConfig):
        ewc_weight: float = 0.0

    before = spec(hashed("moleflow", full()))
    defaults.cache_clear()
    load = systems.load
    monkeypatch.setattr(systems, "load", lambda target: Grown if target.endswith("Config") else load(target))
    try:
        grown = Grown(**MINI).model_dump(mode="json")
        assert spec(hashed("moleflow", grown)) == before
        assert "ewc_weight" in hashed("moleflow", grown | {"ewc_weight": 1.0})
        assert complete(before)["ewc_weight"] == 0.0
    finally:
        defaults.cache_clear()


def test_a_key_that_nobody_knows_stays_in_the_spec():
    assert hashed("moleflow", full() | {"ewc": False})["ewc"] is False
    assert hashed("gone", {"a": 1}) == {"a": 1}


def test_a_changed_default_is_refused_and_named():
    refuse_other_defaults("r", stored={"a": 1, "gone": 2}, parts={"a": 1, "b": 2})
    with pytest.raises(
        MechlabError, match=r"'r' was trained when the default of 'a' was 1, and it is 2 now; train"
    ):
        refuse_other_defaults("r", stored={"a": 1}, parts={"a": 2})
