"""Task streams by size and order: `3-3` and `hard-first` over the classes of a data set.

A stream `base-increment` gives the first task `base` classes and every further one `increment`; a last task
takes the classes that are left, though they may be fewer. Source: notes on MoLE-Flow, streams (M34), L5013.
"""

import re
from collections.abc import Mapping, Sequence

from mechlab.errors import MechlabError, unknown
from mechlab.runs.request import TrainRequest, subset_of, task_stream
from mechlab.systems import Dataset

DEFAULT = "default"  # the order of the class list


def tasks_of(request: TrainRequest, dataset: Dataset) -> tuple[tuple[str, ...], ...]:
    """Return the tasks of a request: those that it lists, or a stream over its classes.

    Raises:
        MechlabError: a stream or an order beside listed tasks, a stream that cannot be read or asks for more
            classes than there are, or an order that the data set does not have.
    """
    if request.stream is None and request.order is None:
        return task_stream(request.tasks, dataset)
    classes = subset_of(request.tasks, dataset)
    if classes is None:
        option = f"--stream {request.stream}" if request.stream is not None else f"--order {request.order}"
        raise MechlabError(
            f"{option} was given beside the tasks '{request.tasks}', which are a stream of their own; leave "
            "one of them out, or name a subset with --tasks."
        )
    return divided(ordered(classes, request.order or DEFAULT, dataset), request.stream or "1-1")


def ordered(classes: Sequence[str], order: str, dataset: Dataset) -> tuple[str, ...]:
    """Return the classes in an order of the data set that has a name."""
    orders: Mapping[str, Sequence[str]] = getattr(dataset, "orders", {})
    if order == DEFAULT:
        return tuple(classes)
    if order not in orders:
        raise unknown(f"order of {dataset.name}", order, [DEFAULT, *orders])
    ranked = list(orders[order])
    unranked = [name for name in classes if name not in ranked]
    assert not unranked, f"order {order} of {dataset.name} lacks {unranked}"
    return tuple(sorted(classes, key=ranked.index))


def divided(classes: Sequence[str], stream: str) -> tuple[tuple[str, ...], ...]:
    """Return the classes, in order, as the tasks of a stream `base-increment`.

    Raises:
        MechlabError: words of another form, a size of 0, or a first task of more classes than there are.
    """
    match = re.fullmatch(r"([1-9]\d*)-([1-9]\d*)", stream)
    if match is None:
        raise MechlabError(
            f"stream '{stream}' cannot be read; give the classes of the first task and those of each further "
            "one, e.g. 3-3 or 14-1."
        )
    base, increment = int(match[1]), int(match[2])
    if base > len(classes):
        raise MechlabError(
            f"stream '{stream}' begins with {base} classes, and there are {len(classes)}; give a smaller "
            "first task."
        )
    starts = range(base, len(classes), increment)
    return (tuple(classes[:base]), *(tuple(classes[start : start + increment]) for start in starts))
