"""What `mini` must reach on real images."""

import pytest

from mechlab.runs.request import TrainRequest
from mechlab.train.session import train


@pytest.mark.slow
@pytest.mark.realdata
@pytest.mark.timeout(900)
def test_mini_finds_and_places_defects(shared, tmp_path):
    summary = train(
        TrainRequest(
            system="patchcore",
            preset="mini",
            data="mvtec",
            root=shared / "data" / "mvtec256",
            tasks="bottle,screw",
            backbone="resnet18",
            weights=shared / "data" / "weights" / "resnet18.safetensors",
            out=tmp_path / "runs",
            cache=tmp_path / "cache",
        )
    )
    bottle, screw = summary["metrics"]["bottle"], summary["metrics"]["screw"]
    assert bottle["image_auroc"] >= 0.995
    assert bottle["pixel_auroc"] >= 0.98 and bottle["pixel_ap"] >= 0.70
    assert screw["pixel_auroc"] >= 0.97 and screw["pixel_ap"] >= 0.25
    assert summary["scores_identical"]
