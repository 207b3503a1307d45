"""SHA-256 of a DICOM file's data set: all that follows the meta header, as it travelled."""

import hashlib
import struct


def digest(path):
    """The digest, or None where the file is no DICOM file."""
    data = path.read_bytes()
    if data[128:132] != b"DICM":
        return None
    at = 132
    while data[at : at + 2] == b"\x02\x00":
        long = data[at + 4 : at + 6] in (b"OB", b"OW", b"UN", b"UT", b"SQ")
        length = struct.unpack_from("<I", data, at + 8)[0] if long else struct.unpack_from("<H", data, at + 6)[0]
        at += (12 if long else 8) + length
    return hashlib.sha256(data[at:]).hexdigest()


def below(folder):
    """Digest to path, of every DICOM file below a folder."""
    found = {digest(path): path for path in sorted(folder.rglob("*")) if path.is_file()}
    found.pop(None, None)
    return found
