"""The detectors of CAN logs: three systems, each with a torch-free catalog of its own."""

CATALOGS = (
    "reproductions.can_ids.vgae_catalog",
    "reproductions.can_ids.gat_catalog",
    "reproductions.can_ids.fusion_catalog",
)
