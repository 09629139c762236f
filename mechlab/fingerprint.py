"""What a training really was: declared parameters, observed movement, trajectory; and the no-op guard.

Twenty groups of byte-identical runs in the study behind this toolkit were ablations whose switch did
nothing. Source: design notes, "Fingerprint"; MoLE-Flow facts, "Integrity of the logs".
"""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from mechlab.errors import MechlabError
from mechlab.files import read_json, sha256_bytes, write_json
from mechlab.specs import TrainSpec


@dataclass(frozen=True, slots=True, kw_only=True)
class Declared:
    """One parameter as the stage declares it; a learning rate of None means that no optimiser holds it."""

    name: str
    shape: tuple[int, ...]
    dtype: str
    scope: str
    learning_rate: float | None
    weight_decay: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class StageFingerprint:
    """One task's training: (a) declared, (b) observed, (c) trajectory."""

    task: int
    declared: tuple[Declared, ...]
    moved: dict[str, bool]  # parameter name -> whether its bytes changed
    losses: str  # SHA-256 of the per-step losses
    parameters: str  # SHA-256 of the final parameters

    def disagreements(self) -> tuple[str, ...]:
        """Return one sentence for each parameter that should have moved and did not, or the reverse."""
        found = []
        for parameter in self.declared:
            moved, held = self.moved[parameter.name], parameter.learning_rate is not None
            if held and not moved:
                found.append(f"'{parameter.name}' is trainable (scope {parameter.scope}) but never moved")
            if moved and not held:
                found.append(f"'{parameter.name}' is frozen but moved")
        return tuple(found)

    def check(self) -> None:
        """Raise where declared and observed disagree."""
        wrong = self.disagreements()
        if wrong:
            more = f" (and {len(wrong) - 3} more)" if len(wrong) > 3 else ""
            raise MechlabError(
                f"stage {self.task} is not what it declares: {'; '.join(wrong[:3])}{more}. "
                "Check the parts of the preset: a part that gets no gradient (after a step or two also "
                "what stands behind a part that starts at zero: give more epochs), or a freeze that does not "
                "hold."
            )


def trajectory(stages: tuple[StageFingerprint, ...]) -> str:
    """Return the hash of all losses and final parameters of a run."""
    return sha256_bytes("".join(stage.losses + stage.parameters for stage in stages).encode())


def save(stages: tuple[StageFingerprint, ...], path: Path) -> None:
    """Write the fingerprints of a run as JSON."""
    write_json(path, {"stages": [asdict(stage) for stage in stages], "trajectory": trajectory(stages)})


def load(path: Path) -> tuple[StageFingerprint, ...]:
    """Read the fingerprints of a run."""
    return tuple(stage_from(value) for value in read_json(path)["stages"])


def stage_from(value: dict[str, Any]) -> StageFingerprint:
    """Rebuild one stage's fingerprint from JSON."""
    declared = tuple(Declared(**(item | {"shape": tuple(item["shape"])})) for item in value["declared"])
    return StageFingerprint(**(value | {"declared": declared}))


def differing_keys(first: TrainSpec, second: TrainSpec) -> tuple[str, ...]:
    """Return the keys in which two TrainSpecs differ; parts are compared key by key, a mark may be absent."""
    one, two = first.model_dump(mode="json"), second.model_dump(mode="json")
    parts = {f"parts.{key}" for key in one["parts"].keys() | two["parts"].keys()
             if one["parts"].get(key) != two["parts"].get(key)}  # fmt: skip
    keys = (one.keys() | two.keys()) - {"parts"}
    return tuple(sorted({key for key in keys if one.get(key) != two.get(key)} | parts))


def refuse_no_op(runs: list[tuple[str, TrainSpec, str]]) -> None:
    """Refuse to compare runs whose TrainSpecs differ but whose trajectories (third entry) are equal."""
    for index, (name, spec, path) in enumerate(runs):
        for other, other_spec, other_path in runs[:index]:
            if spec.hash != other_spec.hash and path == other_path:
                keys = ", ".join(differing_keys(other_spec, spec))
                raise MechlabError(
                    f"runs '{other}' and '{name}' differ in {keys}, yet every loss and final parameter is "
                    "bit-identical: the switch did nothing, and comparing them would measure nothing. "
                    "Check that the key is used by the preset."
                )
