"""From patch scores to a pixel map: bilinear upsampling and Gaussian smoothing as small matrix products.

Both are linear and separable, so each is one matrix for rows and one for columns.
"""

import numpy as np
from jaxtyping import Float
from scipy.ndimage import gaussian_filter1d


def upsample(
    maps: Float[np.ndarray, "item row column"], size: int
) -> Float[np.ndarray, "item {size} {size}"]:
    """Return bilinear maps of `size` x `size` pixels, in the precision of `maps` (float16 becomes float32).

    Pixel centres are aligned and corners are not: output pixel i sees patch (i + 1/2) n / size - 1/2,
    clamped to the outermost patches. The numbers are those of
    `torch.nn.functional.interpolate(mode="bilinear", align_corners=False)`, without antialiasing.
    Raises ValueError for a size below 1 or an empty grid.
    """
    if size < 1 or 0 in maps.shape[1:]:
        raise ValueError(f"cannot resize maps of shape {maps.shape} to {size} x {size} pixels")
    return _apply(_bilinear(maps.shape[1], size), maps, _bilinear(maps.shape[2], size))


def resampled(
    maps: Float[np.ndarray, "item row column"], grid: tuple[int, int]
) -> Float[np.ndarray, "item {grid[0]} {grid[1]}"]:
    """Return the maps of an image on another grid of it, bilinear as in `upsample`; on their own as they are.

    A coarser grid takes what stands at its patches' centres: of twice as fine a grid, the mean of four.
    Raises ValueError for an empty grid.
    """
    if 0 in (*maps.shape[1:], *grid):
        raise ValueError(f"cannot resample maps of shape {maps.shape} to a grid of {grid}")
    if maps.shape[1:] == tuple(grid):
        return maps
    return _apply(_bilinear(maps.shape[1], grid[0]), maps, _bilinear(maps.shape[2], grid[1]))


def smooth(
    maps: Float[np.ndarray, "item height width"], sigma: int | float
) -> Float[np.ndarray, "item height width"]:
    """Return maps smoothed by a Gaussian of `sigma` pixels, cut at 4 sigma, borders mirrored.

    `sigma` 0 returns the maps as they are. Mirroring (d c b a | a b c d | d c b a) keeps each map's mean, and
    a constant map stays constant. Equal to `scipy.ndimage.gaussian_filter` per map.
    Raises ValueError for a negative or non-finite sigma.
    """
    if not 0 <= sigma < np.inf:
        raise ValueError(f"sigma {sigma} is no width in pixels; give 0 or more")
    if sigma == 0:
        return maps
    return _apply(_gaussian(maps.shape[1], sigma), maps, _gaussian(maps.shape[2], sigma))


def _apply(left: np.ndarray, maps: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Return left @ map @ right.T for each map, in single precision for single-precision maps."""
    kind = np.result_type(maps.dtype, np.float32)
    product: np.ndarray = left.astype(kind) @ maps.astype(kind, copy=False) @ right.astype(kind).T
    return product


def _bilinear(source: int, size: int) -> np.ndarray:
    """Return the matrix (size, source) of bilinear weights; each row sums to 1."""
    place = np.maximum((np.arange(size) + 0.5) * source / size - 0.5, 0.0)
    low = np.minimum(np.floor(place).astype(np.int64), source - 1)
    high = np.minimum(low + 1, source - 1)
    share = place - low
    matrix = np.zeros((size, source))
    pixels = np.arange(size)
    np.add.at(matrix, (pixels, low), 1.0 - share)
    np.add.at(matrix, (pixels, high), share)
    return matrix


def _gaussian(size: int, sigma: int | float) -> np.ndarray:
    """Return the matrix (size, size) of a mirrored Gaussian filter; rows and columns sum to 1."""
    matrix: np.ndarray = gaussian_filter1d(np.eye(size), sigma, axis=0, mode="reflect", truncate=4.0)
    return matrix
