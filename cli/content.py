"""What a figure is handed: a result that exists, the result of probing what was named, or a run."""

from collections.abc import Callable, Sequence
from pathlib import Path

from figures.page.content import RunContent
from mechlab.errors import MechlabError
from mechlab.result import Result

OF_TRAINING = {"log", "tasks", "loss_unit"}  # fields of a run that any training has, also one without images


def drawable(
    name: str, inputs: Sequence[str], *, out: Path, studies: Path, report: Callable[[str], None]
) -> Result | RunContent:
    """Return what figure `name` draws of its inputs."""
    from figures.page.reading import detector_content, is_of_windows, run_content
    from figures.render import figure
    from mechlab.runs.folder import RunFolder
    from mechlab.study.answer import Place, named, probe_inputs

    takes_run = figure(name).INPUT is RunContent
    paths = [named(text, out) for text in inputs]
    if not paths:
        raise MechlabError(
            f"figure '{name}' was given nothing to draw; name a {'run' if takes_run else 'result'}."
        )
    results = [path / "result.json" if path.is_dir() else path for path in paths]
    if not takes_run and results[0].suffix == ".json" and results[0].exists():
        if len(paths) > 1:
            raise MechlabError(f"figure '{name}' draws one result, and {len(paths)} were given; name one.")
        return Result.load(results[0])
    if takes_run:
        if len(paths) > 1:
            raise MechlabError(f"figure '{name}' draws one run, and {len(paths)} were given; name one.")
        run = RunFolder.open(paths[0])
        if set(figure(name).DRAWS) <= OF_TRAINING and is_of_windows(run):
            return detector_content(run).as_run
        return run_content(run)
    return probe_inputs(name, paths, place=Place(out=out, studies=studies), report=report)
