"""The reference recorder: a plain file that one thread appends fp16 bytes to. No names, no axes, no checks.

Source: numerics notes, "Recording overhead": "raw file fp16, thread".
"""

import os
import threading
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

LIMIT_BYTES = 256 * 1024**2


class RawFile:
    """Bytes go to a bounded queue and from there to one file."""

    def __init__(self, path: Path) -> None:
        """Open the file and start the thread."""
        self._stream = path.open("wb", buffering=0)
        self._queue: deque[np.ndarray | None] = deque()
        self._changed = threading.Condition()
        self._bytes = 0
        self._thread = threading.Thread(target=self._write)
        self._thread.start()

    def put(self, tensor: Tensor) -> None:
        """Cast to fp16 and queue."""
        array = tensor.detach().to(torch.float16).contiguous().numpy()
        with self._changed:
            self._changed.wait_for(lambda: self._bytes + array.nbytes <= LIMIT_BYTES)
            self._queue.append(array)
            self._bytes += array.nbytes
            self._changed.notify_all()

    def _write(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: bool(self._queue))
                array = self._queue.popleft()
            if array is None:
                return
            self._stream.write(array.data.cast("B"))
            with self._changed:
                self._bytes -= array.nbytes
                self._changed.notify_all()

    def close(self) -> None:
        """Wait for the thread; flush and fsync."""
        with self._changed:
            self._queue.append(None)
            self._changed.notify_all()
        self._thread.join()
        os.fsync(self._stream.fileno())
        self._stream.close()


@contextmanager
def raw_file(model: nn.Module, sites: tuple[str, ...], path: Path) -> Iterator[None]:
    """Write outputs of the sites and all gradients while the block runs."""
    raw = RawFile(path)

    def seen(_module: nn.Module, _inputs: Any, output: Tensor) -> None:  # noqa: ANN401 - torch's hook
        raw.put(output)

    def left(raw: RawFile, parameter: nn.Parameter) -> None:
        assert parameter.grad is not None
        raw.put(parameter.grad)

    handles = [model.get_submodule(site).register_forward_hook(seen) for site in sites]
    handles += [p.register_post_accumulate_grad_hook(partial(left, raw)) for p in model.parameters()]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
        raw.close()
