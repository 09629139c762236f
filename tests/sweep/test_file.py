"""Sweep files: what they may say, how words are joined, and that an arm differs in what it claims."""

import pytest
import yaml

from mechlab.errors import MechlabError
from mechlab.sweep.arms import Place, resolved
from mechlab.sweep.file import found, joined, read, sweep_of
from mechlab.sweep.jobs import cells, jobs

FILE = {
    "name": "small",
    "source": "test",
    "question": "Does it matter?",
    "train": {"preset": "reduced"},
    "sizes": {"reduced": {"seeds": 2, "train": {"dim": 16, "settings": {"lora_rank": 4}}}, "full": {}},
    "arms": [{"name": "parent"}, {"name": "plain", "settings": {"subnet": "plain"}}],
}


@pytest.fixture
def sweep(tmp_path):
    """Return a function from changes of the file to its sweep."""

    def make(size="reduced", **changes):
        path = tmp_path / "small.yaml"
        path.write_text(yaml.safe_dump(FILE | changes))
        return sweep_of(read(path), size=size)

    return make


def arms_of(sweep):
    return resolved(sweep, place=Place())


def test_an_arm_has_the_words_of_study_size_and_the_arm_it_changes(sweep):
    own = [*FILE["arms"], {"name": "more", "against": "plain", "settings": {"blocks": 1}}]
    parent, plain, more = arms_of(sweep(arms=own))
    assert parent.request.preset == "reduced"
    assert parent.request.dim == 16
    assert parent.request.settings == {"lora_rank": 4}
    assert more.request.settings == {"lora_rank": 4, "subnet": "plain", "blocks": 1}
    assert (plain.against, plain.differs) == ("parent", ("subnet",))
    assert (more.against, more.differs) == ("plain", ("blocks",))
    assert arms_of(sweep("full"))[0].request.dim is None


def test_words_are_joined_and_settings_key_by_key():
    one = {"preset": "a", "settings": {"x": 1, "y": 2}}
    assert joined(one, {"settings": {"y": 3}}) == {"preset": "a", "settings": {"x": 1, "y": 3}}
    assert joined({"preset": "a"}, {"preset": "b"}) == {"preset": "b"}


def test_a_size_may_have_arms_of_its_own(sweep):
    sizes = {"reduced": {"arms": [{"name": "alone"}]}, "full": {}}
    assert [arm.name for arm in sweep(sizes=sizes).arms] == ["alone"]
    assert [arm.name for arm in sweep("full", sizes=sizes).arms] == ["parent", "plain"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        pytest.param({"train": {"presett": "mini"}}, "Did you mean 'preset'", id="word"),
        pytest.param({"train": {"seed": 3}}, "no word of sweep 'small' named 'seed'", id="a word of places"),
        pytest.param({"armz": []}, "Did you mean 'arms'", id="key"),
        pytest.param({"arms": []}, "has no arm", id="no arm"),
        pytest.param({"arms": [{"settings": {}}]}, "has no name", id="no name"),
        pytest.param({"arms": [{"name": "a"}, {"name": "a", "dim": 8}]}, "two arms .* 'a'", id="twice"),
        pytest.param({"arms": [{"name": "a"}, {"name": "b", "against": "c"}]}, "earlier arm", id="against"),
        pytest.param({"sizes": {"reduced": {"seeds": 0}}}, "seeds", id="no seed"),
        pytest.param({"name": "Not a name"}, "'name'", id="name"),
    ],
)
def test_a_file_that_cannot_be_is_one_sentence(sweep, changes, message):
    with pytest.raises(MechlabError, match=message):
        sweep(**changes)


@pytest.mark.parametrize(
    ("arm", "message"),
    [
        pytest.param({"name": "b"}, "is arm 'parent' again", id="equal"),
        pytest.param(
            {"name": "b", "settings": {"lora_rank": 4}}, "is arm 'parent' again", id="the same value"
        ),
        pytest.param({"name": "b", "settings": {"lora_rankk": 4}}, "Did you mean 'lora_rank'", id="key"),
        pytest.param(
            {"name": "b", "settings": {"blocks": -1}}, "arm 'b' of sweep 'small'.*blocks", id="value"
        ),
        pytest.param({"name": "b", "settings": {"gate_hidden": 8}}, "nothing reads it", id="unused"),
        pytest.param({"name": "b", "preset": "minni"}, "Did you mean 'mini'", id="preset"),
        pytest.param(
            {"name": "b", "overrides": {"gear": {"blocks": 2}}},
            "no key that a task can have of its own named 'blocks'",
            id="of a task",
        ),
        pytest.param(
            {"name": "b", "overrides": {"gear": {"image_size": 8}}}, "'image_size' = 8 is not", id="own size"
        ),
        pytest.param(
            {"name": "b", "settings": {"lora_rank": 16}}, "lora_rank 16 is above 8", id="not buildable"
        ),
        pytest.param(
            {"name": "b", "dim": 32, "overrides": {"gear": {"focal": "published"}}},
            "--allow focal-above-20",
            id="combination of a task",
        ),
        pytest.param({"name": "b", "dim": 8, "settings": {"dim": 8}}, "give it once", id="twice"),
        pytest.param(
            {"name": "b", "preset": "mini", "claims": ["epochs"]},
            "claims to differ from 'parent' in epochs, and differs in blocks, lora_alpha",
            id="claims",
        ),
        pytest.param(
            {"name": "b", "settings": {"blocks": 1, "lora_rank": 4}},
            "claims to differ from 'parent' in blocks, lora_rank, and differs in blocks",
            id="one of two",
        ),
    ],
)
def test_an_arm_that_is_not_what_it_claims_is_refused(sweep, arm, message):
    with pytest.raises(MechlabError, match=message):
        arms_of(sweep(arms=[{"name": "parent"}, arm]))


def test_an_arm_may_differ_in_what_one_task_has_of_its_own(sweep):
    own = [{"name": "parent"}, {"name": "fine", "overrides": {"gear": {"image_size": 320, "dia_blocks": 1}}}]
    parent, fine = arms_of(sweep(arms=own))
    assert fine.differs == ("overrides",)
    assert (parent.request.overrides, fine.request.overrides["gear"]["image_size"]) == ({}, 320)
    assert len(jobs(cells((parent, fine), seeds=1))) == 2


def test_an_arm_may_start_from_another_run(sweep):
    own = [{"name": "parent"}, {"name": "given", "base_from": "runs/other"}]
    parent, given = arms_of(sweep(arms=own))
    assert given.differs == ("base_from",)
    assert (parent.request.base_from, given.request.base_from) == (None, "runs/other")


def test_arms_that_only_score_otherwise_share_a_training(sweep):
    own = [
        {"name": "top 3"},
        {"name": "max", "settings": {"aggregation": "max"}, "claims": ["aggregation", "aggregation_value"]},
        {"name": "oracle", "settings": {"router": "oracle"}},
        {"name": "plain", "settings": {"subnet": "plain"}},
    ]
    found = cells(arms_of(sweep(arms=own)), seeds=2)
    assert len(found) == 8
    assert len(jobs(found)) == 4
    first = found[0].job
    assert [one["aggregation"] for one in first.evaluate if "aggregation" in one] == ["max"]
    assert {cell.arm: cell.evaluation for cell in found if cell.job.hash == first.hash} == {
        "top 3": None, "max": 0, "oracle": 1,
    }  # fmt: skip
    assert "aggregation" not in first.request["settings"]


def test_what_is_refused_passes_by_name_alone_and_the_training_carries_the_mark(sweep):
    deep = {"name": "deep", "settings": {"blocks": 16}}
    with pytest.raises(MechlabError, match=r"arm .deep. of sweep .small.*--allow deep-flow"):
        arms_of(sweep(arms=[{"name": "parent"}, deep]))
    found = arms_of(sweep(arms=[{"name": "parent"}, deep | {"allow": ["deep-flow"]}]))[1]
    assert (found.request.allow, found.differs) == (("deep-flow",), ("blocks",))
    with pytest.raises(MechlabError, match="nothing by that name to let pass"):
        arms_of(sweep(arms=[{"name": "parent", "allow": ["deep-flow"]}]))


def test_a_name_or_a_path_finds_a_file(tmp_path):
    (tmp_path / "own.yaml").write_text("name: own\n")
    assert found(str(tmp_path / "own.yaml")) == tmp_path / "own.yaml"
    assert found("ablation").name == "ablation.yaml"
    with pytest.raises(MechlabError, match="Did you mean 'ablation'"):
        found("ablatoin")
    with pytest.raises(MechlabError, match="no size of sweep 'ablation' named 'huge'"):
        sweep_of(read(found("ablation")), size="huge")
