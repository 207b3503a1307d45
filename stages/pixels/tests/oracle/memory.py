#!/usr/bin/env python3
"""Measures the memory that decoding takes: honest cines and slides, and the bad inputs that take gigabytes if read naively.

    VENV/bin/pip install pydicom numpy imagecodecs
    VENV/bin/python stages/pixels/tests/oracle/memory.py TARGET/debug/examples/decode

Each file is decoded in a process of its own, whose peak resident memory and end are checked: 100 MB for a 600-frame cine and a
slide of 768 tiles, 256 MB for everything else; no signal, no panic. Exit 1 if one of them takes more.
"""

import json
import os
import struct
import subprocess
import sys
import tempfile
import time
import zlib
from pathlib import Path

MB = 1_000_000
EXPLICIT, DEFLATED, RLE = "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.1.99", "1.2.840.10008.1.2.5"
JPEG, JPEG_2000, JPEG_XL = "1.2.840.10008.1.2.4.50", "1.2.840.10008.1.2.4.90", "1.2.840.10008.1.2.4.110"
LONG = {"OB", "OW", "SQ", "UN", "UT"}


def element(group, number, vr, value, length=None):
    value += b"\0" * (len(value) % 2) if vr in ("UI", "OB") else b" " * (len(value) % 2)
    length = len(value) if length is None else length
    head = struct.pack("<HH2s", group, number, vr.encode())
    return head + (struct.pack("<HI", 0, length) if vr in LONG else struct.pack("<H", length)) + value


def item(value):
    value += b"\0" * (len(value) % 2)
    return b"\xfe\xff\x00\xe0" + struct.pack("<I", len(value)) + value


def encapsulated(frames):
    body = item(b"") + b"".join(map(item, frames)) + b"\xfe\xff\xdd\xe0\0\0\0\0"
    return element(0x7FE0, 0x0010, "OB", b"", 0xFFFFFFFF) + body


def header(columns, rows, frames="1", samples=1, photometric=b"MONOCHROME2", modality=b"US"):
    us = lambda value: struct.pack("<H", value)
    return [
        element(0x0008, 0x0016, "UI", b"1.2.840.10008.5.1.4.1.1.3.1"),
        element(0x0008, 0x0018, "UI", b"2.25.3"),
        element(0x0008, 0x0060, "CS", modality),
        element(0x0020, 0x000D, "UI", b"2.25.1"),
        element(0x0020, 0x000E, "UI", b"2.25.2"),
        element(0x0028, 0x0002, "US", us(samples)),
        element(0x0028, 0x0004, "CS", photometric),
        element(0x0028, 0x0006, "US", us(0)),
        element(0x0028, 0x0008, "IS", str(frames).encode()),
        element(0x0028, 0x0010, "US", us(rows)),
        element(0x0028, 0x0011, "US", us(columns)),
        element(0x0028, 0x0100, "US", us(8)),
        element(0x0028, 0x0101, "US", us(8)),
        element(0x0028, 0x0102, "US", us(7)),
        element(0x0028, 0x0103, "US", us(0)),
    ]


def file(syntax, data_set):
    return b"\0" * 128 + b"DICM" + element(0x0002, 0x0010, "UI", syntax.encode()) + data_set


def picture(columns, rows):
    """A bright disc on black, with speckle: the mask needs something to find."""
    import numpy as np

    y, x = np.mgrid[:rows, :columns]
    disc = np.hypot(x - columns / 2, y - rows / 2) < 0.42 * rows
    speckle = np.random.default_rng(3).integers(40, 200, (rows, columns, 1))
    return (disc[..., None] * speckle * np.array([1, 0.9, 0.8])).astype(np.uint8)


def nested(depth):
    opening = element(0x0040, 0xA730, "SQ", b"", 0xFFFFFFFF) + b"\xfe\xff\x00\xe0\xff\xff\xff\xff"
    return opening * depth


def rle(count, offset=64):
    return struct.pack("<16I", count, offset, *[0] * 14) + b"\xf9\x07" * 8


def siz(width, height, components, tile):
    size = struct.pack(">8IH", width, height, 0, 0, tile, tile, 0, 0, components) + b"\x07\x01\x01" * components
    return b"\xff\x4f\xff\x51" + struct.pack(">HH", 38 + 3 * components, 0) + size


def cases():
    """(name, bytes, limit in MB, must it decode)."""
    import imagecodecs

    cine = imagecodecs.jpeg8_encode(picture(800, 600), level=80)
    colour = header(800, 600, 600, 3, b"YBR_FULL_422")
    yield "A13: 600-frame cine", file(JPEG, b"".join(colour) + encapsulated([cine] * 600)), 100, True
    tile = imagecodecs.jpeg8_encode(picture(256, 256), level=80)
    slide = header(256, 256, 768, 3, b"YBR_FULL_422", b"SM")
    yield "A13: slide of 768 tiles", file(JPEG, b"".join(slide) + encapsulated([tile] * 768)), 100, True

    plain = b"".join(header(16, 16))
    for length in (0xFFFFFFFE, 0x80000000):
        yield f"rows 1, 2: element of {length:#x} bytes", file(EXPLICIT, plain + element(0x0040, 0xA160, "UT", b"", length)), 256, False
    for depth in (1_800, 200_000):
        yield f"row 3: {depth} nested sequences", file(EXPLICIT, plain + nested(depth)), 256, False
    packer = zlib.compressobj(9, wbits=-15)
    bomb = packer.compress(plain + element(0x7FE0, 0x0010, "OW", b"", 0xC0000000))
    for _ in range(3_000):
        bomb += packer.compress(bytes(1 << 20))
    yield "row 4: 3 GB deflated to 3 MB", file(DEFLATED, bomb + packer.flush()), 256, False
    yield "row 5: 3000 frames declared, 8 there", file(RLE, b"".join(header(800, 600, 3000)) + encapsulated([rle(1)] * 8)), 256, False
    yield "row 6: 2147483647 frames", file(RLE, b"".join(header(800, 600, 2**31 - 1)) + encapsulated([rle(1)])), 256, False
    grey = imagecodecs.jpeg8_encode(picture(16, 16)[..., 0].copy(), level=80)
    start = grey.index(b"\xff\xc0") + 5
    huge = grey[:start] + struct.pack(">HH", 65500, 65500) + grey[start + 4 :]
    yield "row 8: JPEG smaller than its frame header", file(JPEG, b"".join(header(32, 32)) + encapsulated([grey])), 256, False
    yield "row 10: JPEG of 65500 x 65500", file(JPEG, plain + encapsulated([huge])), 256, False
    yield "row 10: JPEG of 65500 x 65500, header alike", file(JPEG, b"".join(header(65500, 65500)) + encapsulated([huge])), 256, False
    yield "row 11: JPEG 2000 of 4 components", file(JPEG_2000, plain + encapsulated([siz(16, 16, 4, 16)])), 256, False
    yield "row 12: JPEG 2000 of 60000 x 60000", file(JPEG_2000, plain + encapsulated([siz(60000, 60000, 1, 60000)])), 256, False
    yield "row 12: JPEG 2000 of 16 million tiles", file(JPEG_2000, b"".join(header(4096, 4096)) + encapsulated([siz(4096, 4096, 1, 1)])), 256, False
    yield "rows 14, 15: RLE of 4294967295 segments", file(RLE, plain + encapsulated([rle(0xFFFFFFFF)])), 256, False
    yield "row 16: RLE cut short", file(RLE, plain + encapsulated([rle(1)[:70]])), 256, False
    yield "row 19: 65535 x 65535", file(RLE, b"".join(header(65535, 65535)) + encapsulated([rle(1)])), 256, False
    xl = imagecodecs.jpegxl_encode(picture(256, 256), lossless=True)
    yield "JPEG XL of another size", file(JPEG_XL, b"".join(header(16, 16, 1, 3, b"RGB")) + encapsulated([xl])), 256, False


def measure(decode, path):
    """Exit status, peak resident memory in MB, seconds, last line."""
    begun = time.monotonic()
    with tempfile.TemporaryFile() as said:
        process = subprocess.Popen([decode, path, "--all"], stdout=said, stderr=subprocess.STDOUT)
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        said.seek(0)
        line = said.read().decode(errors="replace").strip().splitlines()
    return process.returncode, usage.ru_maxrss * 1024 / MB, time.monotonic() - begun, line[-1] if line else ""


def make(folder):
    """Writes the files, in a process of its own: the kernel counts the memory of who starts a process as that process's own."""
    made = []
    for number, (name, data, limit, decodes) in enumerate(cases()):
        Path(folder, f"{number}.dcm").write_bytes(data)
        made.append([name, limit, decodes])
    Path(folder, "cases.json").write_text(json.dumps(made))


def main():
    if sys.argv[1:2] == ["--make"]:
        return make(sys.argv[2])
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    failed = []
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run([sys.executable, __file__, "--make", folder], check=True)
        made = json.loads(Path(folder, "cases.json").read_text())
        for number, (name, limit, decodes) in enumerate(made):
            code, peak, seconds, line = measure(sys.argv[1], Path(folder, f"{number}.dcm"))
            ok = peak < limit and code == (0 if decodes else 1) and "panicked" not in line
            print(f"{'ok' if ok else 'FAILED':<7} {name:<46} {peak:6.1f} MB {seconds:6.2f} s  {line[:90]}")
            if not ok:
                failed.append(name)
    if failed:
        sys.exit(f"not as they should be: {'; '.join(failed)}")
    print(f"{len(made)} files within their limits")


if __name__ == "__main__":
    main()
