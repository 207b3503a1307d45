"""Writes golden.json: what OpenCV and numpy say of pictures that Rust draws by the same formulas.

    python -m venv v && v/bin/pip install numpy==2.4.6 opencv-python-headless==5.0.0.* && v/bin/python make_golden.py

`src/golden.rs` compares: integers exactly, variances to 1e-9 relative, the rest to the tolerance written there.
"""

import json
import pathlib

import cv2
import numpy as np

WIDTH, HEIGHT = 61, 47


def pictures():
    y, x = np.mgrid[0:HEIGHT, 0:WIDTH].astype(np.int64)
    return {
        "texture": (3 * x * x + 7 * x * y + 11 * y) % 256,
        "steps": np.where((x // 5 + y // 7) % 2 == 0, 40, 200),
        "ramp": (4 * x + y) % 256,
        "wave": 128 + ((x * 5) % 64 - 32) * ((y * 3) % 32 - 16) // 8,
    }


def disc():
    y, x = np.mgrid[0:HEIGHT, 0:WIDTH]
    return ((x - 30) ** 2 + (y - 23) ** 2 < 20 * 20).astype(np.uint8)


def laplacian_variance(gray, region):
    values = cv2.Laplacian(gray, cv2.CV_64F, ksize=1, borderType=cv2.BORDER_REFLECT_101)
    return float(values[region].var())


def reblur(gray, region):
    image = gray.astype(np.float64)
    metrics = []
    for axis, size in ((1, (9, 1)), (0, (1, 9))):
        soft = cv2.blur(image, size, borderType=cv2.BORDER_REFLECT_101)
        before = np.abs(np.diff(image, axis=axis))
        after = np.abs(np.diff(soft, axis=axis))
        inside = region[:, 1:] if axis == 1 else region[1:, :]
        lost = np.maximum(0, before - after)[inside].sum()
        metrics.append(1 - lost / before[inside].sum())
    return float(max(metrics))


def main():
    region = cv2.erode(disc(), np.ones((9, 9), np.uint8)).astype(bool)
    everywhere = np.ones((HEIGHT, WIDTH), bool)
    golden = {"opencv": cv2.__version__, "region_area": int(region.sum()), "pictures": {}}
    for name, values in pictures().items():
        gray = values.astype(np.uint8)
        threshold, _ = cv2.threshold(gray.reshape(1, -1), 0, 255, cv2.THRESH_BINARY | cv2.THRESH_OTSU)
        smooth = cv2.GaussianBlur(gray.astype(np.float64), (21, 21), 2.5, borderType=cv2.BORDER_REFLECT_101)
        golden["pictures"][name] = {
            "byte_sum": int(gray.astype(np.int64).sum()),
            "laplacian_variance": laplacian_variance(gray, everywhere),
            "laplacian_variance_region": laplacian_variance(gray, region),
            "reblur": reblur(gray, everywhere),
            "reblur_region": reblur(gray, region),
            "otsu": int(threshold),
            "gaussian_2_5_row_20": [round(float(v), 6) for v in smooth[20]],
            "area_19x13": cv2.resize(gray, (19, 13), interpolation=cv2.INTER_AREA).ravel().tolist(),
        }
    rgb = np.stack(list(pictures().values())[:3], axis=-1).astype(np.uint8)
    golden["luma"] = cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY).ravel().tolist()
    path = pathlib.Path(__file__).with_name("golden.json")
    path.write_text(json.dumps(golden, separators=(",", ":")) + "\n")


if __name__ == "__main__":
    main()
