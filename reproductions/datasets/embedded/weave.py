"""A plain weave of slate-blue yarn: warp and weft pass over each other like a chessboard."""

import numpy as np
from jaxtyping import Bool, Float

from reproductions.datasets.embedded.canvas import SIZE
from reproductions.datasets.embedded.flaw import Flaw, Picture, spot, stained
from reproductions.datasets.embedded.texture import blob, grid, mixed, noise

DEFECTS = ("pulled_yarn", "missing_yarn", "float", "hole", "stain")
PITCH = 11.0  # pixels from yarn to yarn
TONE = np.array([0.86, 0.91, 1.04])
INK = (92.0, 62.0, 40.0)
MARGIN = 40  # pixels: a defect lies wholly inside the picture

Field = Float[np.ndarray, "height width"]
Region = Bool[np.ndarray, "height width"]


def paint(rng: np.random.Generator, flaw: Flaw) -> Picture:
    """Paint one piece of cloth in 0..255; one generator state gives one cloth, with or without a flaw."""
    across, along = _threads(rng)  # place along the weft and along the warp, pixels
    fibre = 9.0 * noise(rng, rows=5, columns=1.2), 9.0 * noise(rng, rows=1.2, columns=5)
    depth = 1.0 + 0.035 * noise(rng, rows=40)
    centre = spot(flaw.rng, _inside())
    if flaw.kind == "pulled_yarn":
        across, along = _pulled(across, along, centre)
    stretch = _stretch(across, along, centre)
    grey = depth * _yarns(across, along, fibre, floating=stretch & (flaw.kind == "float"))
    if flaw.kind == "missing_yarn":
        grey = np.where(stretch & ~_over(across, along), 34.0 + fibre[0], grey)
    picture = grey[..., None] * TONE
    if flaw.kind == "stain":
        return stained(picture, flaw.rng, where=_inside(), colour=INK, strength=0.5)
    if flaw.kind == "hole":
        return mixed(picture, (20.0, 20.0, 22.0), blob(flaw.rng, centre=centre, radius=(5.0, 9.0), soft=2.0))
    return picture


def _inside() -> Field:
    inside = np.zeros((SIZE, SIZE))
    inside[MARGIN:-MARGIN, MARGIN:-MARGIN] = 1.0
    return inside


def _threads(rng: np.random.Generator) -> tuple[Field, Field]:
    """Return the coordinates of the cloth under each pixel: a slight turn, a random start, gentle waves."""
    row, column = grid()
    turn = np.radians(rng.uniform(-2.0, 2.0))
    start = rng.uniform(0.0, 2 * PITCH, 2)
    across = column * np.cos(turn) - row * np.sin(turn) + start[0] + 0.8 * noise(rng, rows=45)
    along = column * np.sin(turn) + row * np.cos(turn) + start[1] + 0.8 * noise(rng, rows=45)
    return across, along


def _over(across: Field, along: Field) -> Region:
    """Return where the warp lies on top."""
    return (np.floor(across / PITCH) + np.floor(along / PITCH)) % 2 == 0


def _yarns(across: Field, along: Field, fibre: tuple[Field, Field], *, floating: Region) -> Field:
    """Return the grey value of the upper yarn at each pixel; where a weft yarn floats it does not dip."""
    x, y = across / PITCH % 1.0 - 0.5, along / PITCH % 1.0 - 0.5  # -0.5..0.5 across the yarn
    round_warp = np.sqrt(np.clip(1.0 - (x / 0.52) ** 2, 0.0, 1.0))
    round_weft = np.sqrt(np.clip(1.0 - (y / 0.52) ** 2, 0.0, 1.0))
    dip_warp = 1.0 - 0.5 * np.abs(y) ** 1.5
    dip_weft = np.where(floating, 1.08, 1.0 - 0.5 * np.abs(x) ** 1.5)
    return np.where(
        _over(across, along) & ~floating,
        28.0 + 150.0 * round_warp * dip_warp + fibre[0],
        28.0 + 138.0 * round_weft * dip_weft + fibre[1],
    )


def _pulled(across: Field, along: Field, centre: tuple[float, float]) -> tuple[Field, Field]:
    """Tug one weft yarn: it waves, and drags its neighbours sideways."""
    row, column = grid()
    down, right = row - centre[0], column - centre[1]
    near = np.exp(-(down**2) / (2 * 4.0**2) - right**2 / (2 * 18.0**2))
    return across + 6.0 * near, along + 6.5 * np.sin(right / 7.0) * near


def _stretch(across: Field, along: Field, centre: tuple[float, float]) -> Region:
    """Return the stretch of one weft yarn across the seven warps about a place."""
    row, column = int(centre[0]), int(centre[1])
    warp, weft = np.floor(across / PITCH), np.floor(along / PITCH)
    return (weft == weft[row, column]) & (np.abs(warp - warp[row, column]) <= 3)
