"""The words of a command line become texts that name no path."""

import numpy as np
import pytest

from mechlab.errors import MechlabError
from mechlab.recording import Writer
from mechlab.runs.interventions import asked


@pytest.fixture
def recorded(tmp_path):
    def make(name, *keys, spec=None):
        with Writer.create(tmp_path / name, attributes={"run_id": "r", "spec": spec}) as writer:
            for key in keys:
                writer.append(key, np.ones((2, 3)), axes=("item", "dim"), unit="1",
                              coordinates={"item": np.arange(2)})  # fmt: skip
        return tmp_path / name

    return make


def test_nothing_asks_for_nothing():
    assert asked().texts == ()
    assert asked().document() == {}


def test_ablations_and_swaps_are_words():
    found = asked(ablate=["flow.2=zero", "type:Linear=resample:3"], swap=["1,0"])
    assert found.texts == ("ablate:flow.2:zero", "ablate:type:Linear:resample:3", "swap:0,1")


def test_a_patch_finds_its_key_and_names_the_recording_by_hash(recorded):
    path = recorded("r", "latent/flow.2", "log_det/flow.2", "activation/adapted", spec={"train": "t"})
    found = asked(patch=[f"adapted={path}"])
    (text,) = found.texts
    kind, site, name, key = text.split(":")
    assert (kind, site, key) == ("patch", "adapted", "activation/adapted")
    assert found.recordings == {name: path}
    assert str(path) not in text
    assert asked(patch=[f"flow.2.latent={path}"]).texts == (f"patch:flow.2.latent:{name}:latent/flow.2",)
    assert asked(patch=[f"flow.2={path}:log_det/flow.2"]).texts == (f"patch:flow.2:{name}:log_det/flow.2",)
    assert asked(patch=[f"adapted={path}"]).document() == {
        "interventions": [text], "recordings": {name: str(path)}
    }  # fmt: skip


def test_a_recording_has_the_same_name_wherever_it_lies(recorded):
    one = asked(patch=[f"a={recorded('one', 'activation/a', spec={'train': 't'})}"])
    two = asked(patch=[f"a={recorded('two', 'activation/a', spec={'train': 't'})}"])
    other = asked(patch=[f"a={recorded('other', 'activation/a', spec={'train': 'u'})}"])
    assert one.texts == two.texts != other.texts


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ({"ablate": ["flow.2"]}, "'flow.2' is no ablation; write SITE=VALUE with zero, mean, resample"),
        ({"ablate": ["flow.2=nil"]}, "'ablate:flow.2:nil' is no intervention; write ablate:SITE:zero"),
        ({"swap": ["0+1"]}, "'swap:0[+]1' is no intervention; write swap:FIRST,SECOND"),
        ({"patch": ["adapted"]}, "'adapted' is no patch; write SITE=RECORDING"),
        ({"patch": ["adapted=nowhere"]}, "'nowhere' does not exist"),
    ],
)
def test_other_words_are_one_sentence(words, sentence):
    with pytest.raises(MechlabError, match=sentence):
        asked(**words)


def test_a_site_that_was_not_recorded_or_not_once_is_refused(recorded):
    path = recorded("r", "latent/flow.2", "log_det/flow.2")
    with pytest.raises(
        MechlabError, match="holds none of activation/adapted, latent/adapted, log_det/adapted"
    ):
        asked(patch=[f"adapted={path}"])
    with pytest.raises(MechlabError, match="holds several keys of it"):
        asked(patch=[f"flow.2={path}"])
    with pytest.raises(MechlabError, match=r"nothing is recorded under 'latent/flow.3'"):
        asked(patch=[f"flow.3={recorded('bare', 'latent/flow.2')}:latent/flow.3"])
