"""The program of `writer_process.py` for a real training: `mechlab train --record`, killed and resumed."""

from writer_process import halt_at, say, serve

from mechlab.instrument import watching
from mechlab.recording import Writer
from mechlab.runs.request import TrainRequest
from mechlab.train import tasks
from mechlab.train.session import train

tasks.EVERY_SECONDS = 0.0  # a checkpoint after every epoch
Writer.resume.__func__.__kwdefaults__["flush_seconds"] = 0.1  # commits between the checkpoints as well


class Watch(watching.Watch):
    """Says what a checkpoint has committed."""

    step = -1

    def after(self, step) -> None:
        super().after(step)
        self.step = step.step

    def commit(self) -> int:
        position = super().commit()
        say("committed", self.step, position, self.writer.statistics.longest_uncommitted_seconds)
        return position


def run(order: dict) -> None:
    if order["stop"]:
        halt_at(order["stop"], count=order["count"])
    say("begun", 0)
    train(TrainRequest.read(order["request"]))
    say("closed", 0)


if __name__ == "__main__":
    watching.Watch = Watch
    serve(run)
