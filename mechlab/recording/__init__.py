"""Recordings: what a model did, written while it runs and read lazily afterwards (docs/recording.md).

This package is the only door to HDF5. It knows no model, no quantity and no probe.
"""

from mechlab.recording.pack import pack
from mechlab.recording.quantity import Quantity
from mechlab.recording.reader import Recording, open
from mechlab.recording.writer import Writer

__all__ = ["Quantity", "Recording", "Writer", "open", "pack"]
