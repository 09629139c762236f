"""Pretrained weights from the Hugging Face hub: taken from its local cache, else downloaded once."""

import os
import socket
from pathlib import Path
from urllib.parse import urlsplit

from huggingface_hub import constants, hf_hub_download, try_to_load_from_cache
from huggingface_hub.errors import HfHubHTTPError

from mechlab.errors import MechlabError

_FILE = "model.safetensors"
_PROXIES = ("https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY")


def fetched(backbone: str, repository: str | None) -> Path:
    """Return the weight file of a hub repository; an unreachable hub is a MechlabError within seconds."""
    if repository is None:
        raise MechlabError(f"timm knows no hub weights for '{backbone}'; give --weights FILE.")
    cached = try_to_load_from_cache(repository, _FILE)
    if isinstance(cached, str):
        return Path(cached)
    try:
        if not any(os.environ.get(name) for name in _PROXIES):
            socket.getaddrinfo(
                urlsplit(constants.ENDPOINT).hostname, 443
            )  # the hub's client would retry for a minute
        return Path(hf_hub_download(repository, _FILE))
    except (OSError, HfHubHTTPError, ValueError) as fault:
        raise MechlabError(
            f"the weights of '{backbone}' could not be fetched from the hub ('{repository}': "
            f"{type(fault).__name__}); give --weights FILE, or set $MECHLAB_WEIGHTS to a folder "
            f"with {backbone}.safetensors."
        ) from fault
