"""How many images the published data sets have, as far as their own publications say it.

Sources: Bergmann et al., IJCV 2021, table 1 (MVTec AD); the table "Data Statistics" of the repository of Zou
et al., ECCV 2022 (VisA: normal and anomalous images; how the normal ones are split is what `1cls.csv` says);
Carvalho et al., Zenodo 2024 (AutoVI). Of MPDD (Jezek et al., ICUMT 2021) only the numbers over all classes
were found, so classes are not compared.
"""

from collections.abc import Mapping

Counts = Mapping[str, int]  # kind -> images
TRAIN, TEST_NORMAL, DEFECTIVE, NORMAL = "train", "test normal", "test defective", "normal"


def kinds(train: int, normal: int, defective: int) -> dict[str, int]:
    """Return the number of images of each kind from those of the splits."""
    return {TRAIN: train, TEST_NORMAL: normal, DEFECTIVE: defective, NORMAL: train + normal}


_MVTEC = {
    "bottle": (209, 20, 63), "cable": (224, 58, 92), "capsule": (219, 23, 109), "carpet": (280, 28, 89),
    "grid": (264, 21, 57), "hazelnut": (391, 40, 70), "leather": (245, 32, 92), "metal_nut": (220, 22, 93),
    "pill": (267, 26, 141), "screw": (320, 41, 119), "tile": (230, 33, 84), "toothbrush": (60, 12, 30),
    "transistor": (213, 60, 40), "wood": (247, 19, 60), "zipper": (240, 32, 119),
}  # fmt: skip
_VISA = {
    "candle": 1000, "capsules": 602, "cashew": 500, "chewinggum": 503, "fryum": 500, "macaroni1": 1000,
    "macaroni2": 1000, "pcb1": 1004, "pcb2": 1001, "pcb3": 1006, "pcb4": 1005, "pipe_fryum": 500,
}  # fmt: skip
_AUTOVI = {
    "engine_wiring": (285, 285, 322), "pipe_clip": (195, 195, 142), "pipe_staple": (191, 188, 117),
    "tank_screw": (318, 318, 95), "underbody_pipes": (161, 161, 184), "underbody_screw": (373, 374, 18),
}  # fmt: skip

CLASSES: dict[str, dict[str, Counts]] = {
    "mvtec": {name: kinds(*numbers) for name, numbers in _MVTEC.items()},
    "visa": {name: {NORMAL: normal, DEFECTIVE: 100} for name, normal in _VISA.items()},
    "autovi": {name: kinds(*numbers) for name, numbers in _AUTOVI.items()},
}
TOTALS: dict[str, Counts] = {"mpdd": kinds(888, 176, 282)}
