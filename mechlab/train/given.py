"""The shared tensors of another run, put into a system that will not train them."""

from safetensors.torch import load_file
from torch import nn

from mechlab import systems
from mechlab.errors import MechlabError
from mechlab.runs.folder import RunFolder


def take_base(module: nn.Module, run: RunFolder, *, system: str) -> None:
    """Put what a run's tasks share, as its first task left it, into a module without tasks.

    Raises:
        MechlabError: tensors of other names or shapes, with the first one.
    """
    is_given = systems.catalog(system).IS_GIVEN
    stored = load_file(run.checkpoint(0) / "weights.safetensors")
    theirs = {name: value for name, value in stored.items() if is_given(name)}
    own = {name: value for name, value in module.state_dict().items() if is_given(name)}
    shapes = [{name: tuple(value.shape) for name, value in one.items()} for one in (own, theirs)]
    for name in sorted(shapes[0].keys() | shapes[1].keys()):
        if shapes[0].get(name) != shapes[1].get(name):
            raise MechlabError(
                f"run '{run.name}' does not fit: '{name}' is {shapes[1].get(name, 'absent')} there and "
                f"{shapes[0].get(name, 'absent')} here; give the same --preset, --dim and --set as it had."
            )
    module.load_state_dict(theirs, strict=False)
