"""A model from its settings, and the model of a run from its folder.

A model's first weights depend on the seed and its settings alone, so what is drawn beside it changes none.
"""

from dataclasses import dataclass
from typing import Any

import torch
from safetensors.torch import load_file
from torch import nn

from mechlab.errors import MechlabError
from mechlab.files import read_json
from mechlab.runs.folder import RunFolder
from mechlab.specs import validated
from reproductions.can_ids.config import GATConfig, TrainingConfig, VGAEConfig
from reproductions.can_ids.gat import GAT
from reproductions.can_ids.graph_set import GraphSet
from reproductions.can_ids.vgae import VGAE
from reproductions.can_ids.vocabulary import Vocabulary

CONFIGS: dict[str, type[TrainingConfig]] = {"vgae": VGAEConfig, "gat": GATConfig}
WHAT = "graphs.json"  # in a run's folder: what its model was trained on
MODEL = "model."  # what the names of a model's parameters begin with in a checkpoint


def configured(system: str, parts: dict[str, Any]) -> TrainingConfig:
    """Return a detector's settings; MechlabError for an unknown key or a value outside its range."""
    return validated(CONFIGS[system], parts, what=system)


def build(config: TrainingConfig, *, ids: int, seed: int) -> nn.Module:
    """Return an untrained model for a vocabulary of `ids`, drawn from the seed alone."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        if isinstance(config, VGAEConfig):
            return VGAE(
                ids=ids, hidden=config.hidden, heads=config.heads, embedding=config.embedding,
                dropout=config.dropout, decoder_heads=config.decoder_heads, conv=config.conv,
                sampling=config.sampling, checkpointing=config.checkpointing,
            )  # fmt: skip
        assert isinstance(config, GATConfig)
        return GAT(
            ids=ids, hidden=config.hidden, layers=config.layers, heads=config.heads,
            embedding=config.embedding, dropout=config.dropout, linear=config.linear, jumping=config.jumping,
            conv=config.conv, checkpointing=config.checkpointing,
        )  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Trained:
    """A finished run's model, in evaluation, and what it was trained on."""

    run: RunFolder
    model: nn.Module
    dataset: str
    vocabulary: Vocabulary
    cut: dict[str, Any]  # how its windows were cut: window and stride (messages), split

    @property
    def system(self) -> str:
        """Name of the model: vgae or gat."""
        return self.run.spec().system


def trained(run: RunFolder) -> Trained:
    """Return the model of a finished run; its teacher, if it had one, is not needed.

    Raises:
        MechlabError: a run of another system, one that is not finished, or without its checkpoint.
    """
    spec = run.spec()
    if spec.system not in CONFIGS:
        raise MechlabError(
            f"run '{run.path}' is of system {spec.system}, and a detector of CAN windows is needed; give a "
            "run "
            f"of {' or '.join(CONFIGS)}."
        )
    run.summary()  # refuses what is not finished
    seen = read_json(run.path / WHAT)
    vocabulary = Vocabulary(tuple(seen["ids"]))
    model = build(configured(spec.system, run.parts()), ids=vocabulary.size, seed=spec.seed)
    file = run.checkpoint(0) / "weights.safetensors"
    if not file.exists():
        raise MechlabError(f"run '{run.path}' has no checkpoint; train it again.")
    stored = {name: value for name, value in load_file(file).items() if name.startswith(MODEL)}
    model.load_state_dict({name.removeprefix(MODEL): value for name, value in stored.items()})
    return Trained(
        run=run, model=model.eval(), dataset=seen["dataset"], vocabulary=vocabulary, cut=seen["cut"]
    )


def what_of(graphs: GraphSet, *, dataset: str, split: str) -> dict[str, Any]:
    """Return what a run keeps of its windows: enough to know which others its model may be given."""
    cut = {"window": graphs.window, "stride": graphs.stride, "split": split}
    return {"dataset": dataset, "ids": list(graphs.vocabulary.known), "cut": cut}


def refuse_stranger(found: Trained, graphs: GraphSet, *, dataset: str, split: str, purpose: str) -> None:
    """Refuse a model that knows other logs, other ids or windows cut otherwise than `graphs`.

    With another split a teacher may have been trained on what its student is judged on.

    Raises:
        MechlabError: another data set, another cut, or another vocabulary.
    """
    vocabulary, cut = graphs.vocabulary, what_of(graphs, dataset=dataset, split=split)["cut"]
    if found.dataset != dataset:
        raise MechlabError(
            f"{purpose} '{found.run.name}' was trained on data set '{found.dataset}', and this is "
            f"'{dataset}'; "
            "name a run of the same data set, or train one."
        )
    for key, value in cut.items():
        if found.cut[key] != value:
            raise MechlabError(
                f"{purpose} '{found.run.name}' was trained with {key} {found.cut[key]}, and this is {value}; "
                f"name a run of the same {key}, or train one."
            )
    if found.vocabulary != vocabulary:
        raise MechlabError(
            f"{purpose} '{found.run.name}' knows {found.vocabulary.size - 1} ids (vocabulary "
            f"{found.vocabulary.digest}), and these logs have {vocabulary.size - 1} (vocabulary "
            f"{vocabulary.digest}), so an id means another thing to each; train the teacher on the same logs."
        )
