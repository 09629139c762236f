"""How many images the published data sets have: normals to train on, normals and defective ones to test with.

Sources: Bergmann et al., IJCV 2021, table 1 (MVTec AD); Zou et al., ECCV 2022, table and `1cls.csv` (VisA);
Jezek et al., ICUMT 2021 (MPDD); Carvalho et al., Zenodo 2024 (AutoVI).
"""

Counts = tuple[int, int, int]  # train, test normal, test defective

MVTEC: dict[str, Counts] = {
    "bottle": (209, 20, 63), "cable": (224, 58, 92), "capsule": (219, 23, 109), "carpet": (280, 28, 89),
    "grid": (264, 21, 57), "hazelnut": (391, 40, 70), "leather": (245, 32, 92), "metal_nut": (220, 22, 93),
    "pill": (267, 26, 141), "screw": (320, 41, 119), "tile": (230, 33, 84), "toothbrush": (60, 12, 30),
    "transistor": (213, 60, 40), "wood": (247, 19, 60), "zipper": (240, 32, 119),
}  # fmt: skip
VISA: dict[str, Counts] = {
    "candle": (900, 100, 100), "capsules": (542, 60, 100), "cashew": (450, 50, 100),
    "chewinggum": (453, 50, 100), "fryum": (450, 50, 100), "macaroni1": (900, 100, 100),
    "macaroni2": (900, 100, 100), "pcb1": (904, 100, 100), "pcb2": (901, 100, 100),
    "pcb3": (905, 101, 100), "pcb4": (904, 101, 100), "pipe_fryum": (450, 50, 100),
}  # fmt: skip
MPDD: dict[str, Counts] = {
    "bracket_black": (289, 32, 47), "bracket_brown": (185, 26, 51), "bracket_white": (110, 30, 30),
    "connector": (128, 30, 14), "metal_plate": (54, 26, 71), "tubes": (122, 32, 69),
}  # fmt: skip
AUTOVI: dict[str, Counts] = {
    "engine_wiring": (285, 285, 322), "pipe_clip": (195, 195, 142), "pipe_staple": (191, 188, 117),
    "tank_screw": (318, 318, 95), "underbody_pipes": (161, 161, 184), "underbody_screw": (373, 374, 18),
}  # fmt: skip
PUBLISHED = {"mvtec": MVTEC, "visa": VISA, "mpdd": MPDD, "autovi": AUTOVI}
