"""The bounded queue between the caller and the writer's thread.

Bounded by bytes, because rows differ in size by orders of magnitude. When it is full the policy decides:
`block` waits, `drop` gives the rows up and counts them, `error` raises.
"""

import logging
import threading
import time
from collections import deque
from dataclasses import dataclass
from typing import Literal

from mechlab.errors import MechlabError
from mechlab.recording.batch import Batch
from mechlab.specs import Item

Policy = Literal["block", "drop", "error"]
WAKE_BYTES = 4 * 1024**2  # that wait wake the thread at once
WAKE_SECONDS = 0.1  # after which it looks by itself


@dataclass(frozen=True, slots=True)
class Flush:
    """An order to commit; `done` is set when that has happened or can no longer happen."""

    done: threading.Event
    is_last: bool = False


Order = Batch | list[Item] | Flush


class Backlog:
    """Orders in their sequence; one thread puts, one takes."""

    def __init__(self, *, limit_bytes: int, policy: Policy, goes_on: bool = False) -> None:
        self._limit = limit_bytes
        self._policy = policy
        self._goes_on = goes_on  # after a fault: rows are dropped and counted, and nothing is raised
        self._orders: deque[Order] = deque()
        self._lock = threading.Lock()
        self._room = threading.Condition(self._lock)  # for the caller, when rows are written
        self._work = threading.Condition(self._lock)  # for the thread, when enough waits
        self._wakes_at: int | None = None  # while the thread sleeps: bytes that wake it
        self._bytes = 0
        self._fault: MechlabError | None = None
        self.blocked_seconds = 0.0
        self.dropped_rows = 0
        self.dropped_batches = 0

    def put(self, batch: Batch) -> bool:
        """Queue rows; False when they were dropped. Rows above the limit pass when nothing waits."""
        with self._lock:
            if self._is_full(batch) and self._policy == "block":
                start = time.monotonic()
                self._work.notify()
                self._room.wait_for(lambda: self._fault is not None or not self._is_full(batch))
                self.blocked_seconds += time.monotonic() - start
            self._raise()
            if self._fault is not None or self._is_full(batch):
                if self._policy == "error" and self._fault is None:
                    raise MechlabError(
                        f"the recorder's queue is full ({self._bytes} of {self._limit} bytes wait); "
                        "record less often, raise limit_bytes, or choose the policy 'block' or 'drop'."
                    )
                self.dropped_rows += len(batch.values.values)
                self.dropped_batches += 1
                return False
            self._orders.append(batch)
            self._bytes += batch.nbytes
            # Waking the thread for each small array makes the two fight for the interpreter.
            if self._wakes_at is not None and self._bytes >= self._wakes_at:
                self._work.notify()
            return True

    def order(self, order: list[Item] | Flush) -> None:
        """Queue an order that takes no room."""
        with self._lock:
            self._raise()
            if self._fault is None:
                self._orders.append(order)
                self._work.notify()
            elif isinstance(order, Flush):
                order.done.set()

    def take(self, *, timeout: float | None) -> Order | None:
        """Return the next order, or None after at most `timeout` seconds; after a fault the last one.

        Without a timeout the thread holds no rows and sleeps until there are some.
        """
        with self._lock:
            if not self._orders and self._fault is None:
                self._wakes_at = 1 if timeout is None else min(WAKE_BYTES, self._limit // 4)
                self._work.wait(None if timeout is None else min(timeout, WAKE_SECONDS))
                self._wakes_at = None
            if self._fault is not None:
                return Flush(threading.Event(), is_last=True)
            return self._orders.popleft() if self._orders else None

    @property
    def is_empty(self) -> bool:
        """Whether nothing waits."""
        return not self._orders

    @property
    def is_pressing(self) -> bool:
        """Whether the queue is filling up, so that the caller may soon have to wait or to drop rows."""
        return self._bytes > self._limit // 4

    def written(self, batch: Batch) -> None:
        """Give back the room of rows that the thread has taken over."""
        with self._lock:
            self._bytes -= batch.nbytes
            self._room.notify()

    def fail(self, fault: MechlabError) -> None:
        """Give everything up: whoever waits or comes later gets the fault, or goes on without recording."""
        with self._lock:
            if self._goes_on and self._fault is None:
                logging.getLogger(__name__).warning("%s The loop goes on without recording.", fault)
            self._fault = self._fault or fault
            for order in self._orders:
                if isinstance(order, Flush):
                    order.done.set()
            self._orders.clear()
            self._room.notify()
            self._work.notify()

    @property
    def fault(self) -> MechlabError | None:
        """What ended the recording, if something did."""
        return self._fault

    def check(self) -> None:
        """Raise the fault of the writer's thread, if there is one."""
        with self._lock:
            self._raise()

    def _is_full(self, batch: Batch) -> bool:
        return self._bytes > 0 and self._bytes + batch.nbytes > self._limit

    def _raise(self) -> None:
        if self._fault is not None and not self._goes_on:
            raise MechlabError(str(self._fault)) from self._fault
