#!/usr/bin/env python3
"""Compares the colours this crate decodes with pydicom's, frame by frame.

    python3 -m venv VENV
    VENV/bin/pip install pydicom pydicom-data numpy pillow pylibjpeg pylibjpeg-libjpeg pylibjpeg-openjpeg
    cargo build -p pixels --example decode
    VENV/bin/python stages/pixels/tests/oracle/compare.py TARGET/debug/examples/decode [--all] [FILE ...]

    VENV/bin/python stages/pixels/tests/oracle/compare.py --golden stages/pixels/tests/fixtures   # rewrites expected.json

Without FILE it takes the samples that must agree (REQUIRED); with --all every image of pydicom and pydicom-data.
First, middle and last frame are compared. Exit 1 if a required file, or a named one, differs by more than 3 of 255
levels or is refused; other refusals are listed with their code and are no failure.
"""

import json
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pydicom
import pydicom.misc
from pydicom.pixels import apply_color_lut, apply_rescale, apply_windowing, pixel_array
from pydicom.uid import ExplicitVRBigEndian, JPEGBaseline8Bit, JPEGExtended12Bit

TOLERANCE = 3
REQUIRED = """
    examples_ybr_color color3d_jpeg_baseline examples_palette OBXXXX1A JPGLosslessP14SV1_1s_1f_8b
    examples_rgb_color examples_jpeg2k ExplVR_BigEnd OBXXXX1A_rle OBXXXX1A_expb OBXXXX1A_2frame OBXXXX1A_rle_2frame
    gdcm-US-ALOKA-16 gdcm-US-ALOKA-16_big color-pl color-px US1_J2KR US1_J2KI US1_UNCI US1_UNCR
    SC_rgb_dcmtk_+eb+cr SC_rgb_dcmtk_+eb+cy+n1 SC_rgb_dcmtk_+eb+cy+n2 SC_rgb_dcmtk_+eb+cy+np SC_rgb_dcmtk_+eb+cy+s2
    SC_rgb_dcmtk_+eb+cy+s4 SC_rgb_jpeg_dcmtk SC_rgb_jpeg_gdcm SC_rgb_jpeg_lossy_gdcm SC_jpeg_no_color_transform
    SC_jpeg_no_color_transform_2 SC_rgb_jpeg_app14_dcmd SC_ybr_full_uncompressed SC_ybr_full_422_uncompressed
    SC_rgb_rle SC_rgb_rle_2frame SC_rgb_rle_16bit SC_rgb_small_odd SC_rgb_small_odd_big_endian SC_rgb_small_odd_jpeg
    MR_small MR_small_RLE MR_small_bigendian CT_small image_dfl
""".split()


def corpus():
    """Every DICOM file of pydicom and pydicom-data, by name without suffix; those of its folders by their path."""
    folders = [Path(pydicom.__file__).parent / "data" / "test_files"]
    try:
        import data_store

        folders.append(Path(data_store.__file__).parent / "data")
    except ImportError:
        pass
    files = {path.stem: path for folder in folders for path in sorted(folder.glob("*.dcm"))}
    # A file set with DICOMDIR, and one folder of character sets beside the test files.
    nested = [*folders[0].glob("dicomdirtests/**/*"), *folders[0].parent.glob("charset_files/*.dcm")]
    nested = [path for path in nested if path.is_file() and pydicom.misc.is_dicom(path)]
    return files | {str(path.relative_to(folders[0].parent)): path for path in sorted(nested)}


def ours(decode, path, index):
    """(RGB array, number of frames), or the line that says why not."""
    done = subprocess.run([decode, str(path), str(index)], capture_output=True, check=False)
    if done.returncode != 0:
        text = done.stderr.decode(errors="replace").strip()
        return None, text.splitlines()[-1] if text else f"died with {done.returncode}"
    first, pixels = done.stdout.split(b"\n", 1)
    width, height, frames = map(int, first.split())
    return np.frombuffer(pixels, np.uint8).reshape(height, width, 3), frames


def grey(ds, stored):
    """Display values by the header's window, else by the full stored range; one mapping for all frames."""
    bits, signed = ds.BitsStored, ds.PixelRepresentation == 1
    low, high = (-(1 << bits - 1), (1 << bits - 1) - 1) if signed else (0, (1 << bits) - 1)
    stored = stored.astype(np.int64) & ((1 << bits) - 1)
    if signed:
        stored = np.where(stored >= 1 << (bits - 1), stored - (1 << bits), stored)
    if "WindowWidth" in ds and "WindowCenter" in ds:
        value = apply_windowing(apply_rescale(stored, ds), ds).astype(np.float64)
        slope, intercept = float(ds.get("RescaleSlope", 1)), float(ds.get("RescaleIntercept", 0))
        if "RescaleSlope" in ds:
            low, high = low * slope + intercept, high * slope + intercept
    else:
        value = stored.astype(np.float64)
    value = np.clip((value - low) / (high - low), 0, 1)
    if ds.PhotometricInterpretation == "MONOCHROME1":
        value = 1 - value
    return np.repeat(np.floor(value * 255 + 0.5).astype(np.uint8)[..., None], 3, axis=-1)


def theirs(path, index):
    """pydicom's picture as 8-bit RGB, by each of its decoders: for lossy JPEG they differ by up to 5 levels themselves."""
    ds = pydicom.dcmread(path)
    plugins = ("pylibjpeg", "pillow") if ds.file_meta.TransferSyntaxUID == JPEGBaseline8Bit else ("",)
    return [picture(ds, pixel_array(ds, index=index, decoding_plugin=plugin)) for plugin in plugins]


def picture(ds, stored):
    """Stored values as 8-bit RGB."""
    if ds.PhotometricInterpretation == "PALETTE COLOR":
        if ds.file_meta.TransferSyntaxUID == ExplicitVRBigEndian and "RedPaletteColorLookupTableData" in ds:
            # pydicom reads these words as little endian whatever the transfer syntax.
            for colour in ("Red", "Green", "Blue"):
                element = ds[f"{colour}PaletteColorLookupTableData"]
                element.value = np.frombuffer(element.value, "<u2").byteswap().tobytes()
        table = apply_color_lut(stored, ds)
        return (table >> 8 if table.dtype == np.uint16 else table).astype(np.uint8)
    if ds.SamplesPerPixel == 1:
        return grey(ds, stored)
    return (stored >> max(ds.BitsStored - 8, 0)).astype(np.uint8)


def compare(decode, path):
    """One line of the table: (verdict, what to say)."""
    ds = pydicom.dcmread(path, stop_before_pixels=True, force=True)
    syntax = getattr(ds.file_meta, "TransferSyntaxUID", "?")
    about = f"{str(syntax).removeprefix('1.2.840.10008.1.2') or 'impl':<8} {ds.get('PhotometricInterpretation', '-'):<14}"
    got, frames = ours(decode, path, 0)
    if got is None:
        return "refused", f"{about} {frames[:110]}"
    worst, mean = 0, 0.0
    for index in sorted({0, frames // 2, frames - 1}):
        if index:
            got, said = ours(decode, path, index)
            if got is None:
                return "refused", f"{about} frame {index}: {said[:100]}"
        try:
            expected = theirs(path, index)
        except Exception as error:  # whatever pydicom cannot do is no verdict on us
            return "no oracle", f"{about} pydicom: {str(error)[:80]}"
        if expected[0].shape != got.shape:
            return "DIFFERS", f"{about} shape {got.shape}, pydicom {expected[0].shape}"
        differences = [np.abs(one.astype(int) - got.astype(int)) for one in expected]
        difference = min(differences, key=np.max)
        worst, mean = max(worst, int(difference.max())), max(mean, float(difference.mean()))
    verdict = "equal" if worst == 0 else "close" if worst <= TOLERANCE else "DIFFERS"
    return verdict, f"{about} {frames:>4} frames  max {worst:>3}  mean {mean:.2f}"


def golden(folder):
    """Writes what `cargo test -p pixels` expects of the committed files: size, channel means and 64 pixels of a frame."""
    cases = []
    for path in sorted(Path(folder).glob("*.dcm")):
        ds = pydicom.dcmread(path, stop_before_pixels=True)
        if ds.file_meta.TransferSyntaxUID == JPEGExtended12Bit:
            continue
        frames = int(ds.get("NumberOfFrames", 1))
        index = frames - 1
        expected = theirs(path, index)[-1]
        height, width, _ = expected.shape
        points = [(x, y) for y in np.linspace(0, height - 1, 8, dtype=int) for x in np.linspace(0, width - 1, 8, dtype=int)]
        cases.append({
            "file": path.name, "frames": frames, "index": index, "width": width, "height": height,
            "mean": [round(float(mean), 3) for mean in expected.mean((0, 1))],
            "pixels": [[int(x), int(y), *map(int, expected[y, x])] for x, y in points],
        })
    Path(folder, "expected.json").write_text("[\n" + ",\n".join(map(json.dumps, cases)) + "\n]\n")


def main():
    warnings.simplefilter("ignore")
    if "--golden" in sys.argv:
        return golden(sys.argv[-1])
    arguments = [argument for argument in sys.argv[1:] if argument != "--all"]
    if not arguments:
        sys.exit(__doc__)
    decode, named = arguments[0], [Path(name) for name in arguments[1:]]
    files = corpus()
    must = {path.stem for path in named} or set(REQUIRED)
    missing = [] if named else sorted(must - files.keys())
    chosen = {path.stem: path for path in named} or (files if "--all" in sys.argv else {n: files[n] for n in REQUIRED if n in files})
    failed, counts = [], {}
    for name, path in chosen.items():
        verdict, line = compare(decode, path)
        counts[verdict] = counts.get(verdict, 0) + 1
        print(f"{name:<42} {verdict:<9} {line}")
        if name in must and verdict not in ("equal", "close"):
            failed.append(name)
    print(", ".join(f"{count} {verdict}" for verdict, count in sorted(counts.items())))
    for name in missing:
        print(f"{name}: not installed (pip install pydicom-data)")
    if failed or missing:
        sys.exit(f"not as pydicom: {', '.join(failed + missing)}")


if __name__ == "__main__":
    main()
