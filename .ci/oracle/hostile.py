"""Objects made to hurt a receiver, and the answer that each must get."""

import struct
from dataclasses import dataclass

from pydicom import dcmread
from pydicom.encaps import encapsulate, generate_frames
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import write_dataset
from pydicom.uid import (
    ExplicitVRLittleEndian,
    JPEGBaseline8Bit,
    SecondaryCaptureImageStorage,
    UltrasoundMultiFrameImageStorage,
    generate_uid,
)

TAKEN, INVALID_INSTANCE, MISMATCH, CANNOT_UNDERSTAND = 0x0000, 0x0117, 0xA900, 0xC000


@dataclass
class Hostile:
    """What is sent, and the status and Error Comment that must come back. `terminal`: the reason that a stored one ends with."""

    name: str
    sop_class: bytes
    transfer_syntax: bytes
    instance: bytes
    data_set: bytes
    status: int
    comment: str
    study: str
    terminal: str = ""


def explicit(group, element, vr, value):
    """An element, explicit VR little endian, padded as UIDs are."""
    value += b"\0" * (len(value) % 2)
    if vr in (b"SQ", b"OB", b"OW", b"UN", b"UT"):
        return struct.pack("<HH2sxxI", group, element, vr, len(value)) + value
    return struct.pack("<HH2sH", group, element, vr, len(value)) + value


def identified(instance, study, tail):
    """The smallest data set that names its object, with `tail` behind."""
    return (
        explicit(0x0008, 0x0016, b"UI", SecondaryCaptureImageStorage.encode())
        + explicit(0x0008, 0x0018, b"UI", instance)
        + explicit(0x0010, 0x0010, b"PN", b"HOSTILE^PATIENT")
        + explicit(0x0020, 0x000D, b"UI", study.encode())
        + explicit(0x0020, 0x000E, b"UI", generate_uid().encode())
        + tail
    )


def capture(name, instance, tail, status, comment, announced=None):
    """A Secondary Capture of little more than `tail`."""
    study = generate_uid()
    return Hostile(
        name=name,
        sop_class=SecondaryCaptureImageStorage.encode(),
        transfer_syntax=ExplicitVRLittleEndian.encode(),
        instance=announced or instance,
        data_set=identified(instance, study, tail),
        status=status,
        comment=comment,
        study=study,
    )


def nested(depth):
    """A sequence in a sequence …, all of undefined length and all closed."""
    opening = struct.pack("<HH2sxxI", 0x0040, 0xA730, b"SQ", 0xFFFFFFFF) + struct.pack("<HHI", 0xFFFE, 0xE000, 0xFFFFFFFF)
    closing = struct.pack("<HHI", 0xFFFE, 0xE00D, 0) + struct.pack("<HHI", 0xFFFE, 0xE0DD, 0)
    return opening * depth + closing * depth


def overstated_frames(name, sample, encapsulated):
    """Eight frames of a real cine that is said to have 3000."""
    cine = dcmread(sample)
    study, instance = generate_uid(), generate_uid()
    cine.StudyInstanceUID, cine.SOPInstanceUID, cine.NumberOfFrames = study, instance, 3000
    if encapsulated:
        syntax = JPEGBaseline8Bit
        frames = generate_frames(cine.PixelData, number_of_frames=120)
        cine.PixelData = encapsulate([next(frames) for _ in range(8)])
    else:
        syntax = ExplicitVRLittleEndian
        cine.PhotometricInterpretation = "RGB"
        cine.PixelData = b"\x40" * (cine.Rows * cine.Columns * 3 * 8)
        cine["PixelData"].is_undefined_length = False
        cine["PixelData"].VR = "OB"
    buffer = DicomBytesIO()
    buffer.is_little_endian, buffer.is_implicit_VR = True, False
    write_dataset(buffer, cine)
    return Hostile(
        name=name,
        sop_class=UltrasoundMultiFrameImageStorage.encode(),
        transfer_syntax=syntax.encode(),
        instance=instance.encode(),
        data_set=buffer.getvalue(),
        status=TAKEN,
        comment="",
        study=study,
        terminal="FRAME_COUNT_MISMATCH",
    )


def all_of_them(cine):
    """The objects; `cine` is a real one of 120 JPEG frames."""
    def beyond(vr, length):
        return struct.pack("<HH2sxxI", 0x0042, 0x0011, vr, length) + b"\0" * 90

    def fresh():
        return generate_uid().encode()

    yield capture("value of 4 GiB in a file of 400 bytes", fresh(), beyond(b"OB", 0xFFFFFFFE), CANNOT_UNDERSTAND, "LENGTH_BEYOND_END")
    yield capture("text of 2 GiB in a file of 400 bytes", fresh(), beyond(b"UT", 0x7FFFFFFE), CANNOT_UNDERSTAND, "LENGTH_BEYOND_END")
    yield capture("1800 sequences in each other", fresh(), nested(1800), CANNOT_UNDERSTAND, "TOO_DEEP")
    yield overstated_frames("8 JPEG frames said to be 3000", cine, encapsulated=True)
    yield overstated_frames("8 plain frames said to be 3000", cine, encapsulated=False)
    for name, uid in {
        "UID that climbs out of a folder": b"../../../../../../tmp/prescreen-escaped",
        "UID of 65 characters": b"1." + b"2" * 63,
        "UID with letters": b"1.2.3.abc",
    }.items():
        yield capture(f"{name}, announced", uid, b"", INVALID_INSTANCE, "")
        yield capture(f"{name}, in the data set only", uid, b"", CANNOT_UNDERSTAND, "INVALID_UID", announced=fresh())
    yield capture("no UID, announced", b"", b"", INVALID_INSTANCE, "")
    yield capture("no UID, in the data set only", b"", b"", CANNOT_UNDERSTAND, "MISSING_ELEMENT", announced=fresh())
    yield capture("data set of another object than announced", fresh(), b"", MISMATCH, "MISMATCH", announced=fresh())
