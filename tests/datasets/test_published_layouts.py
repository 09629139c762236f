"""VisA, MPDD and AutoVI in their published layouts: folders built here, since none of their images are."""

import json
import re
import shutil

import numpy as np
import pytest
from PIL import Image

from mechlab import systems
from mechlab.errors import MechlabError
from mechlab.train.pixels import Annotated
from reproductions.backbones.cache import _mask_identity
from reproductions.datasets.check import check

SIZE = (40, 30)  # width, height


def draw(path, value=None, *, box=None):
    """Write a picture, or a mask with one box of a value."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if value is None:
        pixels = np.random.default_rng(len(str(path))).integers(0, 255, (SIZE[1], SIZE[0], 3), dtype=np.uint8)
    else:
        pixels = np.zeros((SIZE[1], SIZE[0]), dtype=np.uint8)
        rows, columns = box or (slice(0, 10), slice(0, 20))
        pixels[rows, columns] = value
    Image.fromarray(pixels).save(path)


@pytest.fixture
def visa(tmp_path):
    rows = ["object,split,label,image,mask"]
    for name in ("candle", "pcb1"):
        places = [
            ("train", "normal", f"{name}/Data/Images/Normal/{number:04d}.JPG", "") for number in range(3)
        ]
        places += [("test", "normal", f"{name}/Data/Images/Normal/0009.JPG", "")]
        places += [
            ("test", "anomaly", f"{name}/Data/Images/Anomaly/000.JPG", f"{name}/Data/Masks/Anomaly/000.png")
        ]
        for split, label, image, mask in places:
            draw(tmp_path / image)
            if mask:
                draw(tmp_path / mask, 3)  # a mask's value names its defect
            rows.append(f"{name},{split},{label},{image},{mask}")
    (tmp_path / "split_csv").mkdir()
    (tmp_path / "split_csv" / "1cls.csv").write_text("\n".join(rows) + "\n")
    return tmp_path


@pytest.fixture
def autovi(tmp_path):
    place = tmp_path / "pipe_clip"
    for number in range(3):
        draw(place / "train" / "good" / f"{number:04d}.png")
    draw(place / "test" / "good" / "0000.png")
    draw(place / "test" / "operations" / "0007.png")
    masks = place / "ground_truth" / "operations" / "0007"
    draw(masks / "0000.png", 255, box=(slice(0, 10), slice(0, 20)))
    draw(masks / "0001.png", 254, box=(slice(5, 25), slice(10, 30)))
    entry = {"defect_name": "operations", "pixel_value": 255, "saturation_threshold": 0.25,
             "relative_saturation": True}  # fmt: skip
    other = entry | {"pixel_value": 254, "saturation_threshold": 120, "relative_saturation": False}
    (place / "defects_config.json").write_text(json.dumps([entry, other]))
    return tmp_path


def test_visa_follows_its_table(visa):
    dataset = systems.dataset("visa", visa)
    assert dataset.classes() == ("candle", "pcb1")
    items = dataset.items("candle")
    assert [(item.split, item.label, item.defect) for item in items] == [
        *[("train", 0, "good")] * 3, ("test", 0, "good"), ("test", 1, "anomaly"),
    ]  # fmt: skip
    assert dataset.image(items[0], 32).shape == (32, 32, 3)
    assert dataset.mask(items[-1], 40).sum() == pytest.approx(40 * 40 * 200 / 1200, rel=0.1)
    assert not dataset.mask(items[0], 32).any()


@pytest.mark.parametrize(
    ("find", "replace", "sentence"),
    [
        ("0001.JPG", "0099.JPG", "which is not below"),
        ("candle/Data/Masks/Anomaly/000.png", "", "no mask; add its path"),
        ("candle/Data/Masks/Anomaly/000.png", "none.png", "names the mask 'none.png'"),
    ],
    ids=["missing image", "no mask", "missing mask"],
)
def test_a_table_that_points_nowhere_is_told(visa, find, replace, sentence):
    table = visa / "split_csv" / "1cls.csv"
    table.write_text(table.read_text().replace(find, replace, 1))
    with pytest.raises(MechlabError, match=sentence):
        systems.dataset("visa", visa).items("candle")


@pytest.mark.parametrize(
    ("find", "replace", "sentence"),
    [
        ("candle,train", "kandle,train", r"line 2: object 'kandle' is none of candle"),
        ("train,normal", "train,fine", r"line 2: label 'fine' is none of normal, anomaly"),
        ("object,split", "thing,split", "no column 'object'"),
    ],
    ids=["class", "label", "column"],
)
def test_a_table_of_other_words_is_told(visa, find, replace, sentence):
    table = visa / "split_csv" / "1cls.csv"
    table.write_text(table.read_text().replace(find, replace, 1))
    with pytest.raises(MechlabError, match=sentence):
        systems.dataset("visa", visa)


def test_a_folder_without_the_table_is_told(tmp_path):
    with pytest.raises(MechlabError, match=r"1cls.csv' does not exist"):
        systems.dataset("visa", tmp_path)
    with pytest.raises(MechlabError, match="needs a folder"):
        systems.dataset("visa", None)


def test_mpdd_is_in_mvtecs_layout(pictures, tmp_path):
    shutil.copytree(pictures / "bolt", tmp_path / "metal_plate")
    shutil.copytree(pictures / "nut", tmp_path / "nut")
    dataset = systems.dataset("mpdd", tmp_path)
    assert dataset.classes() == ("metal_plate",)
    assert {item.split for item in dataset.items("metal_plate")} == {"train", "test"}
    assert dataset.subsets["all"][0] == "bracket_black"


def test_autovi_joins_the_masks_of_an_image_and_keeps_them_apart(autovi):
    dataset = systems.dataset("autovi", autovi)
    assert isinstance(dataset, Annotated) and dataset.classes() == ("pipe_clip",)
    items = dataset.items("pipe_clip")
    defective, normal = items[-1], items[-2]
    assert (defective.label, defective.defect, normal.label) == (1, "operations", 0)
    assert dataset.channels(normal, 40) == [] and not dataset.mask(normal, 40).any()
    first, second = dataset.channels(defective, 40)
    assert np.array_equal(dataset.mask(defective, 40), first.mask | second.mask)
    assert (first.mask & second.mask).any()
    assert first.saturation == int(0.25 * first.mask.sum())
    assert second.saturation == round(
        120 * 40 * 40 / (40 * 30)
    )  # pixels of the picture become those of 40 x 40


def test_the_identity_of_a_masks_folder_is_what_it_holds(autovi, tmp_path):
    item = systems.dataset("autovi", autovi).items("pipe_clip")[-1]
    before = _mask_identity(item)
    assert before != item.mask
    draw(autovi / "pipe_clip" / "ground_truth" / "operations" / "0007" / "0001.png", 253)
    assert _mask_identity(item) != before


def test_masks_that_do_not_fit_are_told(autovi):
    dataset = systems.dataset("autovi", autovi)
    item, masks = (
        dataset.items("pipe_clip")[-1],
        autovi / "pipe_clip" / "ground_truth" / "operations" / "0007",
    )
    draw(masks / "0001.png", 7)
    with pytest.raises(MechlabError, match=r"no defect of pixel value 7, .*knows 254, 255: add an entry"):
        dataset.channels(item, 40)
    draw(masks / "0001.png", 255, box=(slice(0, 1), slice(0, 1)))
    with pytest.raises(MechlabError, match="vanishes at 4 pixels; give a larger --image-size"):
        dataset.channels(item, 4)
    Image.fromarray(np.arange(1200, dtype=np.uint8).reshape(30, 40)).save(masks / "0001.png")
    with pytest.raises(MechlabError, match="one file shows one defect"):
        dataset.channels(item, 40)
    config = autovi / "pipe_clip" / "defects_config.json"
    config.write_text(json.dumps([{"pixel_value": 255}]))
    with pytest.raises(MechlabError, match="no 'defect_name'"):
        dataset.channels(item, 40)
    config.unlink()
    with pytest.raises(MechlabError, match="needs the saturation of each defect"):
        dataset.channels(item, 40)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda entries: {"defects": entries}, "is no list of defects; restore the file"),
        (lambda entries: [{k: v for k, v in one.items() if k != "defect_name"} for one in entries],
         "has no 'defect_name'; it needs defect_name, pixel_value"),
        (lambda entries: [*entries, entries[0] | {"defect_name": "bent"}],
         "gives pixel value 255 to 'operations' and to 'bent'; give each defect its own"),
        (lambda entries: [entries[0] | {"saturation_threshold": 1.5}, entries[1]],
         "defect 'operations' of .*: a relative saturation of 1.5 is none; give a share above 0"),
        (lambda entries: [entries[0], entries[1] | {"saturation_threshold": "many"}],
         "defect 'operations' of .* has saturation_threshold 'many'; give a number"),
        (lambda entries: entries[:1], "has no defect of pixel value 254, .* knows 255: add an entry"),
    ],
    ids=["no list", "no name", "one value twice", "share above 1", "no number", "no entry"],
)  # fmt: skip
def test_a_configuration_that_does_not_fit_is_told_before_any_metric(autovi, change, sentence):
    config = autovi / "pipe_clip" / "defects_config.json"
    assert check(autovi, "autovi")["problems"][0].startswith("class 'pipe_clip' has 3 images of train")
    config.write_text(json.dumps(change(json.loads(config.read_text()))))
    item = systems.dataset("autovi", autovi).items("pipe_clip")[-1]
    with pytest.raises(MechlabError, match=sentence):
        systems.dataset("autovi", autovi).channels(item, 40)
    assert re.search(sentence, check(autovi, "autovi")["problems"][0])


@pytest.mark.parametrize("change", ["absent", "size"])
def test_a_defective_image_needs_its_folder_of_masks(autovi, change):
    masks = autovi / "pipe_clip" / "ground_truth" / "operations" / "0007"
    if change == "absent":
        shutil.rmtree(masks)
    else:
        Image.new("L", (8, 8), 255).save(masks / "0001.png")
    with pytest.raises(MechlabError, match="has no mask; expected" if change == "absent" else "another size"):
        systems.dataset("autovi", autovi).items("pipe_clip")
