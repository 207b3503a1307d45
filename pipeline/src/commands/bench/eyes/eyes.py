"""The other side of `prescreen bench eyes`: the same work with pydicom, OpenCV, numpy, SciPy, scikit-image and torchstain.

Started by the bench, one JSON object a line in and out. First comes what to work on:

    {"cine": FILE.dcm, "tiles": [FILE.png ...]}  ->  {"packages": {...}, "decoders": [...], "normalisers": [...]}

then questions. An answer has the processor seconds of this process and what was found; imports, reading of the tiles and
one run of everything are not counted:

    {"work": "decode_gate", "by": DECODER}  ->  {"seconds": S, "found": {...}}    cine: file to measures
    {"work": "gate_keyframes"}              ->                                    cine: decoded, masked frames to ED and ES
    {"work": "all", "by": DECODER}          ->                                    cine: file to ED and ES
    {"work": "macenko", "by": NORMALISER}   ->                                    all tiles: stains found, normalised

Frames are decoded once and shared, whole pictures are worked on at once, in float32 where nothing is lost by it.
"""

import json
import os
import sys
import time

for variable in ("OMP", "OPENBLAS", "MKL", "NUMBA"):
    os.environ[f"{variable}_NUM_THREADS"] = "1"

# Module to import, and the package that has it.
NEEDED = {
    "numpy": "numpy",
    "scipy": "scipy",
    "cv2": "opencv-python-headless>=4.11",
    "skimage": "scikit-image",
    "pydicom": "pydicom>=3",
    "PIL": "pillow",
    "torchstain": "torchstain",
}
missing = []
for module, package in NEEDED.items():
    try:
        __import__(module)
    except ImportError:
        missing.append(package)
if missing:
    sys.exit(f"bench eyes: {sys.executable} lacks {', '.join(missing)}; install them there (torchstain with --no-deps)")

import cv2
import numpy as np
import pydicom
from pydicom.encaps import generate_frames
from pydicom.pixels import get_decoder, iter_pixels
from scipy.ndimage import gaussian_filter1d
from scipy.signal import detrend, find_peaks
from skimage.morphology import h_maxima
from skimage.segmentation import watershed
from torchstain.numpy.normalizers.macenko import NumpyMacenkoNormalizer

cv2.setNumThreads(1)
REFLECT = cv2.BORDER_REFLECT_101
HEIGHT, WORK_HEIGHT, SMALL = 128, 256, 64
SAMPLES, VIEW_FRAMES, REACH = 8, 24, 6


# From bytes to masked frames.


def by_opencv(path):
    """OpenCV decodes the fragments itself; pydicom reads the header and finds them."""
    dataset = pydicom.dcmread(path)
    fragments = generate_frames(dataset.PixelData, number_of_frames=int(dataset.NumberOfFrames))
    return dataset, [cv2.imdecode(np.frombuffer(f, np.uint8), cv2.IMREAD_COLOR_RGB) for f in fragments]


def by_pydicom(plugin):
    def decode(path):
        dataset = pydicom.dcmread(path)
        return dataset, list(iter_pixels(dataset, decoding_plugin=plugin))

    return decode


def decoders(path):
    syntax = pydicom.dcmread(path, stop_before_pixels=True).file_meta.TransferSyntaxUID
    found = {f"pydicom with {plugin}": by_pydicom(plugin) for plugin in get_decoder(syntax).available_plugins}
    return found | {"OpenCV on pydicom's fragments": by_opencv}


def fan_of(brightest):
    """The convex hull of the largest lit part."""
    lit = cv2.morphologyEx((brightest > 10).astype(np.uint8), cv2.MORPH_CLOSE, np.ones((7, 7), np.uint8))
    count, labels, stats, _ = cv2.connectedComponentsWithStats(lit)
    if count < 2:
        raise ValueError("the cine shows no fan")
    largest = (labels == 1 + stats[1:, cv2.CC_STAT_AREA].argmax()).astype(np.uint8)
    fan = np.zeros_like(lit)
    cv2.fillConvexPoly(fan, cv2.convexHull(cv2.findNonZero(largest)), 1)
    return fan


def evenly(frames, count):
    return [frames[(2 * i + 1) * len(frames) // (2 * count)] for i in range(min(count, len(frames)))]


def masked(dataset, frames):
    """The frames, black outside the fan, with the fan's box."""
    region = dataset.SequenceOfUltrasoundRegions[0]
    box = np.s_[region.RegionLocationMinY0 : region.RegionLocationMaxY1 + 1, region.RegionLocationMinX0 : region.RegionLocationMaxX1 + 1]
    brightest = np.max([cv2.cvtColor(f, cv2.COLOR_RGB2GRAY) for f in evenly(frames, SAMPLES)], axis=0)
    mask = np.zeros_like(brightest)
    mask[box] = fan_of(brightest[box])
    left, top, width, height = cv2.boundingRect(mask)
    clip = {
        "frames": [cv2.bitwise_and(f, f, mask=mask) for f in frames],
        "box": np.s_[top : top + height, left : left + width],
        "fps": 1000 / float(dataset.FrameTime),
        "mm": 10 * float(region.PhysicalDeltaY),
    }
    return clip


# The gate.


def planes(clip):
    """Grey pictures of the fan's box, and the same 128 rows high."""
    greys = [cv2.cvtColor(frame[clip["box"]], cv2.COLOR_RGB2GRAY) for frame in clip["frames"]]
    rows, columns = greys[0].shape
    small = [cv2.resize(g, (round(columns * HEIGHT / rows), HEIGHT), interpolation=cv2.INTER_AREA) for g in greys]
    return greys, np.stack(small)


def reblur(image, region):
    """Crété's re-blur metric with a box of 9."""
    image = image.astype(np.float32)
    metrics = []
    for axis, size in ((1, (9, 1)), (0, (1, 9))):
        soft = cv2.blur(image, size, borderType=REFLECT)
        before, after = (np.abs(np.diff(picture, axis=axis)) for picture in (image, soft))
        inside = region[:, 1:] if axis == 1 else region[1:, :]
        metrics.append(1 - np.maximum(0, before - after)[inside].sum() / before[inside].sum())
    return max(metrics)


def exposure(image, region):
    levels = np.bincount(image[region], minlength=256)
    smooth = cv2.GaussianBlur(image.astype(np.float32), (21, 21), 2.5, borderType=REFLECT)
    smooth = np.rint(smooth[region]).astype(np.uint8)
    threshold, _ = cv2.threshold(smooth.reshape(1, -1), 0, 255, cv2.THRESH_BINARY | cv2.THRESH_OTSU)
    low, high = smooth[smooth <= threshold].mean(), smooth[smooth > threshold].mean()
    return levels[250:].sum() / levels.sum(), levels[:6].sum() / levels.sum(), low, high - low


def coloured(frame, region):
    red, green, blue = cv2.split(frame)
    spread = cv2.subtract(cv2.max(cv2.max(red, green), blue), cv2.min(cv2.min(red, green), blue))
    return np.mean(spread[region] > 30)


def vertex(before, here, after):
    bend = before - 2 * here + after
    return float(np.clip(0.5 * (before - after) / bend, -0.5, 0.5)) if bend < 0 else 0.0


def drift(small, fps, mm):
    """Half the way of the picture in mm, the heart's own beat smoothed away."""
    mean, inner, shifts = np.rint(small.mean(0)).astype(np.uint8), np.s_[REACH:-REACH, REACH:-REACH], []
    for picture in small:
        likeness = cv2.matchTemplate(mean, np.ascontiguousarray(picture[inner]), cv2.TM_CCOEFF_NORMED)
        y, x = np.unravel_index(likeness.argmax(), likeness.shape)
        dx = vertex(*likeness[y, x - 1 : x + 2]) if 0 < x < 2 * REACH else 0
        dy = vertex(*likeness[y - 1 : y + 2, x]) if 0 < y < 2 * REACH else 0
        shifts.append((x + dx, y + dy))
    slow = gaussian_filter1d(np.array(shifts), 0.5 * fps, axis=0)
    return float(np.hypot(*np.ptp(slow, axis=0)) / 2 * mm)


def occupancy(levels, threshold):
    return 1 / (1 + np.exp((levels - threshold) / np.float32(max(0.12 * threshold, 2))))


def otsu(smooth):
    levels = np.rint(smooth).astype(np.uint8).reshape(1, -1)
    return cv2.threshold(levels, 0, 255, cv2.THRESH_BINARY | cv2.THRESH_OTSU)[0]


def smoothed(thumbs):
    return np.stack([cv2.GaussianBlur(t, (0, 0), 1.2, borderType=REFLECT) for t in thumbs.astype(np.float32)])


def chambers(smooth, fan, threshold):
    """Labels of the pools of blood of a clip, with the depth and area of each as share of the fan."""
    blood = occupancy(smooth[:: max(1, len(smooth) // VIEW_FRAMES)], threshold).mean(0) > 0.5
    blood &= cv2.erode(fan, np.ones((5, 5), np.uint8)).astype(bool)
    blood = cv2.morphologyEx(blood.astype(np.uint8), cv2.MORPH_OPEN, np.ones((3, 3), np.uint8))
    depth = cv2.GaussianBlur(cv2.distanceTransform(blood, cv2.DIST_L2, cv2.DIST_MASK_PRECISE), (0, 0), 1)
    summits = h_maxima(depth, max(0.8, 0.12 * depth.max()))
    labels = watershed(-depth, cv2.connectedComponents(summits.astype(np.uint8))[1], mask=blood)
    areas = np.bincount(labels.ravel())
    rows = np.bincount(labels.ravel(), np.repeat(np.arange(labels.shape[0]), labels.shape[1]))
    top, height = cv2.boundingRect(fan)[1::2]
    pools = [
        (label, (rows[label] / area - top) / height, area / fan.sum())
        for label, area in enumerate(areas)
        if label and area >= 0.008 * fan.sum()
    ]
    return labels, pools


def gate(clip, greys, thumbs):
    fan = fan_of(thumbs.max(0))
    rows, columns = greys[0].shape
    size = (round(columns * WORK_HEIGHT / rows), WORK_HEIGHT)
    work = [cv2.resize(g, size, interpolation=cv2.INTER_AREA) for g in evenly(greys, SAMPLES)]
    region = cv2.erode(fan_of(np.max(work, axis=0)), np.ones((9, 9), np.uint8)).astype(bool)
    laplacians = [cv2.Laplacian(w, cv2.CV_64F, ksize=1, borderType=REFLECT)[region].var() for w in work]
    within = cv2.resize(fan, (columns, rows), interpolation=cv2.INTER_NEAREST).astype(bool)
    small = np.stack([cv2.resize(t, (SMALL, SMALL), interpolation=cv2.INTER_AREA) for t in thumbs])
    steady = np.stack([cv2.GaussianBlur(s, (0, 0), 1.5, borderType=REFLECT) for s in small.astype(np.float32)])
    saturated, black, low, contrast = np.median([exposure(w, region) for w in work], axis=0)
    smooth = smoothed(thumbs)
    inner = cv2.erode(fan, np.ones((5, 5), np.uint8)).astype(bool)
    threshold = otsu(smooth[:, inner])
    return {
        "fan": float(fan.mean()),
        "blur": float(np.median([reblur(w, region) for w in work])),
        "laplacian_variance": float(np.median(laplacians)),
        "saturated": saturated,
        "black": black,
        "low": low,
        "contrast": contrast,
        "colour": float(np.median([coloured(f[clip["box"]], within) for f in evenly(clip["frames"], SAMPLES)])),
        "deviation": float(np.percentile(steady.std(0), 95)),
        "duplicates": float(np.mean(cv2.absdiff(small[1:], small[:-1]).mean(axis=(1, 2)) < 0.25)),
        "drift": drift(small, clip["fps"], clip["mm"] * rows / SMALL),
        # Shared with the keyframes, so that nothing is worked out twice.
        "shared": (fan, inner, smooth, threshold, *chambers(smooth, fan, threshold)),
    }


# The keyframes.


def period(signal, fps):
    """Frames of a beat and how well it repeats: the unbiased autocorrelation's highest peak, the shortest of near equals."""
    n = len(signal)
    acf = np.correlate(signal, signal, "full")[n - 1 :] / (n - np.arange(n)) / np.mean(signal**2)
    first, last = int(np.ceil(0.30 * fps)), int(min(2.0 * fps, 0.75 * n))
    lags = [k for k in find_peaks(acf[: last + 2])[0] if first <= k <= last and acf[k] > 0]
    if not lags:
        return None, 0.0
    best = max(min(acf[k], 1.0) for k in lags)
    k = next(k for k in lags if min(acf[k], 1.0) >= 0.85 * best)
    return k + vertex(*acf[k - 1 : k + 2]), min(acf[k], 1.0)


def plateaus(x, length):
    """Middles of the plateaus of the maxima, to a fraction of a frame."""
    scale = np.percentile(x, 97) - np.percentile(x, 3)
    padded = np.concatenate([[x.min() - scale], x, [x.min() - scale]])
    peaks, _ = find_peaks(padded, distance=max(0.42 * length, 1), prominence=0.40 * scale)
    middles = []
    for peak in (p - 1 for p in peaks if 1 < p < len(x)):
        floor = x[peak] - 0.05 * scale
        left, right = np.flatnonzero(x[:peak] < floor), peak + 1 + np.flatnonzero(x[peak + 1 :] < floor)
        begin = left[-1] + (floor - x[left[-1]]) / (x[left[-1] + 1] - x[left[-1]]) if len(left) else 0.0
        end = right[0] - (floor - x[right[0]]) / (x[right[0] - 1] - x[right[0]]) if len(right) else len(x) - 1.0
        middles.append(float(begin + end) / 2)
    return middles


def keyframes(fps, shared):
    fan, inner, smooth, threshold, labels, pools = shared
    stack = gaussian_filter1d(smooth[:, inner], 0.018 * fps, axis=0)
    top, height = cv2.boundingRect(fan)[1::2]
    depth = (np.nonzero(inner)[0] - top) / height
    area = detrend(occupancy(stack[:, (depth >= 0.12) & (depth < 0.60)], threshold).mean(1))
    centred = stack - stack.mean(0)
    values, vectors = np.linalg.eigh((centred @ centred.T).astype(np.float64))
    total, best = values.clip(0).sum(), None
    for value, vector in zip(values[:-6:-1], vectors.T[:-6:-1]):
        signal = detrend(vector)
        likeness = np.corrcoef(signal, area)[0, 1]
        score = np.sqrt(max(value, 0) / total) * (0.35 * max(period(signal, fps)[1], 0) + 0.65 * abs(likeness))
        if best is None or score > best[0]:
            best = score, signal, likeness
    _, signal, likeness = best
    middle = (np.percentile(signal, 3) + np.percentile(signal, 97)) / 2
    vote = likeness + 1.5 * np.clip(np.mean(signal > middle) - 0.5, -0.3, 0.3)
    upper = [pool for pool in pools if pool[1] < 0.60]
    if upper:
        label = max(upper, key=lambda pool: pool[2])[0]
        around = cv2.dilate((labels == label).astype(np.uint8), np.ones((7, 7), np.uint8)).astype(bool)[inner]
        vote += 0.5 * np.corrcoef(signal, detrend(occupancy(stack[:, around], threshold).mean(1)))[0, 1]
    signal = signal * np.sign(vote)
    length, _ = period(signal, fps)
    if length is None:
        return {"ed": [], "es": []}
    x = gaussian_filter1d(signal, max(0.012 * fps, 0.3))
    return {"ed": plateaus(x, length), "es": plateaus(-x, length), "period": length}


def gate_keyframes(clip):
    measures = gate(clip, *planes(clip))
    return measures | keyframes(clip["fps"], measures["shared"])


# Stains.


def normalisers(tiles):
    """What there is: torchstain by numpy always, torchstain by torch and TIAToolbox where they are installed."""
    found = {"torchstain (numpy)": lambda tile: NumpyMacenkoNormalizer().normalize(tile, stains=False)[0]}
    try:
        import torch
        from torchstain.torch.normalizers.macenko import TorchMacenkoNormalizer
    except ImportError:
        pass
    else:
        torch.set_num_threads(1)

        def by_torch(tile):
            channels_first = torch.from_numpy(tile).permute(2, 0, 1)
            return TorchMacenkoNormalizer().normalize(channels_first, stains=False)[0].numpy()

        found["torchstain (torch)"] = by_torch
    try:
        from tiatoolbox.tools.stainnorm import MacenkoNormalizer
    except ImportError:
        pass
    else:
        to_first = MacenkoNormalizer()
        to_first.fit(tiles[0])
        found["TIAToolbox"] = to_first.transform
    return found


def main():
    job = json.loads(sys.stdin.readline())
    tiles = [cv2.cvtColor(cv2.imread(path), cv2.COLOR_BGR2RGB) for path in job["tiles"]]
    by, normalise = decoders(job["cine"]), normalisers(tiles)
    decoded = masked(*by_opencv(job["cine"]))

    def work(question):
        match question["work"]:
            case "decode_gate":
                clip = masked(*by[question["by"]](job["cine"]))
                return gate(clip, *planes(clip))
            case "gate_keyframes":
                return gate_keyframes(decoded)
            case "all":
                return gate_keyframes(masked(*by[question["by"]](job["cine"])))
            case "macenko":
                return {"tiles": len([normalise[question["by"]](tile) for tile in tiles])}
        raise ValueError(f"no work is called {question['work']}")

    work({"work": "gate_keyframes"})
    for name in by:
        work({"work": "decode_gate", "by": name})
    for function in normalise.values():
        function(tiles[0])
    packages = {"python": sys.version.split()[0], "pydicom": pydicom.__version__, "opencv": cv2.__version__, "numpy": np.__version__}
    print(json.dumps({"packages": packages, "decoders": list(by), "normalisers": list(normalise)}), flush=True)
    for line in sys.stdin:
        begun = time.process_time()
        found = work(json.loads(line))
        seconds = time.process_time() - begun
        found.pop("shared", None)
        print(json.dumps({"seconds": seconds, "found": found}, default=float), flush=True)


main()
