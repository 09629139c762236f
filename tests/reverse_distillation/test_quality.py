"""What `rd-resnet18` must reach on real images within ten minutes a class."""

import pytest

from mechlab.runs.request import TrainRequest
from mechlab.train.session import train


@pytest.mark.slow
@pytest.mark.realdata
@pytest.mark.timeout(1500)
@pytest.mark.parametrize("name", ["bottle", "screw"])
def test_the_reduced_preset_finds_and_places_defects(name, shared, tmp_path):
    summary = train(
        TrainRequest(
            system="rd",
            preset="rd-resnet18",
            data="mvtec",
            root=shared / "data" / "mvtec256",
            tasks=name,
            backbone="resnet18",
            weights=shared / "data" / "weights" / "resnet18.safetensors",
            out=tmp_path / "runs",
            cache=tmp_path / "cache",
        )
    )
    found = summary["metrics"][name]
    if name == "bottle":
        assert found["image_auroc"] >= 0.99 and found["pixel_ap"] >= 0.75
    assert found["pixel_auroc"] >= {"bottle": 0.98, "screw": 0.975}[name]
