"""A raw HTTP/2 connection for tests: sends any frame, reads frames; HPACK by libnghttp2."""

import collections
import socket
import ssl
import struct

from harness import PATIENCE
from frames import (  # noqa: F401
    ACK, CONTINUATION, DATA, END_HEADERS, END_STREAM, GOAWAY, HEADERS, PING, PREFACE, PRIORITY, PUSH, SETTINGS,
    Inflater, frame, header_block)
from frames import RST_STREAM as RST
from frames import WINDOW_UPDATE as WINDOW

NO_ERROR, PROTOCOL_ERROR, INTERNAL_ERROR, FLOW_CONTROL_ERROR = 0, 1, 2, 3
REFUSED_STREAM, CANCEL, ENHANCE_YOUR_CALM = 7, 8, 11

Frame = collections.namedtuple("Frame", "type flags stream payload")


class Stream:
    """What came for one request."""

    def __init__(self):
        self.interim = []
        self.status = None
        self.fields = []
        self.trailers = []
        self.body = b""
        self.ended = False
        self.reset = None

    def get(self, name):
        values = [value for field, value in self.fields if field == name]
        return ", ".join(values) if values else None


class Http2:
    """One connection. Windows are opened as data comes, unless `window` is False."""

    def __init__(self, port, tls=None, settings=(), window=True, start=True):
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=PATIENCE)
        if tls:
            context = ssl.create_default_context()
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
            context.set_alpn_protocols(["h2"])
            self.socket = context.wrap_socket(self.socket, server_hostname=tls)
        self.window = window
        self.buffer = b""
        self.next_stream = 1
        self.streams = collections.defaultdict(Stream)
        self.settings = {}
        self.goaway = []  # (last stream, code)
        self.pongs = 0
        self.frames = []
        self.ended = False
        self._inflater = Inflater()
        self._block = b""
        if start:
            payload = b"".join(struct.pack(">HI", *pair) for pair in settings)
            self.send(PREFACE + frame(SETTINGS, 0, 0, payload))

    def send(self, data):
        self.socket.sendall(data)

    def close(self):
        self.socket.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    # --- requests

    def head(self, target="/", method="GET", host="localhost", fields=(), scheme="http"):
        return header_block([(":method", method), (":scheme", scheme), (":path", target),
                             (":authority", host), *fields])

    def connect(self, target="/", protocol="websocket", fields=()):
        """An extended CONNECT (RFC 8441)."""
        stream = self.next_stream
        self.next_stream += 2
        block = header_block([(":method", "CONNECT"), (":protocol", protocol), (":scheme", "http"),
                              (":path", target), (":authority", "localhost"),
                              ("sec-websocket-version", "13"), *fields])
        self.send(frame(HEADERS, END_HEADERS, stream, block))
        return stream

    def ask(self, target="/", method="GET", host="localhost", fields=(), end=True, scheme="http"):
        stream = self.next_stream
        self.next_stream += 2
        flags = END_HEADERS | (END_STREAM if end else 0)
        self.send(frame(HEADERS, flags, stream, self.head(target, method, host, fields, scheme)))
        return stream

    def data(self, stream, body, end=False):
        while len(body) > 16384:
            self.send(frame(DATA, 0, stream, body[:16384]))
            body = body[16384:]
        self.send(frame(DATA, END_STREAM if end else 0, stream, body))

    def trailers(self, stream, fields):
        self.send(frame(HEADERS, END_HEADERS | END_STREAM, stream, header_block(fields)))

    def rst(self, stream, code=CANCEL):
        self.send(frame(RST, 0, stream, struct.pack(">I", code)))

    def open_window(self, stream, count):
        self.send(frame(WINDOW, 0, stream, struct.pack(">I", count)))

    def ping(self):
        self.send(frame(PING, 0, 0, b"pingpong"))

    # --- answers

    def read_frame(self):
        """The next frame; None at the end of the connection."""
        while True:
            if len(self.buffer) >= 9:
                size = int.from_bytes(self.buffer[:3], "big")
                if len(self.buffer) >= 9 + size:
                    break
            try:
                data = self.socket.recv(65536)
            except ConnectionResetError:
                data = b""
            if not data:
                self.ended = True
                return None
            self.buffer += data
        kind, flags, stream = struct.unpack(">BBI", self.buffer[3:9])
        payload, self.buffer = self.buffer[9:9 + size], self.buffer[9 + size:]
        got = Frame(kind, flags, stream & 0x7fffffff, payload)
        self.frames.append(got)
        self._take(got)
        return got

    def _take(self, got):
        stream = self.streams[got.stream] if got.stream else None
        if got.type == SETTINGS and not got.flags & ACK:
            for at in range(0, len(got.payload), 6):
                name, value = struct.unpack(">HI", got.payload[at:at + 6])
                self.settings[name] = value
            self.send(frame(SETTINGS, ACK, 0))
        elif got.type == PING and got.flags & ACK:
            self.pongs += 1
        elif got.type == PING:
            self.send(frame(PING, ACK, 0, got.payload))
        elif got.type == GOAWAY:
            self.goaway.append(struct.unpack(">II", got.payload[:8]))
        elif got.type == RST:
            stream.reset = struct.unpack(">I", got.payload)[0]
        elif got.type in (HEADERS, CONTINUATION):
            self._block += got.payload
            if got.type == HEADERS:
                self._ends = bool(got.flags & END_STREAM)
            if got.flags & END_HEADERS:
                fields, self._block = self._inflater.read(self._block), b""
                self._head(stream, fields)
                stream.ended = stream.ended or self._ends
        elif got.type == DATA:
            stream.body += got.payload
            stream.ended = stream.ended or bool(got.flags & END_STREAM)
            if self.window and got.payload:
                self.open_window(0, len(got.payload))
                if not stream.ended:
                    self.open_window(got.stream, len(got.payload))

    @staticmethod
    def _head(stream, fields):
        status = dict(fields).get(":status")
        if status is None:
            stream.trailers = fields
        elif status.startswith("1"):
            stream.interim.append((int(status), fields[1:]))
        else:
            stream.status = int(status)
            stream.fields = fields[1:]

    def until(self, condition):
        """Reads frames until it holds; fails at the end of the connection."""
        while not condition():
            if self.read_frame() is None:
                if condition():
                    return
                raise AssertionError(f"connection ended; GOAWAY {self.goaway}")

    def answer(self, stream):
        """The whole answer of a stream, or its reset."""
        got = self.streams[stream]
        self.until(lambda: got.ended or got.reset is not None)
        return got

    def get(self, target="/", **more):
        return self.answer(self.ask(target, **more))

    def wait_end(self):
        while self.read_frame() is not None:
            pass

    def barrier(self):
        """All that was sent has been worked on."""
        count = self.pongs
        self.ping()
        self.until(lambda: self.pongs > count)
