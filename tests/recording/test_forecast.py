"""Laws of the forecast: what fits is let through, what does not is refused before it fills the disk."""

from types import SimpleNamespace

import pytest

from mechlab.errors import MechlabError
from mechlab.recording import forecast


@pytest.mark.parametrize(("free", "is_refused"), [(1000, True), (1111, True), (1112, False), (10**9, False)])
def test_nine_tenths_of_the_free_disk_may_be_taken(tmp_path, monkeypatch, free, is_refused):
    monkeypatch.setattr(forecast.shutil, "disk_usage", lambda _: SimpleNamespace(free=free))
    if is_refused:
        with pytest.raises(MechlabError, match=r"would take 1.0 kB \(10 B a step × 100 steps\)"):
            forecast.check_room(tmp_path, step_bytes=10, steps=100)
    else:
        forecast.check_room(tmp_path, step_bytes=10, steps=100)
