"""One C-STORE with exactly the bytes given: for objects that no honest toolkit would send (PS3.7 §9.3.1, PS3.8 §9.3)."""

import socket
import struct

APPLICATION_CONTEXT = b"1.2.840.10008.3.1.1.1"
CONTEXT = 1
MAX_PDV = 16 << 10


def item(kind, body):
    """An item or sub-item of an association PDU."""
    return struct.pack(">BxH", kind, len(body)) + body


def association_request(calling, called, sop_class, transfer_syntax):
    presentation = struct.pack(">BxBx", CONTEXT, 0) + item(0x30, sop_class) + item(0x40, transfer_syntax)
    user = item(0x51, struct.pack(">I", MAX_PDV)) + item(0x52, b"2.25.1")
    body = struct.pack(">Hxx16s16s32x", 1, called.ljust(16), calling.ljust(16))
    body += item(0x10, APPLICATION_CONTEXT) + item(0x20, presentation) + item(0x50, user)
    return struct.pack(">BxI", 1, len(body)) + body


def element(number, value):
    """A command element, implicit little endian."""
    return struct.pack("<HHI", 0, number, len(value)) + value


def store_command(sop_class, instance):
    """C-STORE-RQ. `instance` is taken as it is, padded to even length only."""
    even = lambda uid: uid + b"\0" * (len(uid) % 2)
    short = lambda number, value: element(number, struct.pack("<H", value))
    body = element(0x0002, even(sop_class)) + short(0x0100, 0x0001) + short(0x0110, 1) + short(0x0700, 0)
    body += short(0x0800, 0x0000) + element(0x1000, even(instance))
    return element(0x0000, struct.pack("<I", len(body))) + body


def p_data(payload, command):
    """P-DATA-TF PDUs of one PDV each."""
    for start in range(0, max(len(payload), 1), MAX_PDV - 6):
        part = payload[start : start + MAX_PDV - 6]
        last = start + len(part) >= len(payload)
        control = (1 if command else 0) | (2 if last else 0)
        yield struct.pack(">BxIIBB", 4, len(part) + 6, len(part) + 2, CONTEXT, control) + part


def receive(connection):
    """(type, body) of the next PDU."""
    def exactly(count):
        data = b""
        while len(data) < count:
            part = connection.recv(count - len(data))
            if not part:
                raise ConnectionError(f"peer closed after {len(data)} of {count} bytes")
            data += part
        return data

    kind, length = struct.unpack(">BxI", exactly(6))
    return kind, exactly(length)


def store(address, calling, called, sop_class, transfer_syntax, instance, data_set):
    """(status, error comment) of the response; ConnectionError where the peer ends the association instead."""
    with socket.create_connection(address, timeout=60) as connection:
        connection.sendall(association_request(calling, called, sop_class, transfer_syntax))
        kind, body = receive(connection)
        if kind != 2:
            raise ConnectionError(f"association not accepted: PDU type {kind}")
        for pdu in (*p_data(store_command(sop_class, instance), True), *p_data(data_set, False)):
            connection.sendall(pdu)
        kind, body = receive(connection)
        if kind != 4:
            raise ConnectionError(f"no response to C-STORE: PDU type {kind}")
        status, comment, at = None, "", 6
        while at < len(body):
            group, number, length = struct.unpack_from("<HHI", body, at)
            value = body[at + 8 : at + 8 + length]
            if (group, number) == (0, 0x0900):
                status = struct.unpack("<H", value)[0]
            if (group, number) == (0, 0x0902):
                comment = value.decode("ascii").strip()
            at += 8 + length
        connection.sendall(struct.pack(">BxI4x", 5, 4))
        receive(connection)
        return status, comment
