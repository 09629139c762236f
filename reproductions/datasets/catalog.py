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
        name="visa",
        id="D2",
        summary="VisA, 12 classes; give the folder of split_csv/1cls.csv with --root",
        source="Zou et al., ECCV 2022",
        target="reproductions.datasets.visa:open",
    ),
    Entry(
        name="mpdd",
        id="D3",
        summary="MPDD, 6 classes of metal parts, in MVTec's layout",
        source="Jezek et al., ICUMT 2021",
        target="reproductions.datasets.mpdd:open",
    ),
    Entry(
        name="autovi",
        id="D4",
        summary="AutoVI, 6 objects; several masks an image, each with a saturation for AUC-sPRO",
        source="Carvalho et al., Zenodo 2024",
        target="reproductions.datasets.autovi:open",
    ),
    Entry(
        name="folder",
        id="D6",
        summary="your own images in MVTec's layout, any class names; jpg, png or bmp, grey or colour",
        source="this repository",
        target="reproductions.datasets.folder:open",
    ),
    Entry(
        name="can",
        id="D5",
        summary="logs of a car's CAN bus, for vgae, gat and fusion; give the folder of the logs with --root",
        source="arXiv:2308.04972; HCRL, Korea University; notes 003",
        target="reproductions.can_ids.folder:refuse_images",
    ),
)
