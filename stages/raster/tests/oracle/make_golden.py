"""Writes golden.json: what scipy and scikit-image say of a picture that Rust draws by the same formulas.

    python -m venv v && v/bin/pip install numpy scipy scikit-image && v/bin/python make_golden.py

`tests/golden.rs` compares, all numbers exactly. The pictures are whole numbers, so nothing depends on rounding.
"""

import json
import pathlib

import numpy as np
from scipy import ndimage
from skimage.morphology import h_maxima
from skimage.segmentation import watershed

WIDTH, HEIGHT = 73, 58
CROSS = ndimage.generate_binary_structure(2, 1)
# x, y, radius: two pairs that overlap, one alone, one cut by the border.
DISCS = [(15, 15, 11), (31, 18, 9), (52, 14, 8), (20, 42, 12), (38, 44, 8), (68, 50, 10)]


def pools():
    y, x = np.mgrid[0:HEIGHT, 0:WIDTH]
    return np.any([(x - a) ** 2 + (y - b) ** 2 < r * r for a, b, r in DISCS], axis=0)


def relief():
    y, x = np.mgrid[0:HEIGHT, 0:WIDTH].astype(np.int64)
    return ((x * 37 + y * 101) % 64) + 40 * ((x // 9 + y // 8) % 3) + (x * y) % 7


def main():
    inside = pools()
    squared = np.rint(ndimage.distance_transform_edt(inside) ** 2).astype(np.int64)
    # Distinct heights, so that nothing hangs on the order among equals: of equal places the first in reading order.
    heights = -(squared * 8192 + np.arange(squared.size).reshape(squared.shape)).astype(np.int32)
    markers = ndimage.label(h_maxima(squared, 20, footprint=CROSS) * inside, structure=CROSS)[0]
    golden = {
        "pools_area": int(inside.sum()),
        "squared_distances": squared.ravel().tolist(),
        "summits_of_distance": np.flatnonzero(h_maxima(squared, 20, footprint=CROSS) * inside).tolist(),
        "relief_sum": int(relief().sum()),
        "summits_of_relief": {
            str(h): np.flatnonzero(h_maxima(relief(), h, footprint=CROSS)).tolist() for h in (5, 40, 90)
        },
        "watershed": watershed(heights, markers, mask=inside).ravel().tolist(),
    }
    path = pathlib.Path(__file__).with_name("golden.json")
    path.write_text(json.dumps(golden, separators=(",", ":")) + "\n")


if __name__ == "__main__":
    main()
