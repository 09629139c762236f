"""What the catalog lists exists, and its keys are the configuration's."""

import subprocess
import sys

import pytest
import torch

from mechlab.runs.settings import unused
from mechlab.systems import catalog, load
from reproductions.moleflow.catalog import CONFIG, NEEDS, PARTS, PRESETS, SYSTEM
from reproductions.moleflow.config import MoLEFlowConfig
from reproductions.moleflow.sites import sites
from reproductions.moleflow.system import MoLEFlow


def test_catalog_needs_no_torch():
    code = (
        "import sys; sys.modules['torch'] = None; "
        "from reproductions.moleflow.catalog import PARTS; print(len(PARTS))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert int(done.stdout) == len(PARTS)


def test_system_is_found_by_name_and_every_target_exists():
    assert catalog("moleflow").SYSTEM is SYSTEM
    assert load(SYSTEM.target) is MoLEFlow
    assert load(CONFIG) is MoLEFlowConfig
    for part in PARTS:
        assert part.system == "moleflow"
        assert callable(load(part.target)), part.name


@pytest.mark.parametrize("preset", PRESETS, ids=lambda preset: preset.name)
def test_presets_are_valid_and_none_of_their_keys_is_idle(preset):
    config = MoLEFlowConfig(**preset.parts)
    idle = unused(preset.parts, parts=config.model_dump(), needs=NEEDS)
    assert not set(idle) - {"lora_alpha"}  # a preset may inherit it and switch LoRA off
    assert config.base == "shared" or config.lora_rank > 0 or config.branch == "linear"


def test_finetune_differs_from_mini_in_the_base_alone():
    mini, finetune = (
        MoLEFlowConfig(**next(preset.parts for preset in PRESETS if preset.name == name)).model_dump()
        for name in ("mini", "finetune")
    )
    assert {key for key in mini if mini[key] != finetune[key]} == {"base", "lora_rank"}


def test_keys_without_effect_are_named():
    keys, bare = ["gamma_low", "tail_ratio", "epochs"], MoLEFlowConfig(adapter="none", tail_weight=0.0)
    assert unused(keys, parts=bare.model_dump(), needs=NEEDS) == ("gamma_low", "tail_ratio")
    assert unused(keys, parts=MoLEFlowConfig().model_dump(), needs=NEEDS) == ()
    assert {*NEEDS, *(key for key, _ in NEEDS.values())} <= set(MoLEFlowConfig.model_fields)


def test_sites_name_what_the_blocks_return():
    system = MoLEFlow.create(
        {"position": "none", "blocks": 2, "dia_blocks": 1, "lora_rank": 2}, dim=4, grid=(2, 3), seed=0
    )
    system.add_task(0)
    system.add_task(1)
    found = {site.name: site for site in sites(system)}
    assert set(found) == {"adapted", "latent"} | {
        f"{path}.{what}"
        for path in ("flow.0", "flow.1", "dia.0.0", "dia.1.0")
        for what in ("latent", "log_det")
    }
    seen: dict[str, torch.Tensor] = {}
    modules = dict(system.named_modules())

    def keep(site):
        return lambda _module, _inputs, output: seen.update(
            {site.name: output if site.output is None else output[site.output]}
        )

    for site in found.values():
        modules[site.module].register_forward_hook(keep(site))
    x = torch.randn(5, 2, 3, 4)
    flowed = system(x, task=1)
    assert torch.equal(seen["latent"], flowed.latent)
    assert torch.equal(seen["adapted"], system.adapt(x, task=1))
    assert torch.equal(seen["flow.1.log_det"], flowed.block_log_dets[..., 1])
    assert torch.equal(seen["dia.1.0.latent"], flowed.latent)
    assert "dia.0.0.latent" not in seen
    for name, value in seen.items():
        assert value.ndim == len(found[name].axes)
