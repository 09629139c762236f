"""What other recorders cost on the same models, beside mechlab's in the same run: total over plain training.

Each keeps what it can: all but mechlab, safetensors and zarr know outputs only, and TorchLens, nnsight and
captum keep them in memory, where a long training has no room for them. Rows have no target: they say where
others stand. A peer that is not installed is absent. Source: numerics notes, "Recording overhead".
"""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from benchmarks.measure import Measurement, absent, one_thread, ratio
from benchmarks.recorder import Session, interleaved, plain, ratios, recorded
from benchmarks.workloads import NAMES, Workload, workload

PAIRS, STEPS = 5, 5
Peer = Callable[[Workload, int], Session]


def measure() -> Iterator[Measurement]:
    """Yield, for each model, the total over plain steps of mechlab and of each peer."""
    with one_thread():
        for name in NAMES:
            yield from cost(name, pairs=PAIRS, steps=STEPS)


def cost(name: str, *, pairs: int, steps: int) -> Iterator[Measurement]:
    """Yield a row a recorder, all interleaved with plain steps; absent peers come last."""
    there = {peer: make for peer, (package, _, make) in PEERS.items() if find_spec(package) is not None}
    sessions = {"plain": plain(workload(name), steps=steps)}
    sessions |= {"mechlab": recorded(workload(name), steps=steps)}
    sessions |= {peer: make(workload(name), steps) for peer, make in there.items()}
    seconds = interleaved(sessions, rounds=pairs)
    kept = {"mechlab": "outputs and gradients in fp16 on disk"} | {peer: PEERS[peer][1] for peer in there}
    for peer, what in kept.items():
        against = f"plain steps; {what}"
        yield ratio(f"recorder-peers-{name}-{peer}", ratios(seconds, peer, "plain"), against=against,
                    target=None)  # fmt: skip
    for peer in PEERS.keys() - there.keys():
        yield absent(f"recorder-peers-{name}-{peer}", why=f"{PEERS[peer][0]} is not installed")


def torchlens(work: Workload, steps: int) -> Session:
    """Return a session in which TorchLens calls the model and keeps the outputs of the sites."""
    recorder = import_module("torchlens.fastlog").Recorder

    def session(_: Path) -> None:
        with recorder(work.model, save=partial(_is_output, work.sites)) as found:
            for _number in range(steps):
                work.update(found.log(work.inputs))

    return session


def _is_output(sites: tuple[str, ...], operation: Any) -> bool:  # noqa: ANN401 - TorchLens's record
    """Whether an operation is the last of a block: the sum of the MLP's, the second activation of timm's."""
    address, _, last = str(operation.address).rpartition(".")
    if last == "act2":
        return address in sites
    return operation.address in sites and operation.func_name == "__add__"


def nnsight(work: Workload, steps: int) -> Session:
    """Return a session in which nnsight traces the model and saves the outputs of the sites."""
    package = import_module("nnsight")
    wrapped = package.NNsight(work.model)

    def session(_: Path) -> None:
        kept = []
        for _number in range(steps):
            with wrapped.trace(work.inputs):
                outputs = package.save([wrapped.get(site).output for site in work.sites])
                output = package.save(wrapped.output)
            kept.append([value.detach() for value in outputs])
            work.update(output)

    return session


def captum(work: Workload, steps: int) -> Session:
    """Return a session with captum's activations beside the training: a second pass through the model."""
    modules = [work.model.get_submodule(site) for site in work.sites]
    watched = import_module("captum.attr").LayerActivation(work.model, modules)

    def session(_: Path) -> None:
        kept = []
        for _number in range(steps):
            kept.append([value.detach() for value in watched.attribute(work.inputs)])
            work.step()

    return session


def safetensors(work: Workload, steps: int) -> Session:
    """Return a session that writes one file a step, in single precision, and waits for the disk."""
    save = import_module("safetensors.torch").save_file

    def session(folder: Path) -> None:
        with _copies(work) as kept:
            for number in range(steps):
                work.step()
                path = folder / f"{number}.safetensors"
                save(kept, path)
                _sync(path)

    return session


def zarr(work: Workload, steps: int) -> Session:
    """Return a session that appends to one array a key, in single precision with zarr's own compression."""
    package = import_module("zarr")

    def session(folder: Path) -> None:
        group = package.open_group(folder / "zarr", mode="w")
        with _copies(work) as kept:
            for number in range(steps):
                work.step()
                for name, values in kept.items():
                    if number == 0:
                        shape = (steps, *values.shape)
                        group.create_array(name, shape=shape, chunks=(1, *shape[1:]), dtype="float32")
                    group[name][number] = values.numpy()
        for path in folder.rglob("*"):
            if path.is_file():
                _sync(path)

    return session


@contextmanager
def _copies(work: Workload) -> Iterator[dict[str, Tensor]]:
    """Give the copies of outputs and gradients that hooks take of each step."""
    kept: dict[str, Tensor] = {}

    def seen(name: str, _module: nn.Module, _inputs: object, output: Tensor) -> None:
        kept[f"output.{name}"] = output.detach().clone()

    def left(name: str, parameter: nn.Parameter) -> None:
        assert parameter.grad is not None
        kept[f"gradient.{name}"] = parameter.grad.detach().clone()

    model = work.model
    handles = [model.get_submodule(site).register_forward_hook(partial(seen, site)) for site in work.sites]
    handles += [parameter.register_post_accumulate_grad_hook(partial(left, name))
                for name, parameter in model.named_parameters()]  # fmt: skip
    try:
        yield kept
    finally:
        for handle in handles:
            handle.remove()


def _sync(path: Path) -> None:
    with path.open("rb") as stream:
        os.fsync(stream.fileno())


# Name -> package, what it keeps, session.
PEERS: dict[str, tuple[str, str, Peer]] = {
    "torchlens": ("torchlens", "outputs in fp32 in memory", torchlens),
    "nnsight": ("nnsight", "outputs in fp32 in memory", nnsight),
    "captum": ("captum", "outputs in fp32 in memory", captum),
    "safetensors": ("safetensors", "outputs and gradients in fp32, a file a step", safetensors),
    "zarr": ("zarr", "outputs and gradients in fp32, zstd", zarr),
}
