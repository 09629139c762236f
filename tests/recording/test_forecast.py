"""Laws of the forecast: what fits is let through, what does not is refused before it fills the disk."""

from types import SimpleNamespace

import pytest

from mechlab.errors import MechlabError
from mechlab.recording import forecast


@pytest.mark.parametrize("beside", [0, 900])
@pytest.mark.parametrize(("free", "is_refused"), [(1000, True), (2222, True), (2223, False), (10**9, False)])
def test_nine_tenths_of_the_free_disk_may_be_taken_with_the_packed_copy_and_checkpoints(
    tmp_path, monkeypatch, free, is_refused, beside
):
    free += beside * 10 // 9
    monkeypatch.setattr(forecast.shutil, "disk_usage", lambda _: SimpleNamespace(free=free))
    words = {"step_bytes": 10, "steps": 100, "checkpoint_bytes": beside}
    if is_refused:
        told = r"\(10 B a step × 100 steps, and as much again while it is packed" + (
            r", and 900 B of checkpoints\)" if beside else r"\)"
        )
        with pytest.raises(MechlabError, match=rf"would take {2 + beside / 1000} kB {told}"):
            forecast.check_room(tmp_path, **words)
    else:
        forecast.check_room(tmp_path, **words)
