"""What a run's name says about its settings: TopK3, LoRA64, TailW0.7, woDIA, lr3e-4.

The notes hold a run whose name says TopK3 while its key says 6 (004 L5945), so a name that contradicts its
settings is refused. Words that name no key, e.g. MVTec or WRN50, say nothing.
"""

import re
from collections.abc import Mapping
from typing import Any

# Words of the notes, in small letters and without underscores, and the keys that they stand for
WORDS = {
    "tailw": "tail_weight",
    "lora": "lora_rank",
    "rank": "lora_rank",
    "dia": "dia_blocks",
    "mole": "blocks",
    "ncl": "blocks",
    "c": "blocks",
    "coupling": "blocks",
    "scalek": "context_kernel",
    "spatialk": "mixer_kernel",
    "logdet": "log_det_weight",
    "lr": "learning_rate",
    "ep": "epochs",
    "bs": "batch_size",
}
WITHOUT = {
    "wotailloss": "tail_weight",
    "wodia": "dia_blocks",
    "wolora": "lora_rank",
    "wologdet": "log_det_weight",
}
_NUMBER = r"\d+(?:\.\d+)?(?:e-?\d+)?"
_SAID = re.compile(rf"([A-Za-z]+(?:_[A-Za-z]+)*)=?({_NUMBER})(?![A-Za-z0-9])")
_SAID_BEFORE = re.compile(rf"(?<![A-Za-z0-9.])({_NUMBER})(ep|epochs)(?![A-Za-z])")


def contradictions(name: str, values: Mapping[str, Any]) -> list[tuple[str, str, Any]]:
    """Return (key, what the name says, what it is) of each number or absence in a name that is not so."""
    by_word = {
        key.replace("_", ""): key for key, value in values.items() if not isinstance(value, str)
    } | WORDS
    said = [(word, number) for word, number in _SAID.findall(name)]
    said += [(word, number) for number, word in _SAID_BEFORE.findall(name)]
    keys = [(by_word.get(word.replace("_", "").lower()), number) for word, number in said]
    keys += [(key, "0") for word, key in WITHOUT.items() if word in re.sub(r"[_/]", "", name).lower()]
    return [
        (key, number, values[key])
        for key, number in keys
        if key in values and not isinstance(values[key], str) and float(number) != values[key]
    ]
