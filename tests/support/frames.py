"""Frames of HTTP/2 for tests, in either role: what is sent is not compressed; what comes is read by libnghttp2."""

import ctypes
import ctypes.util
import struct

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PUSH, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = range(10)
END_STREAM, ACK, END_HEADERS, PADDED, WITH_PRIORITY = 0x1, 0x1, 0x4, 0x8, 0x20


class _Field(ctypes.Structure):
    _fields_ = [("name", ctypes.c_void_p), ("value", ctypes.c_void_p), ("name_size", ctypes.c_size_t),
                ("value_size", ctypes.c_size_t), ("flags", ctypes.c_uint8)]


_LIBRARY = ctypes.CDLL(ctypes.util.find_library("nghttp2") or "libnghttp2.so.14")
_LIBRARY.nghttp2_hd_inflate_hd2.restype = ctypes.c_ssize_t
_LIBRARY.nghttp2_hd_inflate_hd2.argtypes = [
    ctypes.c_void_p, ctypes.POINTER(_Field), ctypes.POINTER(ctypes.c_int), ctypes.c_void_p,
    ctypes.c_size_t, ctypes.c_int]


class Inflater:
    """RFC 7541, one direction of one connection."""

    def __init__(self):
        self.state = ctypes.c_void_p()
        _LIBRARY.nghttp2_hd_inflate_new(ctypes.byref(self.state))

    def __del__(self):
        _LIBRARY.nghttp2_hd_inflate_del(self.state)

    def read(self, block):
        """The fields of one whole header block; ValueError when it does not decompress."""
        fields = []
        while True:
            field, flags = _Field(), ctypes.c_int()
            used = _LIBRARY.nghttp2_hd_inflate_hd2(self.state, ctypes.byref(field), ctypes.byref(flags),
                                                   block, len(block), 1)
            if used < 0:
                raise ValueError(f"header block: error {used}")
            block = block[used:]
            if flags.value & 2:
                fields.append((ctypes.string_at(field.name, field.name_size).decode("latin-1"),
                               ctypes.string_at(field.value, field.value_size).decode("latin-1")))
            if flags.value & 1:
                _LIBRARY.nghttp2_hd_inflate_end_headers(self.state)
                return fields


def integer(value, bits=7, first=0):
    """RFC 7541 section 5.1, in the low `bits` of a byte that begins as `first`."""
    most = (1 << bits) - 1
    if value < most:
        return bytes([first | value])
    out, value = [first | most], value - most
    while value >= 128:
        out.append(value % 128 + 128)
        value //= 128
    return bytes([*out, value])


def text(value):
    value = value.encode("latin-1") if isinstance(value, str) else value
    return integer(len(value)) + value


def header_block(fields):
    """Literals without indexing."""
    return b"".join(b"\0" + text(name) + text(value) for name, value in fields)


def frame(kind, flags=0, stream=0, payload=b""):
    return struct.pack(">I", len(payload))[1:] + struct.pack(">BBI", kind, flags, stream) + payload
