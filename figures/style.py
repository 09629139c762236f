"""The house style: sizes, colours that the colour-blind can tell apart, fonts, and bytes that never differ.

Colours: Okabe & Ito 2008, "Color universal design". Figures are light, carry units on their axes, and are
made without pyplot, so that no figure outlives its function.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from math import log10
from types import MappingProxyType
from typing import Any, Literal

import matplotlib
from cycler import cycler
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

WIDTH = 6.4  # inches: one column of the report
COLOURS = MappingProxyType({
    "ink": "#1a1a1a",
    "normal": "#0072b2",
    "defective": "#d55e00",
    "null": "#6b6b6b",
    "threshold": "#a3237f",
    "supported": "#00705a",
    "refuted": "#b34700",
    "undecided": "#5c5c5c",
    "mask": "#56e0ff",
})  # fmt: skip
CYCLE = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#1a1a1a", "#b8a800")
_HOUSE: dict[Any, Any] = {
    "font.family": "DejaVu Sans",
    "font.size": 9.0,
    "axes.titlesize": 9.5,
    "axes.titlelocation": "left",
    "axes.labelsize": 9.0,
    "xtick.labelsize": 8.0,
    "ytick.labelsize": 8.0,
    "legend.fontsize": 8.0,
    "legend.frameon": False,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": COLOURS["ink"],
    "axes.grid": False,
    "lines.linewidth": 1.4,
    "lines.markersize": 4.5,
    "figure.facecolor": "white",
    "axes.facecolor": "white",
    "savefig.facecolor": "white",
    "image.interpolation": "nearest",
    "text.parse_math": False,  # a class may be called "$x$"
    "svg.fonttype": "path",  # the same look where DejaVu is absent
    "svg.hashsalt": "mechlab",
    "pdf.fonttype": 42,
}
_DATELESS = {
    "svg": {"Date": None, "Creator": "mechlab"},
    "pdf": {"CreationDate": None, "ModDate": None, "Creator": "mechlab", "Producer": None},
    "png": {"Software": None},
}
SUFFIXES = tuple(f".{kind}" for kind in _DATELESS)


@contextmanager
def house() -> Iterator[None]:
    """Draw and save inside this, from matplotlib's own defaults: the user's settings play no part."""
    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(_HOUSE)
        matplotlib.rcParams["axes.prop_cycle"] = cycler(color=CYCLE)
        yield


def canvas(size: tuple[float, float]) -> Axes:
    """Return the one Axes of a new figure; `size` is the drawing area in inches, labels come on top of it."""
    figure = Figure(figsize=size)
    return figure.add_axes((0.0, 0.0, 1.0, 1.0))


def panels(ax: Axes, *, rows: list[float], columns: int = 1, gaps: tuple[float, float]) -> list[Axes]:
    """Divide `ax` into panels in reading order; `rows` are heights, `gaps` (columns, rows) are in inches."""
    figure = ax.get_figure(root=True)
    assert figure is not None
    box = ax.get_position()
    width, height = box.width * figure.get_figwidth(), box.height * figure.get_figheight()
    across = (1.0 - (columns - 1) * gaps[0] / width) / columns
    free = 1.0 - (len(rows) - 1) * gaps[1] / height
    ax.set_axis_off()
    made, top = [], 1.0
    for share in (row / sum(rows) * free for row in rows):
        for column in range(columns):
            made.append(ax.inset_axes((column * (across + gaps[0] / width), top - share, across, share)))
        top -= share + gaps[1] / height
    return made


def logarithmic(ax: Axes, axis: Literal["x", "y"]) -> None:
    """Make an axis that was drawn on logarithmic, with plain numbers; what is not positive is not shown."""
    if axis == "x":
        ax.set_xscale("log", nonpositive="mask")
        low, high = ax.get_xlim()
    else:
        ax.set_yscale("log", nonpositive="mask")
        low, high = ax.get_ylim()
    of_axis = ax.xaxis if axis == "x" else ax.yaxis
    decades = log10(high / low) if 0 < low < high else 0.0
    of_axis.set_major_locator(LogLocator(subs=(1.0,) if decades > 2.5 else (1.0, 2.0, 5.0)))
    of_axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    of_axis.set_minor_formatter(NullFormatter())


def image(ax: Axes, *, kind: str, dpi: int = 160) -> bytes:
    """Return the figure of `ax` as svg, pdf or png; equal drawings give equal bytes."""
    figure = ax.get_figure(root=True)
    assert figure is not None
    stream = BytesIO()
    figure.savefig(
        stream, format=kind, dpi=dpi, bbox_inches="tight", pad_inches=0.08, metadata=_DATELESS[kind]
    )
    return stream.getvalue()
