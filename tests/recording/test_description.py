"""What stands beside the values is each key's own, in segments as in a packed file."""

import json

import h5py
import numpy as np
import pytest

from mechlab import recording
from mechlab.errors import MechlabError
from mechlab.recording import Writer

KEYS = {
    "latent/a": {"axes": ("item",), "unit": "1", "attributes": {"places": [1, 2]}},
    "latent/b": {"axes": ("item",), "unit": "1", "attributes": {"places": [1, 3]}},
    "latent/c": {"axes": ("item",), "unit": "1", "attributes": {}},
    "latent/d": {"axes": ("item",), "unit": "nats", "attributes": {}},
    "latent/e": {"axes": ("step",), "unit": "1", "attributes": {}},
    "latent/f": {"axes": ("item",), "unit": "1", "attributes": {"places": [1, 2]}},
}


def record(folder, *, pack):
    writer = Writer.create(folder, attributes={"run_id": "x", "spec": None, "provenance": {}})
    for key, named in KEYS.items():
        coordinates = {"item": np.arange(2)} if key == "latent/f" else {}
        writer.append(key, np.ones(2), coordinates=coordinates, **named)
    writer.close(pack=pack)
    return folder


@pytest.mark.parametrize("pack", [False, True])
def test_keys_that_differ_in_one_thing_keep_it(tmp_path, pack):
    with recording.open(record(tmp_path / "r", pack=pack)) as found:
        for key, named in KEYS.items():
            quantity = found[key]
            assert {"axes": quantity.axes, "unit": quantity.unit, "attributes": quantity.attributes} == named
            assert list(quantity.coordinates) == (["item"] if key == "latent/f" else [])


def test_equal_descriptions_are_written_once(tmp_path):
    folder = record(tmp_path / "r", pack=False)
    with h5py.File(next(folder.glob("r0-*.h5"))) as file:
        assert len(json.loads(file.attrs["descriptions"])["of"]) == len(KEYS)
    writer = Writer.create(tmp_path / "s", attributes={"run_id": "x", "spec": None, "provenance": {}})
    for number in range(50):
        writer.append(f"latent/{number}", np.ones(1), axes=("step",), coordinates={}, unit="1")
    writer.close(pack=False)
    with h5py.File(next((tmp_path / "s").glob("r0-*.h5"))) as file:
        assert len(json.loads(file.attrs["descriptions"])["of"]) == 1


@pytest.mark.parametrize(
    ("good", "bad"), [('"axes"', '"axis"'), ('"latent/a":0', '"latent/a":9'), ('["item"]', '"item__"')]
)
def test_damaged_descriptions_are_one_sentence(tmp_path, good, bad):
    folder = record(tmp_path / "r", pack=False)
    with h5py.File(next(folder.glob("r0-*.h5")), "r+") as file:
        text = file.attrs["descriptions"]
        text = text.decode() if isinstance(text, bytes) else text
        file.attrs.modify("descriptions", np.bytes_(text.replace(good, bad)))
    with (
        recording.open(folder) as found,
        pytest.raises(
            MechlabError, match=r"cannot read 'latent/a' in '.*r0-000000\.h5': the file is damaged"
        ),
    ):
        _ = found["latent/a"]


def test_who_changes_the_attributes_of_a_key_changes_no_other(tmp_path):
    with recording.open(record(tmp_path / "r", pack=False)) as found:
        found["latent/c"].attributes["x"] = 1
        assert found["latent/c"].attributes == found["latent/e"].attributes == {}
