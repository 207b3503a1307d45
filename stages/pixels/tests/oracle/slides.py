#!/usr/bin/env python3
"""Makes slides of every form that this crate reads, and compares levels, scales and tiles with what others read of them.

    python3 -m venv VENV
    VENV/bin/pip install numpy pydicom tifffile imagecodecs wsidicom openslide-python openslide-bin pillow pylibjpeg-libjpeg
    cargo build -p pixels --example slide
    VENV/bin/python stages/pixels/tests/oracle/slides.py TARGET/debug/examples/slide

    VENV/bin/python stages/pixels/tests/oracle/slides.py --golden stages/pixels/tests/fixtures/slides

wsidicom and OpenSlide read the DICOM slides, tifffile and OpenSlide the TIFF files. Lossless tiles must be equal. Lossy
samples lie within 3 of 255 levels of what a decoder gives; decoders differ by up to 4 among themselves, so the tiles of a
TIFF file are decoded by libjpeg-turbo and by libjpeg of the JPEG committee, and the nearer one counts. One line for each slide and reader, `ok` or `FAILED` in front; exit 1 if there is one that
failed. With --golden, small ones are written as the fixtures of `cargo test -p pixels`, with `expected.json` beside them.
"""

import json
import subprocess
import sys
import tempfile
from pathlib import Path

import imagecodecs
import libjpeg
import numpy as np
import openslide
import pydicom
import tifffile
import wsidicom
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.sequence import Sequence
from pydicom.uid import ExplicitVRLittleEndian, JPEG2000Lossless, JPEGBaseline8Bit, RLELossless, UID

TOLERANCE = 3
WHOLE_SLIDE = UID("1.2.840.10008.5.1.4.1.1.77.1.6")
GLASS = 255


def tissue(columns, rows, seed=1):
    """A bright field in the colours of H&E: smooth, so that it stays small, with nuclei, and no two tiles alike."""
    generator = np.random.default_rng(seed)
    y, x = np.mgrid[0:rows, 0:columns].astype(np.float64)
    eosin = 0.35 + 0.25 * np.sin(x / 37) * np.cos(y / 29) + 0.1 * x / columns
    haematoxylin = np.zeros((rows, columns))
    for cx, cy, radius in zip(*(generator.uniform(low, high, 60) for low, high in ((0, columns), (0, rows), (3, 9)))):
        haematoxylin += np.exp(-((x - cx) ** 2 + (y - cy) ** 2) / radius**2)
    stains = np.array([[0.65, 0.70, 0.29], [0.07, 0.99, 0.11]])
    density = np.minimum(haematoxylin, 1.2)[..., None] * stains[0] + np.maximum(eosin, 0)[..., None] * stains[1]
    return np.clip(245 * np.exp(-density), 0, 255).astype(np.uint8)


def halved(picture):
    rows, columns = picture.shape[0] // 2 * 2, picture.shape[1] // 2 * 2
    blocks = picture[:rows, :columns].astype(np.uint32).reshape(rows // 2, 2, columns // 2, 2, -1)
    return ((blocks.sum((1, 3)) + 2) // 4).astype(picture.dtype).reshape(rows // 2, columns // 2, -1)


def tiles(picture, tile):
    """(row, column, whole tile), padded with glass beyond the picture."""
    rows, columns = picture.shape[:2]
    for row in range(0, rows, tile):
        for column in range(0, columns, tile):
            whole = np.full((tile, tile) + picture.shape[2:], GLASS, picture.dtype)
            part = picture[row : row + tile, column : column + tile]
            whole[: part.shape[0], : part.shape[1]] = part
            yield row // tile, column // tile, whole


def jpeg(tile, subsampling="422", colour="YCBCR"):
    return imagecodecs.jpeg8_encode(tile, level=85, colorspace="RGB", outcolorspace=colour, subsampling=subsampling)


# DICOM


def whole_slide(path, picture, tile, coding, sparse=None, paths=1, image_type=("ORIGINAL", "PRIMARY", "VOLUME", "NONE")):
    """A VL Whole Slide Microscopy object. `sparse` is the set of (row, column) that are left out of a TILED_SPARSE one."""
    kept = [entry for entry in tiles(picture, tile) if entry[:2] not in (sparse or set())]
    if sparse is not None:
        kept = kept[::-1]  # frames of a sparse slide may come in any order
    ds = Dataset()
    ds.SOPClassUID = WHOLE_SLIDE
    ds.SOPInstanceUID = pydicom.uid.generate_uid(entropy_srcs=[path.name, "instance"])
    ds.StudyInstanceUID = pydicom.uid.generate_uid(entropy_srcs=[path.name, "study"])
    ds.SeriesInstanceUID = pydicom.uid.generate_uid(entropy_srcs=[path.name, "series"])
    ds.FrameOfReferenceUID = pydicom.uid.generate_uid(entropy_srcs=[path.name, "frame"])
    ds.Modality, ds.Manufacturer, ds.ManufacturerModelName = "SM", "none", "none"
    ds.DeviceSerialNumber, ds.SoftwareVersions = "0", "0"
    ds.PatientName = ds.PatientID = ds.PatientBirthDate = ds.PatientSex = ds.StudyID = ds.AccessionNumber = ""
    ds.StudyDate = ds.ContentDate = "20260101"
    ds.StudyTime = ds.ContentTime = "000000"
    ds.AcquisitionDateTime = "20260101000000"
    ds.SeriesNumber = ds.InstanceNumber = 1
    ds.ImageType = list(image_type)
    ds.Rows = ds.Columns = tile
    ds.TotalPixelMatrixRows, ds.TotalPixelMatrixColumns = picture.shape[:2]
    ds.ImagedVolumeWidth, ds.ImagedVolumeHeight = picture.shape[1] * 5e-4, picture.shape[0] * 5e-4
    ds.ImagedVolumeDepth = 0.001
    ds.ImageOrientationSlide = [0, -1, 0, -1, 0, 0]
    ds.NumberOfFrames = len(kept) * paths
    ds.SamplesPerPixel, ds.PlanarConfiguration, ds.PixelRepresentation = 3, 0, 0
    ds.BitsAllocated = ds.BitsStored = 8
    ds.HighBit = 7
    ds.PhotometricInterpretation = {"jpeg": "YBR_FULL_422", "j2k": "YBR_RCT"}.get(coding, "RGB")
    ds.BurnedInAnnotation = ds.SpecimenLabelInImage = "NO"
    ds.FocusMethod, ds.ExtendedDepthOfField, ds.VolumetricProperties = "AUTO", "NO", "VOLUME"
    ds.LossyImageCompression = "01" if coding == "jpeg" else "00"
    origin = Dataset()
    origin.XOffsetInSlideCoordinateSystem = origin.YOffsetInSlideCoordinateSystem = 0
    ds.TotalPixelMatrixOriginSequence = Sequence([origin])
    optical = []
    for number in range(paths):
        light, path_item = Dataset(), Dataset()
        light.CodeValue, light.CodingSchemeDesignator, light.CodeMeaning = "111744", "DCM", "Brightfield illumination"
        colour = Dataset()
        colour.CodeValue, colour.CodingSchemeDesignator, colour.CodeMeaning = "414298005", "SCT", "Full Spectrum"
        path_item.OpticalPathIdentifier = str(number + 1)
        path_item.IlluminationTypeCodeSequence, path_item.IlluminationColorCodeSequence = Sequence([light]), Sequence([colour])
        optical.append(path_item)
    ds.OpticalPathSequence = Sequence(optical)
    ds.NumberOfOpticalPaths = paths
    ds.TotalPixelMatrixFocalPlanes = 1
    measures, frame_type, shared = Dataset(), Dataset(), Dataset()
    # Between rows, then between columns: not the same, so that an exchange shows.
    measures.PixelSpacing, measures.SliceThickness = ([0.0005, 0.00025] if sparse is not None else [0.0005, 0.0005]), 0.001
    frame_type.FrameType = list(image_type)
    shared.PixelMeasuresSequence = Sequence([measures])
    shared.WholeSlideMicroscopyImageFrameTypeSequence = Sequence([frame_type])
    ds.SharedFunctionalGroupsSequence = Sequence([shared])
    ds.DimensionOrganizationType = "TILED_FULL" if sparse is None else "TILED_SPARSE"
    if sparse is not None:
        per_frame = []
        for row, column, _ in kept:
            place, groups, identifier = Dataset(), Dataset(), Dataset()
            place.ColumnPositionInTotalImagePixelMatrix = column * tile + 1
            place.RowPositionInTotalImagePixelMatrix = row * tile + 1
            place.XOffsetInSlideCoordinateSystem = place.YOffsetInSlideCoordinateSystem = 0
            place.ZOffsetInSlideCoordinateSystem = 0
            identifier.OpticalPathIdentifier = "1"
            groups.PlanePositionSlideSequence = Sequence([place])
            groups.OpticalPathIdentificationSequence = Sequence([identifier])
            per_frame.append(groups)
        ds.PerFrameFunctionalGroupsSequence = Sequence(per_frame)
    # A second optical path must not show: its tiles are dark.
    frames = [whole for _, _, whole in kept] + [whole // 8 for _, _, whole in kept] * (paths - 1)
    ds.file_meta = FileMetaDataset()
    ds.file_meta.MediaStorageSOPClassUID, ds.file_meta.MediaStorageSOPInstanceUID = ds.SOPClassUID, ds.SOPInstanceUID
    ds.file_meta.TransferSyntaxUID = {
        "jpeg": JPEGBaseline8Bit,
        "j2k": JPEG2000Lossless,
        "rle": RLELossless,
        "native": ExplicitVRLittleEndian,
    }[coding]
    if coding == "jpeg":
        ds.PixelData = encapsulate([jpeg(frame) for frame in frames])
    elif coding == "j2k":
        coded = [imagecodecs.jpeg2k_encode(frame, level=0, reversible=True, codecformat="J2K") for frame in frames]
        ds.PixelData = encapsulate(coded)
    else:
        ds.PixelData = b"".join(frame.tobytes() for frame in frames)
    ds["PixelData"].VR = "OB"
    if coding == "rle":
        ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        ds.compress(RLELossless, generate_instance_uid=False)
    elif coding in ("jpeg", "j2k"):
        ds["PixelData"].is_undefined_length = True
    ds.save_as(path, enforce_file_format=True)


# TIFF


def abbreviated(coded):
    """(tables, tile without them) of a JPEG: DQT and DHT segments go to JPEGTables, as libtiff writes it."""
    tables, rest, at = b"\xff\xd8", b"\xff\xd8", 2
    while coded[at + 1] != 0xDA:
        length = int.from_bytes(coded[at + 2 : at + 4], "big")
        segment = coded[at : at + 2 + length]
        if coded[at + 1] in (0xDB, 0xC4):
            tables += segment
        else:
            rest += segment
        at += 2 + length
    return tables + b"\xff\xd9", rest + coded[at:]


def jpeg_pyramid(path, picture, tile, levels, subsampling="420", colour="YCBCR", tables=True, **options):
    """Tiles in JPEG, reduced levels as sub-directories."""
    factors = {"420": (2, 2), "422": (2, 1), "444": (1, 1)}[subsampling]
    with tifffile.TiffWriter(path, **options) as file:
        for level in range(levels):
            coded = [jpeg(whole, subsampling, colour) for _, _, whole in tiles(picture, tile)]
            shared, parts = None, coded
            if tables:
                split = [abbreviated(one) for one in coded]
                shared, parts = split[0][0], [rest for _, rest in split]
                assert all(one == shared for one, _ in split)
            file.write(
                iter(parts), shape=picture.shape, dtype=np.uint8, tile=(tile, tile), compression="jpeg", compressionargs={"outcolorspace": colour},
                jpegtables=shared, photometric="ycbcr" if colour == "YCBCR" else "rgb", subsampling=factors if colour == "YCBCR" else None,
                resolution=(1e4 / 0.25 / 2**level,) * 2, resolutionunit="CENTIMETER", subfiletype=1 if level else 0,
                subifds=levels - 1 if level == 0 and levels > 1 else None, metadata=None, software=False,
            )
            picture = halved(picture)


def lossless_pyramid(path, picture, tile, levels, compression, description=None, extras=False, **options):
    """Reduced levels as successive directories; with `extras` label and overview as a scanner adds them."""
    writer = {key: options.pop(key) for key in ("bigtiff", "byteorder") if key in options}
    photometric = options.pop("photometric", "rgb" if picture.ndim == 3 else "minisblack")
    with tifffile.TiffWriter(path, **writer) as file:
        for level in range(levels):
            file.write(
                picture, tile=(tile, tile), compression=compression, photometric=photometric, metadata=None, software=False,
                description=description if level == 0 else None, subfiletype=1 if level else 0,
                **({} if description else {"resolution": (25400 / 0.5 / 2**level,) * 2, "resolutionunit": "INCH"}), **options,
            )
            if extras and level == 0:
                thumbnail = picture[::8, ::8]
                file.write(thumbnail, photometric=photometric, metadata=None, software=False, rowsperstrip=16)
            picture = halved(picture) if picture.ndim == 3 else halved(picture[..., None])[..., 0]
        if extras:
            label = np.zeros((tile, tile, 3), np.uint8)
            label[8:24, 8:24] = 255
            if description is None:  # OpenSlide would take it for a level
                file.write(label, tile=(tile, tile), photometric="rgb", subfiletype=9, metadata=None, software=False)
            file.write(label, photometric="rgb", subfiletype=1, metadata=None, software=False, description="Aperio none\r\nlabel 64x64")
            file.write(label, photometric="rgb", subfiletype=9, metadata=None, software=False, description="Aperio none\r\nmacro 64x64")


def make(folder, small):
    """Writes all slides; gives (path, lossless, the readers that know the form)."""
    columns, rows, tile = (150, 100, 64) if small else (1900, 1300, 256)
    picture, made = tissue(columns, rows), []

    def add(name, lossless, readers, write, *arguments, **options):
        path = Path(folder, name)
        write(path, *arguments, **options)
        made.append((path, lossless, readers))

    both, others = ("wsidicom", "openslide"), ("tifffile", "openslide")
    add("full_jpeg.dcm", False, both, whole_slide, picture, tile, "jpeg")
    add("sparse_rle.dcm", True, ("wsidicom",), whole_slide, picture, tile, "rle", sparse={(0, 1), (1, 2)})
    add("subifds_jpeg.big.tif", False, ("tifffile",), jpeg_pyramid, picture, tile, 2, bigtiff=True)
    add(
        "aperio_lzw.tif", True, others, lossless_pyramid, picture, tile, 2, "lzw", predictor=True, extras=True,
        description="Aperio Image Library v0\r\n150x100 (64x64)|AppMag = 20|MPP = 0.4990|Left = 1.5",
    )
    add("deflate.mm.tif", True, ("tifffile",), lossless_pyramid, picture, tile, 2, "zlib", predictor=True, byteorder=">")
    if small:
        return made
    add("full_native.dcm", True, both, whole_slide, picture, tile, "native")
    add("full_j2k.dcm", True, ("wsidicom",), whole_slide, picture, tile, "j2k")
    add("two_paths.dcm", False, ("wsidicom",), whole_slide, picture, tile, "jpeg", paths=2)
    add("sparse_jpeg.dcm", False, ("wsidicom",), whole_slide, picture, tile, "jpeg", sparse={(0, 0), (2, 3), (5, 7)})
    for subsampling in ("420", "422", "444"):
        add(f"jpeg_{subsampling}.tif", False, ("tifffile",), jpeg_pyramid, picture, tile, 3, subsampling)
    add("jpeg_alone.tif", False, others, jpeg_pyramid, picture, tile, 1)
    add("jpeg_whole_tiles.tif", False, ("tifffile",), jpeg_pyramid, picture, tile, 2, tables=False)
    add("jpeg_rgb.tif", False, others, jpeg_pyramid, picture, tile, 1, "444", "RGB")
    for compression in (None, "zlib", "lzw", "packbits"):
        add(f"{compression}.tif", True, others, lossless_pyramid, picture, tile, 3, compression, bigtiff=compression == "zlib")
    add("wide.mm.big.tif", True, others, lossless_pyramid, picture, tile, 2, "zlib", bigtiff=True, byteorder=">")
    add("tiled_label.tif", True, ("tifffile",), lossless_pyramid, picture, tile, 2, "zlib", extras=True)
    add("planes.tif", True, ("tifffile",), lossless_pyramid, np.moveaxis(picture, -1, 0).copy(), tile, 1, "zlib", planarconfig="separate")
    wide = picture.astype(np.uint16) * 257
    add("sixteen.mm.tif", True, ("tifffile",), lossless_pyramid, wide, tile, 2, "lzw", predictor=True, byteorder=">")
    opaque = np.dstack([picture, np.full((rows, columns), 255, np.uint8)])
    add("opacity.tif", True, ("tifffile",), lossless_pyramid, opaque, tile, 1, "zlib", predictor=True, extrasamples=["unassalpha"])
    add("grey.tif", True, ("tifffile",), lossless_pyramid, picture[..., 1].copy(), tile, 2, "zlib")
    add("white_is_zero.tif", True, ("tifffile",), lossless_pyramid, 255 - picture[..., 1], tile, 1, "zlib", photometric="miniswhite")
    return made


# What others read


def by_wsidicom(path):
    """[(columns, rows, microns, [picture])] from tiles, one after the other; wsidicom pads edge tiles, we cut them."""
    with wsidicom.WsiDicom.open(path) as slide:
        level = slide.pyramids[0].get(0)
        size, tile = level.size, level.tile_size
        picture = np.full((size.height, size.width, 3), GLASS, np.uint8)
        for y in range(level.tiled_size.height):
            for x in range(level.tiled_size.width):
                try:
                    got = np.asarray(slide.read_tile(level.level, (x, y)).convert("RGB"))
                except wsidicom.errors.WsiDicomNotFoundError:
                    continue
                left, top = x * tile.width, y * tile.height
                part = got[: size.height - top, : size.width - left]
                picture[top : top + part.shape[0], left : left + part.shape[1]] = part
        mpp = level.mpp
        return [(size.width, size.height, (mpp.width, mpp.height), [picture])]


def by_openslide(path):
    levels = []
    with openslide.OpenSlide(path) as slide:
        microns = [slide.properties.get(name) for name in (openslide.PROPERTY_NAME_MPP_X, openslide.PROPERTY_NAME_MPP_Y)]
        base = slide.level_dimensions[0]
        for level, (columns, rows) in enumerate(slide.level_dimensions):
            region = np.asarray(slide.read_region((0, 0), level, (columns, rows)))
            scale = (base[0] / columns, base[1] / rows)
            known = None if None in microns else tuple(float(mpp) * by for mpp, by in zip(microns, scale))
            levels.append((columns, rows, known, [region[..., :3]]))
    return levels


def by_tifffile(path):
    levels = []
    with tifffile.TiffFile(path) as file:
        pages = [page for page in file.pages if page.is_tiled and page.subfiletype not in (8, 9)]
        pages += [page for page in pages[0].pages or []]
        base = pages[0]
        for page in pages:
            picture = page.asarray()
            if page.planarconfig == tifffile.PLANARCONFIG.SEPARATE:
                picture = np.moveaxis(picture, 0, -1)
            if picture.dtype == np.uint16:
                picture = (picture >> 8).astype(np.uint8)
            if page.photometric == tifffile.PHOTOMETRIC.MINISWHITE:
                picture = 255 - picture
            picture = picture[..., :3] if picture.ndim == 3 else np.repeat(picture[..., None], 3, axis=-1)
            rows, columns = picture.shape[:2]
            if "MPP" in (base.description or ""):
                finest = (float(base.description.split("MPP = ")[1].split("|")[0]),) * 2
            else:
                unit = {2: 25400, 3: 10000}[base.tags["ResolutionUnit"].value]
                parts = [base.tags[name].value for name in ("XResolution", "YResolution")]
                finest = tuple(unit * below / above for above, below in parts)
            microns = (finest[0] * base.imagewidth / columns, finest[1] * base.imagelength / rows)
            pictures = [picture]
            if page.compression == tifffile.COMPRESSION.JPEG:
                pictures.append(by_libjpeg(file.filehandle, page))
            levels.append((columns, rows, microns, pictures))
    return levels


def by_libjpeg(handle, page):
    """A level in JPEG by another decoder, which gives components as coded."""
    picture = np.full((page.imagelength, page.imagewidth, 3), GLASS, np.uint8)
    tables = (page.jpegtables or b"\xff\xd8\xff\xd9")[:-2]
    across = -(-page.imagewidth // page.tilewidth)
    for index, (offset, length) in enumerate(zip(page.dataoffsets, page.databytecounts)):
        handle.seek(offset)
        tile = libjpeg.decode(tables + handle.read(length)[2:])
        if page.photometric == tifffile.PHOTOMETRIC.YCBCR:
            luma, blue, red = (tile[..., plane].astype(float) for plane in range(3))
            blue, red = blue - 128, red - 128
            tile = np.stack([luma + 1.402 * red, luma - 0.344136 * blue - 0.714136 * red, luma + 1.772 * blue], -1)
            tile = np.clip(np.floor(tile + 0.5), 0, 255).astype(np.uint8)
        top, left = index // across * page.tilelength, index % across * page.tilewidth
        part = picture[top : top + page.tilelength, left : left + page.tilewidth]
        part[:] = tile[: part.shape[0], : part.shape[1]]
    return picture


READERS = {"wsidicom": by_wsidicom, "openslide": by_openslide, "tifffile": by_tifffile}


def by_us(program, path):
    """(header, [picture of each level]) put together from the tiles that the crate gives."""
    done = subprocess.run([program, str(path)], capture_output=True, check=False)
    if done.returncode != 0:
        raise RuntimeError(done.stderr.decode(errors="replace").strip())
    line, rest = done.stdout.split(b"\n", 1)
    header = json.loads(line)
    pictures = [np.full((level["rows"], level["columns"], 3), GLASS, np.uint8) for level in header["levels"]]
    while rest:
        line, rest = rest.split(b"\n", 1)
        words = line.split()
        if words[-1] == b"glass":
            continue
        level, column, row, width, height = map(int, words)
        pixels, rest = rest[: 3 * width * height], rest[3 * width * height :]
        left, top = column * header["levels"][level]["tile_columns"], row * header["levels"][level]["tile_rows"]
        part = pictures[level][top : top + height, left : left + width]
        assert part.shape[:2] == (height, width), f"tile {level} {column} {row} passes its level"
        part[:] = np.frombuffer(pixels, np.uint8).reshape(height, width, 3)
    return header, pictures


def differences(ours, theirs, lossless):
    """What is not equal, in words; nothing if all is well. Also the greatest difference of a sample."""
    header, pictures = ours
    if len(theirs) != len(pictures):
        return f"{len(pictures)} levels, they have {len(theirs)}", 0
    worst = 0
    for number, (level, picture, (columns, rows, microns, expected)) in enumerate(zip(header["levels"], pictures, theirs)):
        if (level["columns"], level["rows"]) != (columns, rows):
            return f"level {number} is {level['columns']} x {level['rows']}, theirs {columns} x {rows}", worst
        if microns is not None and not np.allclose(level["microns_per_pixel"], microns, rtol=1e-6):
            return f"level {number} has {level['microns_per_pixel']} microns, theirs {microns}", worst
        nearest = np.min([np.abs(picture.astype(int) - one.astype(int)) for one in expected], axis=0)
        worst = max(worst, int(nearest.max()))
    limit = 0 if lossless else TOLERANCE
    return ("" if worst <= limit else f"tiles differ by up to {worst} levels"), worst


def golden(folder):
    """Writes the fixtures and what the readers say of them: levels, and pixels of each tile."""
    cases = []
    for path, lossless, readers in make(folder, small=True):
        levels = READERS[readers[0]](path)
        shown = []
        for columns, rows, microns, (picture, *_) in levels:
            points = [(x, y) for y in np.linspace(0, rows - 1, 9, dtype=int) for x in np.linspace(0, columns - 1, 9, dtype=int)]
            pixels = [[int(x), int(y), *map(int, picture[y, x])] for x, y in points]
            shown.append({"columns": columns, "rows": rows, "microns": [round(value, 9) for value in microns], "pixels": pixels})
        cases.append({"file": path.name, "tolerance": 0 if lossless else TOLERANCE, "levels": shown})
    Path(folder, "expected.json").write_text("[\n" + ",\n".join(map(json.dumps, cases)) + "\n]\n")


def main():
    if len(sys.argv) == 3 and sys.argv[1] == "--golden":
        return golden(sys.argv[2])
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    failed = 0
    with tempfile.TemporaryDirectory() as folder:
        for path, lossless, readers in make(folder, small=False):
            try:
                ours = by_us(sys.argv[1], path)
            except (RuntimeError, AssertionError) as error:
                print(f"FAILED {path.name}: {error}")
                failed += 1
                continue
            for reader in readers:
                try:
                    wrong, worst = differences(ours, READERS[reader](path), lossless)
                except Exception as error:  # a reader that gives up must not pass for one that agrees
                    wrong, worst = f"{reader} cannot read it: {error!r}", 0
                failed += bool(wrong)
                levels = len(ours[0]["levels"])
                print(f"FAILED {path.name} as {reader}: {wrong}" if wrong else f"ok     {path.name} as {reader}: {levels} levels, max {worst}")
    print(f"{failed} failed")
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
