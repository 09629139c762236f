import numpy as np
import pytest

from mechlab.errors import MechlabError
from mechlab.recording import Writer
from mechlab.recording import open as open_recording
from mechlab.specs import Item
from mechlab.study.replicates import (
    Pick,
    chosen_sites,
    image_rows,
    one_key,
    replicate_means,
    task_names,
    trained_once,
    training,
)

TRAIN = {"tasks": [["gear"], ["weave", "board"]], "seed": 3}


def item(index, class_name, label=0):
    return Item(
        sha256=f"{index:064x}",
        class_name=class_name,
        split="test",
        label=label,
        defect="good",
        image=str(index),
    )


ITEMS = [item(0, "gear"), item(1, "weave", 1), item(2, "board"), item(3, "gear", 1)]


@pytest.fixture
def recorded(tmp_path):
    opened = []

    def write(coordinates, *, train=TRAIN, key="score/image"):
        arrays = {name: np.asarray(values) for name, values in coordinates.items()}
        rows = len(next(iter(arrays.values())))
        facts = {"train": train} if train else {}
        with Writer.create(
            tmp_path / "run", attributes={"run_id": "r", "spec": {}, "provenance": {}} | facts
        ) as writer:
            writer.items(ITEMS)
            writer.append(key, np.arange(rows) * 1.0, axes=("item",), coordinates=arrays, unit="nat")
        opened.append(open_recording(tmp_path / "run"))
        return opened[-1]

    yield write
    for recording in opened:
        recording.close()


def rows_of(recording, **pick):
    items, (rows,) = image_rows(recording, [Pick(key="score/image", **pick)])
    return dict(zip(items.tolist(), rows.tolist(), strict=True))


def test_rows_come_in_the_order_of_the_item_table(recorded):
    assert rows_of(recorded({"item": [2, 0, 3, 1]})) == {0: 1, 1: 3, 2: 0, 3: 2}


def test_of_several_stages_the_last_counts(recorded):
    assert rows_of(recorded({"item": [0, 1, 0, 1], "stage": [0, 0, 1, 1]})) == {0: 2, 1: 3}


def test_an_image_is_read_through_the_adapter_of_its_own_task(recorded):
    recording = recorded({"item": [0, 0, 1, 1, 2, 2], "adapter": [0, 1, 0, 1, 0, 1]})
    assert rows_of(recording) == {0: 0, 1: 3, 2: 5}
    assert rows_of(recording, adapter=0) == {0: 0, 1: 2, 2: 4}


def test_a_foreign_model_has_no_own_adapters(recorded):
    recording = recorded({"item": [0, 1], "adapter": [5, 6]}, train=None)
    assert rows_of(recording) == {0: 0, 1: 1}
    assert task_names(recording)["board"] == "board"


def test_a_loss_is_chosen_by_name(recorded):
    recording = recorded({"item": [0, 0], "loss": ["mean", "tail:0.7:0.02"]})
    assert rows_of(recording, loss="tail:0.7:0.02") == {0: 1}
    with pytest.raises(
        MechlabError, match=r"no loss of 'score/image' in recording 'run' named 'tail:0.7:0.2'.*Did you"
    ):
        rows_of(recording, loss="tail:0.7:0.2")


def test_defective_images_can_be_left_out(recorded):
    recording = recorded({"item": [0, 1, 2, 3]})
    assert image_rows(recording, [Pick(key="score/image")], normal_only=True)[0].tolist() == [0, 2]


def test_only_images_that_every_pick_holds_are_kept(recorded):
    recording = recorded({"item": [0, 1, 2, 1], "loss": ["mean", "mean", "tail:1:0.5", "tail:1:0.5"]})
    picks = [Pick(key="score/image", loss=loss) for loss in ("mean", "tail:1:0.5")]
    items, (first, second) = image_rows(recording, picks)
    assert (items.tolist(), first.tolist(), second.tolist()) == ([1], [1], [3])


def test_an_image_twice_is_refused(recorded):
    with pytest.raises(MechlabError, match="holds an image more than once; record it from one checkpoint"):
        rows_of(recorded({"item": [0, 0]}))


def test_no_images_are_refused(recorded):
    recording = recorded({"item": [1, 3]})
    with pytest.raises(MechlabError, match="holds no normal images with 'score/image'"):
        image_rows(recording, [Pick(key="score/image")], normal_only=True)


def test_a_quantity_without_images_is_refused(recorded):
    with pytest.raises(MechlabError, match="'score/image' of recording 'run' names no images"):
        rows_of(recorded({"step": [0, 1]}))


def test_a_recording_says_how_its_model_was_trained(recorded):
    assert training(recorded({"item": [0]}))["seed"] == 3


def test_a_foreign_model_was_not_trained_here(recorded):
    with pytest.raises(MechlabError, match="does not say how its model was trained"):
        training(recorded({"item": [0]}, train=None))


def test_classes_of_one_task_share_its_name(recorded):
    assert task_names(recorded({"item": [0]})) == {
        "gear": "gear",
        "weave": "weave+board",
        "board": "weave+board",
    }


def test_a_pattern_chooses_a_key_where_it_matches_one(recorded):
    recording = recorded({"item": [0]}, key="latent/model")
    defaults = {"latent": "latent/latent", "blocks": "latent/flow.*"}
    for text in ("latent/model", "latent/*", "*"):
        assert chosen_sites(defaults, {"latent": text}, recording=recording)["latent"] == "latent/model"
    kept = chosen_sites(defaults, {"blocks": "latent/*"}, recording=recording, several=("blocks",))
    assert kept == defaults | {"blocks": "latent/*"}
    with pytest.raises(
        MechlabError, match=r"no key of recording 'run' matches 'score/\*'; it holds latent/model"
    ):
        chosen_sites(defaults, {"latent": "score/*"}, recording=recording)


def test_a_pattern_of_several_keys_is_refused_with_their_names(tmp_path):
    with Writer.create(tmp_path / "run", attributes={"run_id": "r"}) as writer:
        for number in range(8):
            writer.append(f"latent/{number}", np.ones(1), axes=("item",), coordinates={}, unit="1")
    with (
        open_recording(tmp_path / "run") as recording,
        pytest.raises(MechlabError, match=r"matches 8 keys of recording 'run' \(latent/0, .* and 2 more\)"),
    ):
        one_key(recording, "latent/*")


def test_items_without_a_table_are_refused(tmp_path):
    with Writer.create(tmp_path / "run", attributes={"run_id": "r"}) as writer:
        coordinates = {"item": np.array([0, 4])}
        writer.append("score/image", np.ones(2), axes=("item",), coordinates=coordinates, unit="1")
    with (
        open_recording(tmp_path / "run") as recording,
        pytest.raises(MechlabError, match=r"names item 4 of a table of 0; say which images they are"),
    ):
        rows_of(recording)


def test_a_foreign_recording_is_a_training_of_its_own(recorded):
    assert trained_once(recorded({"item": [0]}, train=None)) == "r"


def test_a_training_is_told_by_its_seed(recorded):
    assert trained_once(recorded({"item": [0]})) == 3


def test_rows_of_one_name_are_one_replicate():
    means = replicate_means(["a", "b", "a", "c", "b"], [1.0, 5.0, 3.0, None, 0.0])
    np.testing.assert_array_equal(means, [2.0, 2.5])
    assert len(replicate_means([], [])) == 0


def test_a_site_can_be_chosen_for_a_role():
    defaults = {"latent": "latent/latent", "score": "score/image"}
    assert chosen_sites(defaults, {"latent": "latent/flow.1"}) == defaults | {"latent": "latent/flow.1"}
    assert chosen_sites(defaults, None) == defaults
    with pytest.raises(MechlabError, match=r"no role of a site named 'latant'. Did you mean 'latent'"):
        chosen_sites(defaults, {"latant": "x"})
