"""From a question to a verdict: plan → missing runs → train → record → evidence → judge.

The plan is written and hashed before the first run; torch is reached by name, so that judging
recordings that exist needs none. Source: design notes, "Study".
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

import mechlab
from mechlab import fingerprint, systems
from mechlab.errors import MechlabError
from mechlab.files import canonical_json, read_json, sha256_bytes, write_json
from mechlab.recording import reader
from mechlab.result import Evidence, Result
from mechlab.runs.folder import RunFolder, find
from mechlab.runs.request import TrainRequest
from mechlab.study.plan import Study, document_of
from mechlab.sweep import local
from mechlab.sweep.ledger import Job

Report = Callable[[str], None]


def silent(_: str) -> None:
    """Report nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where a study trains and writes; nothing here can move a number."""

    out: Path = Path("runs")
    cache: Path = Path("cache")
    studies: Path = Path("studies")
    root: Path | None = None  # of the data; what is in it counts, where it stands does not
    processes: int = 2
    device: str = "auto"


def answer(
    probe: str,
    *,
    seeds: int | None = None,
    place: Place | None = None,
    report: Report = silent,
    sites: Mapping[str, str] | None = None,
) -> Result:
    """Answer a probe's question from its own plan: train and record what is missing, then judge."""
    module = systems.probe(probe)
    study = planned(module, seeds=seeds)
    return answer_study(module, study, place=place or Place(), report=report, sites=sites)


def planned(module: ModuleType, *, seeds: int | None = None) -> Study:
    """Return a probe's study, with another number of seeds where one is given."""
    study: Study = module.plan()
    if seeds is None:
        return study
    if seeds < 1:
        raise MechlabError(f"{seeds} seeds were asked for; give at least 1.")
    return replace(study, seeds=seeds, n=seeds if study.replication == "seed" else study.n)


def answer_study(
    module: ModuleType, study: Study, *, place: Place, report: Report, sites: Mapping[str, str] | None = None
) -> Result:
    """Answer one study; `studies/<name>-<hash>/` holds plan, ledger, evidence and result."""
    folder = place.studies / f"{study.name}-{study.hash}"
    commit_plan(study, folder)
    results = local.run(jobs(study, place=place), folder=folder, processes=place.processes, report=report)
    refuse_no_ops([Path(found["path"]) for found in results])
    recordings = [Path(path) for found in results for path in found["recordings"]]
    return judged(module, recordings, folder=folder, plan=study, report=report, sites=sites)


def commit_plan(study: Study, folder: Path) -> None:
    """Write plan.json before the first run; a plan that is there and differs is refused."""
    file = folder / "plan.json"
    document = {"plan": study.document(), "hash": study.hash}
    if file.exists() and read_json(file) != document:
        raise MechlabError(f"'{file}' holds another plan than the probe asks for now; move that study away.")
    if not file.exists():
        write_json(file, document)


def jobs(study: Study, *, place: Place) -> list[Job]:
    """Return one job for each arm and seed; it waits for the runs of its seed that it takes of other arms."""
    record = [document_of(recorded) for recorded in study.record]
    found: dict[tuple[str, int], Job] = {}
    for arm in study.arms:
        for seed in range(study.seeds):
            request = TrainRequest(
                system=arm.system or study.system,
                preset=arm.preset,
                data=study.data,
                root=place.root,
                tasks=study.tasks,
                backbone=study.backbone,
                seed=seed,
                settings=dict(arm.settings),
                device=place.device,
                out=place.out,
                cache=place.cache,
            )
            after = {key: found[name, seed].hash for key, name in arm.runs.items()}
            found[arm.name, seed] = Job(name=f"{arm.name}, seed {seed}", request=request.document(),
                                        record=record, after=after)  # fmt: skip
    return list(found.values())


def refuse_no_ops(paths: Sequence[Path]) -> None:
    """Refuse runs whose specs differ while their trajectories are equal."""
    known = []
    for path in dict.fromkeys(paths):
        run = RunFolder.open(path)
        if (run.path / "fingerprint.json").exists():
            stages = fingerprint.load(run.path / "fingerprint.json")
            known.append((run.name, run.spec(), fingerprint.trajectory(stages)))
    fingerprint.refuse_no_op(known)


def judged(
    module: ModuleType,
    recordings: Sequence[Path],
    *,
    folder: Path,
    plan: Study,
    report: Report = silent,
    sites: Mapping[str, str] | None = None,
) -> Result:
    """Measure recordings, judge the joint evidence, and leave evidence.json and result.json in `folder`."""
    evidence = measured(module, recordings, report=report, sites=sites)
    result: Result = module.judge(evidence)
    changed = tuple(
        f"{name}: planned {plan.thresholds.get(name)}, used {value}"
        for name, value in result.thresholds.items()
        if plan.thresholds.get(name) != value
    )
    result = replace(
        result, plan_hash=plan.hash, post_hoc=changed, provenance={"mechlab": mechlab.__version__}
    )
    evidence.save(folder / "evidence.json")
    result.save(folder / "result.json")
    return result


def measured(
    module: ModuleType, recordings: Sequence[Path], *, report: Report, sites: Mapping[str, str] | None
) -> Evidence:
    """Return the joint evidence of recordings.

    A probe whose replicate spans several of them, such as a teacher and its students, measures them together
    (`measure_together`), any other one by one.
    """
    named = {"sites": sites} if sites else {}
    together = getattr(module, "measure_together", None)
    parts: list[Evidence] = []
    with ExitStack() as opened:
        for path in recordings if together is None else ():
            report(f"  measuring {path.parent.parent.name}/{path.name}")
            with reader.open(path) as recording:
                parts.append(module.measure(recording, **named))
        if together is not None:
            report(f"  measuring {len(recordings)} recordings together")
            parts.append(together([opened.enter_context(reader.open(path)) for path in recordings], **named))
    return Evidence.joined(parts)


def probe_inputs(
    probe: str,
    inputs: Sequence[Path],
    *,
    place: Place,
    report: Report = silent,
    sites: Mapping[str, str] | None = None,
) -> Result:
    """Judge runs or recordings that exist; a run that lacks the recording gets one, and is never trained."""
    module = systems.probe(probe)
    study = planned(module)
    runs = [path for path in inputs if (path / "run.json").exists()]
    refuse_no_ops(runs)
    recordings = [found for path in inputs for found in recordings_of(path, study, report=report)]
    key = sha256_bytes(canonical_json([str(path) for path in recordings]).encode())[:12]
    folder = place.studies / f"{study.name}-{key}"
    write_json(folder / "plan.json", {"plan": study.document(), "hash": study.hash})
    return judged(module, recordings, folder=folder, plan=study, report=report, sites=sites)


def asked(
    probe: str,
    inputs: Sequence[str],
    *,
    train: bool,
    seeds: int | None,
    sites: Sequence[str],
    place: Place,
    report: Report,
) -> Result:
    """Answer the words of a command line: inputs that exist, or the probe's own plan with `train`."""
    roles: dict[str, str] = {}
    for text in sites:
        role, equals, key = text.partition("=")
        if not equals:
            raise MechlabError(
                f"'{text}' names no site; write --site role=key, e.g. --site latent=latent/flow.0."
            )
        roles[role] = key
    if inputs and train:
        raise MechlabError(
            "inputs and --train were both given; name what exists, or train the probe's own plan."
        )
    if train:
        return answer(probe, seeds=seeds, place=place, report=report, sites=roles or None)
    if seeds is not None:
        raise MechlabError("--seeds was given without --train; it counts the runs that the plan trains.")
    if place.root is not None:
        raise MechlabError(
            "--root was given without --train, and a run that exists knows the folder of its data; leave it "
            "out."
        )
    if not inputs:
        systems.probe(probe)
        raise MechlabError(f"probe '{probe}' was given no run or recording; name some, or add --train.")
    return probe_inputs(
        probe, [named(text, place.out) for text in inputs], place=place, report=report, sites=roles or None
    )


def named(text: str, out: Path) -> Path:
    """Return the path of a run or recording that is given by path, name or hash."""
    return Path(text) if Path(text).exists() else find(text, out).path


def preview(probe: str, *, seeds: int | None, place: Place) -> dict[str, Any]:
    """Return what a probe would run: its plan, the plan's hash, and the jobs."""
    study = planned(systems.probe(probe), seeds=seeds)
    return {
        "plan": study.document(),
        "hash": study.hash,
        "runs": [job.name for job in jobs(study, place=place)],
    }


def recordings_of(path: Path, study: Study, *, report: Report) -> list[Path]:
    """Return the recordings of a path: itself, or those of a run that the study needs."""
    if not path.exists():
        raise MechlabError(f"'{path}' does not exist; give a run, a recording, or --train.")
    if not (path / "run.json").exists():
        return [path]
    found = []
    for document in map(document_of, study.record):
        there = [one for one in RunFolder(path).recordings() if _made_by(one) == document]
        if not there:
            report(f"  recording what the probe needs of {path.name}")
            there = [
                Path(
                    import_module("mechlab.instrument.session").record_run(path, document, report=report)[
                        "recording"
                    ]
                )
            ]
        found.append(there[0])
    return found


def _made_by(path: Path) -> Any:  # noqa: ANN401 - a JSON value
    with reader.open(path) as recording:
        return recording.facts.get("request")
