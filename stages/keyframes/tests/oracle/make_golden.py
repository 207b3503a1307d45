"""Writes golden.json: what numpy and scipy make of a small clip, step by step as the stage does.

    python -m venv v && v/bin/pip install numpy scipy && v/bin/python make_golden.py

The unit tests of `component.rs` and `beats.rs` compare: eigenvectors to 1e-6 up to their sign, the period and the
times of the events to 1e-3 of a frame. The input is stored with the answers, so nothing has to be drawn twice.
"""

import json
import pathlib

import numpy as np
from scipy.ndimage import gaussian_filter1d
from scipy.signal import detrend, find_peaks

FPS, FRAMES, PIXELS = 37.0, 80, 24


def filling(t):
    """How full the ventricle is: plateaus at both ends, early and late filling."""
    u = t % 1.0
    ease = lambda x: np.clip(x, 0, 1) ** 2 * (3 - 2 * np.clip(x, 0, 1))
    return 1 - ease((u - 0.06) / 0.3) + 0.75 * ease((u - 0.46) / 0.2) + 0.25 * ease((u - 0.86) / 0.12)


def clip(random):
    t = np.arange(FRAMES) / FPS / 0.83 + 0.31
    heart = np.outer(filling(t), random.normal(size=PIXELS) - 1.5)
    breath = np.outer(np.sin(2 * np.pi * t / 5.1 + 0.4), random.normal(size=PIXELS))
    noise = random.normal(scale=0.25, size=(FRAMES, PIXELS))
    return 60 + 20 * (heart + 1.6 * breath + noise), filling(t) + random.normal(scale=0.08, size=FRAMES)


def period(signal):
    """Highest peak of the unbiased autocorrelation, the shortest lag within 85 % of it, parabolic refinement."""
    n = len(signal)
    acf = np.array([np.dot(signal[: n - k], signal[k:]) / (n - k) for k in range(n)]) / np.mean(signal**2)
    first, last = int(np.ceil(0.30 * FPS)), int(np.floor(min(2.0 * FPS, 0.75 * n)))
    lags = [k for k in range(first, last + 1) if acf[k] > 0 and acf[k] >= acf[k - 1] and acf[k] > acf[k + 1]]
    if not lags:
        return None, 0.0
    best = max(min(acf[k], 1.0) for k in lags)
    k = next(k for k in lags if min(acf[k], 1.0) >= 0.85 * best)
    before, here, after = acf[k - 1 : k + 2]
    return k + 0.5 * (before - after) / (before - 2 * here + after), min(here, 1.0)


def plateau(x, peak, tolerance):
    floor = x[peak] - tolerance
    left = next((i for i in range(peak - 1, -1, -1) if x[i] < floor), None)
    right = next((i for i in range(peak + 1, len(x)) if x[i] < floor), None)
    begin = 0.0 if left is None else left + (floor - x[left]) / (x[left + 1] - x[left])
    end = len(x) - 1.0 if right is None else right - (floor - x[right]) / (x[right - 1] - x[right])
    return begin, end


def events(x, length):
    scale = np.percentile(x, 97) - np.percentile(x, 3)
    padded = np.concatenate([[x.min() - scale], x, [x.min() - scale]])
    peaks, _ = find_peaks(padded, distance=max(0.42 * length, 1), prominence=0.40 * scale)
    peaks = [p - 1 for p in peaks if 1 < p < len(x)]
    return [float(np.mean(plateau(x, p, 0.05 * scale))) for p in peaks]


def main():
    x, area = clip(np.random.default_rng(20))
    centred = x - x.mean(axis=0)
    gram = centred @ centred.T / PIXELS
    values, vectors = np.linalg.eigh(gram)
    values, vectors = values[::-1], vectors[:, ::-1]
    # LAPACK leaves the sign open, and processors differ in it: the largest entry is positive.
    vectors = vectors * np.sign(vectors[np.abs(vectors).argmax(axis=0), np.arange(FRAMES)])
    area_flat = detrend(area)
    scores = []
    for k in range(5):
        u = detrend(vectors[:, k])
        _, rho = period(u)
        likeness = abs(np.corrcoef(u, area_flat)[0, 1])
        scores.append(np.sqrt(values[k] / values.clip(0).sum()) * (0.35 * max(rho, 0) + 0.65 * likeness))
    chosen = int(np.argmax(scores))
    u = detrend(vectors[:, chosen])
    likeness = np.corrcoef(u, area_flat)[0, 1]
    middle = (np.percentile(u, 3) + np.percentile(u, 97)) / 2
    vote = likeness + 1.5 * np.clip(np.mean(u > middle) - 0.5, -0.3, 0.3)
    if likeness < 0:
        # Counting samples above the middle turns round with the sign, up to samples on the middle itself.
        assert vote < 0
    u = u * np.sign(vote)
    length, rho = period(u)
    sigma = max(0.012 * FPS, 0.3)
    smooth = gaussian_filter1d(u, sigma, mode="mirror", radius=int(np.ceil(4 * sigma)))
    golden = {
        "fps": FPS,
        "gram": gram.ravel().tolist(),
        "area": area.tolist(),
        "eigenvalues": values[:5].tolist(),
        "eigenvectors": vectors[:, :5].T.tolist(),
        "chosen": chosen,
        "likeness": abs(likeness),
        "vote": abs(vote),
        "period_frames": length,
        "periodicity": rho,
        "signal": u.tolist(),
        "diastoles": events(smooth, length),
        "systoles": events(-smooth, length),
    }
    out = pathlib.Path(__file__).with_name("golden.json")
    out.write_text(json.dumps(golden) + "\n")
    print(chosen, likeness, vote, length, rho, golden["diastoles"], golden["systoles"])


main()
