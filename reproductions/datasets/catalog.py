"""The data sets that `--data` knows, as a torch-free list."""

from mechlab.systems import Entry

DATASETS: tuple[Entry, ...] = (
    Entry(
        name="embedded",
        id="D7",
        summary="gear, weave and board: rendered by program and seed, nothing to download",
        source="this repository",
        target="reproductions.datasets.embedded.dataset:open",
    ),
    Entry(
        name="mvtec",
        id="D1",
        summary="MVTec AD, 15 classes; give the folder of the classes with --root",
        source="Bergmann et al., CVPR 2019",
        target="reproductions.datasets.mvtec:open",
    ),
    Entry(
        name="folder",
        id="D6",
        summary="your own images in MVTec's layout, any class names; jpg, png or bmp, grey or colour",
        source="this repository",
        target="reproductions.datasets.folder:open",
    ),
)
