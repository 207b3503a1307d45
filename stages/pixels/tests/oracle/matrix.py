#!/usr/bin/env python3
"""Makes one small cine for each transfer syntax, photometric interpretation and fragmentation, and compares what this crate
decodes with pydicom and with the pixels that went in.

    VENV/bin/pip install pydicom numpy pillow pylibjpeg pylibjpeg-libjpeg pylibjpeg-openjpeg pylibjpeg-rle imagecodecs
    apt-get install dcmtk                                             # dcmcjpeg: JPEG extended and lossless
    VENV/bin/python stages/pixels/tests/oracle/matrix.py TARGET/debug/examples/decode [FOLDER TO KEEP THE FILES IN]

Lossless coding must give the pixels that went in, and pydicom's, exactly; lossy coding may differ by 3 of 255 levels from
at least one of pydicom's decoders (or from libjxl, which pydicom does not have). JPEG-LS must be equal, or be refused
with the code of a build without the feature. Exit 1 if anything else comes out.
"""

import subprocess
import sys
import tempfile
import warnings
import zlib
from pathlib import Path

import imagecodecs
import numpy as np
import pydicom
from compare import TOLERANCE, ours, picture
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate, encapsulate_extended
from pydicom.pixels import convert_color_space, pixel_array
from pydicom.uid import ExplicitVRLittleEndian, generate_uid

UID = "1.2.840.10008.1.2"
FRAMES, ROWS, COLUMNS = 3, 48, 64
WITHOUT_FEATURE = "JPEG_LS"


def scene(frame):
    """Smooth saturated colours, as chroma subsampling would blur edges in each decoder's own way, with a moving disc."""
    y, x = np.mgrid[:ROWS, :COLUMNS]
    red = 127 + 120 * np.sin(x / 9 + frame)
    green = 127 + 120 * np.cos(y / 11 - frame)
    blue = 127 + 120 * np.sin((x + y) / 13)
    disc = 60 * np.exp(-((x - 20 - 5 * frame) ** 2 + (y - 24) ** 2) / 90)
    return np.clip(np.stack([red + disc, green + disc, blue - disc], -1), 0, 255).round().astype(np.uint8)


RGB = np.stack([scene(i) for i in range(FRAMES)])
NOISE = np.random.default_rng(7).integers(0, 256, RGB.shape, dtype=np.uint8)
GREY = np.ascontiguousarray(RGB[..., 1])
DEEP = GREY.astype(np.uint16) * 16 + NOISE[..., 0] % 16  # 12 bits
SIGNED = DEEP.astype(np.int16) - 2048
YBR = np.stack([convert_color_space(frame, "RGB", "YBR_FULL") for frame in RGB])


def dataset(photometric, stored, **attributes):
    """A multi-frame ultrasound object without pixel data; `stored` gives shape and type."""
    ds = Dataset()
    ds.file_meta = FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    ds.SOPClassUID = "1.2.840.10008.5.1.4.1.1.3.1"
    ds.SOPInstanceUID = generate_uid()
    ds.StudyInstanceUID, ds.SeriesInstanceUID, ds.Modality = "2.25.1", "2.25.2", "US"
    ds.PhotometricInterpretation = photometric
    ds.SamplesPerPixel = 3 if stored.ndim == 4 else 1
    if ds.SamplesPerPixel == 3:
        ds.PlanarConfiguration = 0
    ds.NumberOfFrames, ds.Rows, ds.Columns = FRAMES, ROWS, COLUMNS
    ds.BitsAllocated = 8 * stored.dtype.itemsize
    ds.BitsStored = 8 if ds.BitsAllocated == 8 else 12
    ds.HighBit = ds.BitsStored - 1
    ds.PixelRepresentation = int(stored.dtype.kind == "i")
    for name, value in attributes.items():
        setattr(ds, name, value)
    return ds


def palette(entries, bits, first=0):
    """Descriptors and tables of a colour ramp."""
    ramp = np.linspace(0, 1, entries)
    colours = {"Red": ramp, "Green": ramp[::-1] ** 2, "Blue": np.abs(2 * ramp - 1)}
    attributes = {}
    for colour, table in colours.items():
        words = (table * (2**bits - 1)).round().astype(np.uint16 if bits == 16 else np.uint8)
        attributes[f"{colour}PaletteColorLookupTableDescriptor"] = [entries % 65536, first, bits]
        attributes[f"{colour}PaletteColorLookupTableData"] = words.tobytes()
    return attributes


WINDOW = {"WindowCenter": "1800", "WindowWidth": "2500"}
GREYS = {
    "mono2 8": (GREY, "MONOCHROME2", {}),
    "mono1 8": (GREY, "MONOCHROME1", {}),
    "mono2 8 window": (GREY, "MONOCHROME2", {"WindowCenter": "100", "WindowWidth": "90"}),
    "mono2 12": (DEEP, "MONOCHROME2", {}),
    "mono2 12 window": (DEEP, "MONOCHROME2", WINDOW),
    "mono1 12 window": (DEEP, "MONOCHROME1", WINDOW),
}
SIGNED_GREYS = {"mono2 12 signed": (SIGNED, "MONOCHROME2", {"WindowCenter": "-200", "WindowWidth": "2500"})}
PALETTES = {
    "palette 8, 8-bit table": (GREY, "PALETTE COLOR", palette(256, 8)),
    "palette 8, 16-bit table": (GREY, "PALETTE COLOR", palette(200, 16, first=20)),
    "palette 16, 16-bit table": (DEEP, "PALETTE COLOR", palette(4096, 16)),
}
COLOURS = {"rgb": (RGB, "RGB", {}), "rgb noise": (NOISE, "RGB", {}), "ybr_full": (YBR, "YBR_FULL", {})}
ALL = GREYS | SIGNED_GREYS | PALETTES | COLOURS


def variant(source):
    stored, photometric, attributes = source
    return dataset(photometric, stored, **attributes), stored


def truth(ds, stored):
    """What these samples look like, by pydicom's arithmetic and no codec."""
    if ds.PhotometricInterpretation == "YBR_FULL":
        stored = np.stack([convert_color_space(frame, "YBR_FULL", "RGB") for frame in stored])
    return [picture(ds, frame) for frame in stored]


class Matrix:
    def __init__(self, decode, folder):
        self.decode, self.folder = decode, Path(folder)
        self.counts, self.failed = {}, []

    def save(self, name, ds, suffix):
        path = self.folder / (name.replace(" ", "_").replace(",", "").replace("/", "-") + ".dcm")
        # pydicom does not know these: written as another syntax, whose UID has the same length with its padding.
        stand_in = {".8.1": ".4.50", ".4.110": ".4.201", ".4.111": ".4.201", ".4.112": ".4.201"}.get(suffix, suffix)
        ds.file_meta.TransferSyntaxUID = UID + stand_in
        ds.save_as(path, enforce_file_format=True)
        if stand_in != suffix:
            known = (UID + stand_in).encode()
            path.write_bytes(path.read_bytes().replace(known, (UID + suffix).encode().ljust(len(known), b"\0"), 1))
        return path

    def check(self, name, path, lossless, expected=None):
        """Compares every frame with pydicom, where it can, and with `expected`, where there is one."""
        allowed = 0 if lossless else TOLERANCE
        worst, refusal, oracles = {}, None, set()
        for index in range(FRAMES):
            got, said = ours(self.decode, path, index)
            if got is None:
                refusal = said
                break
            pictures = {"source": [expected[index]]} if expected is not None else {}
            by_pydicom = theirs(path, index)
            if by_pydicom:
                pictures["pydicom"] = by_pydicom
            for oracle, candidates in pictures.items():
                oracles.add(oracle)
                least = min(int(np.abs(one.astype(int) - got.astype(int)).max()) for one in candidates)
                worst[oracle] = max(worst.get(oracle, 0), least)
        if refusal is not None:
            verdict = "refused" if name.startswith("jpeg-ls") and refusal.startswith(WITHOUT_FEATURE) else "FAILED"
            line = refusal[:100]
        else:
            verdict = "ok" if oracles and max(worst.values()) <= allowed else "FAILED"
            line = ", ".join(f"{oracle} max {worst[oracle]}" for oracle in sorted(worst)) or "no oracle"
        self.counts[verdict] = self.counts.get(verdict, 0) + 1
        if verdict == "FAILED":
            self.failed.append(name)
        print(f"{verdict:<8} {name:<58} {line}")

    def encapsulated(self, name, suffix, ds, frames, lossless, expected, table="bot", fragments=1):
        ds.LossyImageCompression = "00" if lossless else "01"
        if table == "eot":
            frames = [frame + b"\0" * (len(frame) % 2) for frame in frames]
            ds.PixelData, ds.ExtendedOffsetTable, ds.ExtendedOffsetTableLengths = encapsulate_extended(frames)
        else:
            ds.PixelData = encapsulate(frames, fragments_per_frame=fragments, has_bot=table == "bot")
        ds["PixelData"].VR = "OB"
        ds["PixelData"].is_undefined_length = True
        self.check(name, self.save(name, ds, suffix), lossless, expected)


def theirs(path, index):
    """pydicom's pictures, by each decoder that knows the transfer syntax; none if it has no decoder for it."""
    ds = pydicom.dcmread(path)
    pictures = []
    for plugin in ("pylibjpeg", "pillow", "pydicom", ""):
        try:
            pictures.append(picture(ds, pixel_array(ds, index=index, decoding_plugin=plugin)))
        except Exception:  # not this decoder's, or not pydicom's: the source is the other oracle
            continue
    return pictures


def native(matrix):
    for name, source in ALL.items():
        for suffix, label in [("", "implicit"), (".1", "explicit"), (".2", "big endian"), (".1.99", "deflated")]:
            ds, stored = variant(source)
            expected = truth(ds, stored)
            swap = suffix == ".2" and ds.BitsAllocated == 16
            ds.PixelData = (stored.byteswap() if swap else stored).tobytes()
            ds["PixelData"].VR = "OW" if ds.BitsAllocated == 16 or suffix == "" else "OB"
            if suffix == ".2" and ds.PhotometricInterpretation == "PALETTE COLOR":
                for colour in ("Red", "Green", "Blue"):
                    data = ds[f"{colour}PaletteColorLookupTableData"]
                    data.value = np.frombuffer(data.value, "<u2").byteswap().tobytes()
            matrix.check(f"native {label} {name}", matrix.save(f"native {label} {name}", ds, suffix), True, expected)
        ds, stored = variant(source)
        frames = [frame.tobytes() for frame in stored]
        matrix.encapsulated(f"encapsulated native {name}", ".1.98", ds, frames, True, truth(ds, stored))
        ds, stored = variant(source)
        matrix.encapsulated(f"deflated frame {name}", ".8.1", ds, [deflate(frame) for frame in stored], True, truth(ds, stored))
    for name in ("rgb", "rgb noise", "ybr_full"):
        ds, stored = variant(COLOURS[name])
        expected = truth(ds, stored)
        ds.PlanarConfiguration = 1
        ds.PixelData = np.moveaxis(stored, -1, 1).tobytes()
        ds["PixelData"].VR = "OB"
        matrix.check(f"native explicit {name} by plane", matrix.save(f"native {name} planes", ds, ".1"), True, expected)
    for suffix, label in [("", "implicit"), (".1", "explicit"), (".2", "big endian"), (".1.99", "deflated")]:
        ds = dataset("YBR_FULL_422", YBR)
        pairs = YBR.reshape(FRAMES, -1, 2, 3)
        halved = np.stack([pairs[:, :, 0, 0], pairs[:, :, 1, 0], pairs[:, :, 0, 1], pairs[:, :, 0, 2]], -1)
        ds.PixelData = halved.astype(np.uint8).tobytes()
        ds["PixelData"].VR = "OW" if suffix == "" else "OB"
        spread = YBR.copy().reshape(FRAMES, -1, 2, 3)
        spread[:, :, 1, 1:] = spread[:, :, 0, 1:]
        spread = spread.reshape(YBR.shape)
        expected = [convert_color_space(frame, "YBR_FULL", "RGB") for frame in spread]
        name = f"native {label} ybr_full_422"
        matrix.check(name, matrix.save(name, ds, suffix), True, expected)


def deflate(frame):
    packer = zlib.compressobj(wbits=-15)
    return packer.compress(frame.tobytes()) + packer.flush()


def run_length(matrix):
    for name, source in ALL.items():
        ds, stored = variant(source)
        frames = [packed_rows(frame) for frame in stored]
        matrix.encapsulated(f"rle {name}", ".5", ds, frames, True, truth(ds, stored))
    for table in ("none", "eot"):
        ds, stored = variant(COLOURS["ybr_full"])
        frames = [packed_rows(frame) for frame in stored]
        matrix.encapsulated(f"rle ybr_full, table {table}", ".5", ds, frames, True, truth(ds, stored), table=table)


def packed_rows(frame):
    """PS3.5 annex G: a segment for each byte of each sample, most significant first."""
    samples = np.moveaxis(np.atleast_3d(frame), -1, 0)
    width = frame.dtype.itemsize
    planes = [sample.astype(f"<u{width}").view(np.uint8).reshape(-1, width)[:, i] for sample in samples for i in reversed(range(width))]
    segments = [imagecodecs.packbits_encode(np.ascontiguousarray(plane).tobytes()) for plane in planes]
    segments = [segment + b"\0" * (len(segment) % 2) for segment in segments]
    offsets = np.cumsum([64] + [len(segment) for segment in segments])[:-1]
    header = np.zeros(16, "<u4")
    header[0], header[1 : 1 + len(segments)] = len(segments), offsets
    return header.tobytes() + b"".join(segments)


def jpeg(matrix):
    coded = {
        "grey": (dataset("MONOCHROME2", GREY), [imagecodecs.jpeg8_encode(f, level=92) for f in GREY]),
        "mono1": (dataset("MONOCHROME1", GREY), [imagecodecs.jpeg8_encode(f, level=92) for f in GREY]),
        "ybr_full_422": (
            dataset("YBR_FULL_422", RGB),
            [imagecodecs.jpeg8_encode(f, level=92, colorspace="rgb", outcolorspace="ycbcr", subsampling="422") for f in RGB],
        ),
        "ybr_full 444": (
            dataset("YBR_FULL", RGB),
            [imagecodecs.jpeg8_encode(f, level=92, colorspace="rgb", outcolorspace="ycbcr", subsampling="444") for f in RGB],
        ),
        "ybr_full_422 420": (
            dataset("YBR_FULL_422", RGB),
            [imagecodecs.jpeg8_encode(f, level=92, colorspace="rgb", outcolorspace="ycbcr", subsampling="420") for f in RGB],
        ),
        "rgb": (
            dataset("RGB", RGB),
            [imagecodecs.jpeg8_encode(f, level=92, colorspace="rgb", outcolorspace="rgb") for f in RGB],
        ),
    }
    for suffix, label in [(".4.50", "baseline"), (".4.51", "extended")]:
        for name, (ds, frames) in coded.items():
            matrix.encapsulated(f"jpeg {label} {name}", suffix, fresh(ds), frames, False, None)
    ds, frames = coded["ybr_full_422"]
    for table in ("none", "bot", "eot"):
        matrix.encapsulated(f"jpeg baseline, table {table}", ".4.50", fresh(ds), frames, False, None, table=table)
    for table in ("none", "bot"):
        name = f"jpeg baseline, 2 fragments a frame, table {table}"
        matrix.encapsulated(name, ".4.50", fresh(ds), frames, False, None, table=table, fragments=2)


def fresh(ds):
    """The same object for another file."""
    copy = Dataset()
    copy.update(ds)
    copy.file_meta = FileMetaDataset()
    copy.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    copy.SOPInstanceUID = generate_uid()
    return copy


def dcmtk(matrix):
    """Coded by dcmcjpeg from a native file: another encoder, SOF1 and SOF3 frames."""
    modes = [("+ee", "extended", False), ("+el", "lossless .57", True), ("+e1", "lossless .70", True)]
    for option, label, lossless in modes:
        for name, source in ALL.items():
            ds, stored = variant(source)
            if not lossless and (ds.BitsAllocated == 16 or ds.PhotometricInterpretation == "PALETTE COLOR"):
                continue  # 12-bit JPEG is refused by name, and indices survive no lossy coding
            if ds.PixelRepresentation:
                continue  # dcmcjpeg codes signed samples only with a changed pixel representation
            expected = truth(ds, stored) if lossless else None
            ds.PixelData = stored.tobytes()
            ds["PixelData"].VR = "OW" if ds.BitsAllocated == 16 else "OB"
            plain = matrix.save(f"dcmtk source {name}", ds, ".1")
            path = matrix.folder / f"dcmtk_{label}_{name}.dcm".replace(" ", "_").replace(",", "")
            flags = [option] if lossless else [option, "+q", "95", "+s4"]
            done = subprocess.run(["/usr/bin/dcmcjpeg", *flags, plain, path], capture_output=True, check=False)
            if done.returncode != 0:
                matrix.failed.append(f"dcmcjpeg {label} {name}")
                print(f"FAILED   dcmcjpeg {label} {name}: {done.stderr.decode(errors='replace').strip()[:100]}")
                continue
            matrix.check(f"jpeg {label} {name} by dcmtk", path, lossless, expected)


def jpeg_ls(matrix):
    for name, source in ALL.items():
        for suffix, near, lossless in [(".4.80", 0, True), (".4.81", 2, False)]:
            ds, stored = variant(source)
            if not lossless and ds.PhotometricInterpretation == "PALETTE COLOR":
                continue
            words = [f.view(np.uint16) if f.dtype == np.int16 else f for f in stored]
            frames = [imagecodecs.jpegls_encode(f, level=near, out=4 * f.nbytes) for f in words]
            expected = truth(ds, stored) if lossless else None
            matrix.encapsulated(f"jpeg-ls near {near} {name}", suffix, ds, frames, lossless, expected)


def jpeg_2000(matrix):
    for name, source in ALL.items():
        ds, stored = variant(source)
        bits = {"bitspersample": 12} if ds.BitsAllocated == 16 else {}
        frames = [imagecodecs.jpeg2k_encode(f, codecformat="j2k", reversible=True, mct=False, **bits) for f in stored]
        matrix.encapsulated(f"jpeg 2000 lossless {name}, no transform", ".4.90", ds, frames, True, truth(ds, stored))
        if ds.PixelRepresentation == 0:
            ds, stored = variant(source)
            frames = [imagecodecs.htj2k_encode(f, reversible=True, rgb=False) for f in stored]
            matrix.encapsulated(f"htj2k .201 lossless {name}, no transform", ".4.201", ds, frames, True, truth(ds, stored))
    for name, stored in [("rgb", RGB), ("noise", NOISE)]:
        expected = list(stored)
        rct = [imagecodecs.jpeg2k_encode(f, codecformat="j2k", reversible=True, mct=True) for f in stored]
        for table, fragments in [("bot", 1), ("none", 1), ("eot", 1), ("none", 2), ("bot", 2)]:
            label = f"jpeg 2000 lossless ybr_rct {name}, table {table}, {fragments} a frame"
            ds = dataset("YBR_RCT", stored)
            matrix.encapsulated(label, ".4.90", ds, rct, True, expected, table=table, fragments=fragments)
        matrix.encapsulated(f"jpeg 2000 .91 lossless {name}", ".4.91", dataset("YBR_RCT", stored), rct, True, expected)
        boxed = [imagecodecs.jpeg2k_encode(f, codecformat="jp2", reversible=True, mct=True) for f in stored]
        matrix.encapsulated(f"jpeg 2000 in a file {name}", ".4.90", dataset("YBR_RCT", stored), boxed, True, expected)
        for suffix in (".4.201", ".4.202"):
            frames = [imagecodecs.htj2k_encode(f, reversible=True, rgb=True) for f in stored]
            label = f"htj2k {suffix} lossless ybr_rct {name}"
            matrix.encapsulated(label, suffix, dataset("YBR_RCT", stored), frames, True, expected)
    ict = [imagecodecs.jpeg2k_encode(f, codecformat="j2k", level=42, reversible=False, mct=True) for f in RGB]
    matrix.encapsulated("jpeg 2000 lossy ybr_ict", ".4.91", dataset("YBR_ICT", RGB), ict, False, None)
    grey = [imagecodecs.jpeg2k_encode(f, codecformat="j2k", level=42, reversible=False) for f in GREY]
    matrix.encapsulated("jpeg 2000 lossy grey", ".4.91", dataset("MONOCHROME2", GREY), grey, False, None)
    ht = [imagecodecs.htj2k_encode(f, level=0.002, reversible=False, rgb=True) for f in RGB]
    matrix.encapsulated("htj2k .203 lossy ybr_ict", ".4.203", dataset("YBR_ICT", RGB), ht, False, None)


def jpeg_xl(matrix):
    for name, source in ALL.items():
        ds, stored = variant(source)
        bits = {"bitspersample": 12} if ds.BitsAllocated == 16 else {}
        words = [f.view(np.uint16) if f.dtype == np.int16 else f for f in stored]
        if stored.dtype == np.int16:
            words, bits = [f & 0xFFF for f in words], {"bitspersample": 12}
        frames = [imagecodecs.jpegxl_encode(f, lossless=True, **bits) for f in words]
        matrix.encapsulated(f"jpeg xl lossless {name}", ".4.110", ds, frames, True, truth(ds, stored))
    lossy = [imagecodecs.jpegxl_encode(f, lossless=False, distance=0.5) for f in RGB]
    by_libjxl = [imagecodecs.jpegxl_decode(f) for f in lossy]
    for photometric in ("RGB", "XYB"):
        matrix.encapsulated(f"jpeg xl lossy {photometric}", ".4.112", dataset(photometric, RGB), lossy, False, by_libjxl)
    boxed = [imagecodecs.jpegxl_encode(f, lossless=True, usecontainer=True) for f in NOISE]
    matrix.encapsulated("jpeg xl in a file, no table", ".4.110", dataset("RGB", NOISE), boxed, True, list(NOISE), table="none")
    baseline = [imagecodecs.jpeg8_encode(f, level=92, colorspace="rgb", outcolorspace="ycbcr", subsampling="422") for f in RGB]
    packed = [imagecodecs.jpegxl_encode_jpeg(f) for f in baseline]
    by_libjxl = [imagecodecs.jpegxl_decode(f) for f in packed]
    ds = dataset("YBR_FULL_422", RGB)
    matrix.encapsulated("jpeg xl of a jpeg, ybr_full_422", ".4.111", ds, packed, False, by_libjxl)


def main():
    warnings.simplefilter("ignore")
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    with tempfile.TemporaryDirectory() as scratch:
        folder = sys.argv[2] if len(sys.argv) > 2 else scratch
        Path(folder).mkdir(parents=True, exist_ok=True)
        matrix = Matrix(sys.argv[1], folder)
        for part in (native, run_length, jpeg, dcmtk, jpeg_ls, jpeg_2000, jpeg_xl):
            part(matrix)
    print(", ".join(f"{count} {verdict}" for verdict, count in sorted(matrix.counts.items())))
    if matrix.failed:
        sys.exit(f"not as they should be: {'; '.join(matrix.failed)}")


if __name__ == "__main__":
    main()
