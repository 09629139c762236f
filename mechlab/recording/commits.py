"""The thread that writes segments: it takes rows from the backlog and commits in time.

A fault ends the thread, removes what is not committed and is raised by the caller's next call.
"""

import threading
import time
from pathlib import Path

from mechlab.errors import MechlabError
from mechlab.recording.backlog import Backlog, Flush
from mechlab.recording.batch import Batch
from mechlab.recording.manifest import Committed, append_segment
from mechlab.recording.segment import Segment, writing

PAUSE_SECONDS = 5e-5  # in which the recorded loop, if it waits for the interpreter, gets it
PAUSE_EVERY = 2e-4  # seconds of work between two pauses: each costs the loop a change of threads
HELD_BYTES = 32 * 1024**2  # small rows gathered in memory before a commit comes early


class Commits:
    """Writes one rank's segments in a thread of its own, from `start` until a last `Flush`."""

    def __init__(
        self,
        backlog: Backlog,
        folder: Path,
        *,
        rank: int,
        run_id: str,
        number: int,
        position: int,
        flush_seconds: float,
    ) -> None:
        self.position = position  # committed segments that are alive
        self.segments = 0  # committed by this thread
        self.rows = 0  # in them
        self.longest_seconds = 0.0  # that a row waited for its commit
        self._backlog = backlog
        self._folder = folder
        self._rank = rank
        self._run_id = run_id
        self._number = number
        self._flush_seconds = flush_seconds
        self._slowest = 0.0  # seconds that a commit took
        self._segment: Segment | None = None
        self._oldest = self._began = 0.0  # monotonic seconds: the segment's first row, the segment
        self._paused = 0.0  # monotonic seconds: when the last pause ended
        self._flush: Flush | None = None
        self._thread = threading.Thread(target=self._run, name=f"mechlab-recording-{rank}", daemon=True)

    def start(self) -> None:
        """Begin to take orders."""
        self._thread.start()

    def join(self) -> None:
        """Wait for the thread's end."""
        self._thread.join()

    def _run(self) -> None:
        try:
            with writing(self._folder):
                while self._serve():
                    pass
        except BaseException as fault:
            self._give_up(fault)

    def _give_up(self, fault: BaseException) -> None:
        sentence = (
            fault if isinstance(fault, MechlabError) else MechlabError(f"the recorder stopped: {fault!r}.")
        )
        sentence.__cause__ = sentence.__cause__ or fault
        try:
            if self._segment is not None:
                self._segment.discard()
        finally:
            self._backlog.fail(sentence)
            if self._flush is not None:
                self._flush.done.set()

    def _serve(self) -> bool:
        """Carry out one order, or a commit that is due; False after the last."""
        wait = None if self._segment is None else self._oldest + self._due_seconds - time.monotonic()
        order = self._backlog.take(timeout=wait if wait is None else max(wait, 0.0))
        if isinstance(order, Flush):
            self._flush = order
            self._commit()
            order.done.set()
            self._flush = None
            return not order.is_last
        if isinstance(order, Batch):
            self._opened(order.born).add(order)
            self._backlog.written(order)
            self._pause()
        elif isinstance(order, list):
            self._opened(time.monotonic()).add_items(order)
        if self._segment is not None and (self._is_due() or self._segment.held > HELD_BYTES):
            self._commit()
        return True

    @property
    def _due_seconds(self) -> float:
        """Age of the oldest row at which a commit begins: late, because each costs the loop some of its time.

        A quarter of the time is kept for the queue, and as long as the slowest commit so far for the disk.
        """
        return max(self._flush_seconds / 2, self._flush_seconds * 3 / 4 - self._slowest)

    def _is_due(self) -> bool:
        """Whether the oldest row has waited long enough; after a delay the queue is taken in first.

        Otherwise rows that are late already would get a segment each, and be later still.
        """
        now = time.monotonic()
        is_late = now >= self._oldest + self._due_seconds
        return is_late and (self._backlog.is_empty or now >= self._began + self._due_seconds)

    def _pause(self) -> None:
        """Let the caller have the interpreter, unless it waits for this thread.

        A thread keeps the interpreter for 5 ms when another asks for it, so that a commit of a hundred keys
        would hold the recorded loop back for as long as it takes.
        """
        now = time.monotonic()
        if now - self._paused >= PAUSE_EVERY and self._flush is None and not self._backlog.is_pressing:
            time.sleep(PAUSE_SECONDS)
            self._paused = time.monotonic()

    def _opened(self, born: float) -> Segment:
        if self._segment is None:
            self._segment = Segment(self._folder, rank=self._rank, number=self._number, run_id=self._run_id)
            self._oldest, self._began = born, time.monotonic()
        return self._segment

    def _commit(self) -> None:
        if self._segment is None:
            return
        began = time.monotonic()
        contents, size, digest = self._segment.commit(pause=self._pause)
        self._segment = None
        self._slowest = max(self._slowest, time.monotonic() - began)
        self.rows += sum(contents.rows.values())
        self.longest_seconds = max(self.longest_seconds, time.monotonic() - self._oldest)
        line = Committed(
            rank=self._rank,
            number=self._number,
            rows=contents.rows,
            steps=contents.steps,
            items=contents.items,
            bytes=size,
            sha256=digest,
        )
        self._number += 1
        append_segment(self._folder, line)
        self.position += 1
        self.segments += 1
