"""HTTP/2 frame by frame, for clients and backends of tests: what a library would hide can be seen and
sent. Header compression is read with libnghttp2's decoder; what is sent is not compressed.
"""

import collections
import queue
import select
import socket
import ssl
import struct
import threading

import harness  # noqa: F401 (puts tests/support on the path)
from frames import (  # noqa: F401
    ACK, DATA, END_HEADERS, END_STREAM, GOAWAY, HEADERS, PADDED, PING, PREFACE, PRIORITY, RST_STREAM, SETTINGS,
    WINDOW_UPDATE, WITH_PRIORITY, Inflater, frame, header_block)

NO_ERROR, PROTOCOL_ERROR, INTERNAL_ERROR, REFUSED_STREAM, CANCEL = 0, 1, 2, 7, 8
MAX_CONCURRENT_STREAMS, INITIAL_WINDOW_SIZE, ENABLE_CONNECT_PROTOCOL = 3, 4, 8
WINDOW = 65535
WANTED_WINDOW = 1 << 20
PATIENCE = 30

Event = collections.namedtuple("Event", "kind value")


class SafeTls:
    """A TLS socket that one thread may read while another writes."""

    def __init__(self, secure):
        secure.setblocking(False)
        self.secure = secure
        self.lock = threading.Lock()

    def recv(self, size):
        while True:
            with self.lock:
                try:
                    return self.secure.recv(size)
                except ssl.SSLWantReadError:
                    wait = ([self.secure], [])
                except ssl.SSLWantWriteError:
                    wait = ([], [self.secure])
            select.select(*wait, [], 0.05)

    def sendall(self, data):
        while data:
            with self.lock:
                try:
                    data = data[self.secure.send(data):]
                    continue
                except ssl.SSLWantReadError:
                    wait = ([self.secure], [])
                except ssl.SSLWantWriteError:
                    wait = ([], [self.secure])
            select.select(*wait, [], 0.05)

    def shutdown(self, how):
        self.secure.shutdown(how)

    def close(self):
        with self.lock:
            self.secure.close()


class Stream:
    """One stream: what came, as events in order, and what is sent."""

    def __init__(self, peer, number):
        self.peer = peer
        self.number = number
        self.events = queue.Queue()
        self.window = peer.initial_window
        self.had_head = False
        self.was_reset = False  # by the peer
        self.gave_up = False    # we reset it: nothing more is said on it
        self.head = None  # backend: what was asked

    def next(self, patience=PATIENCE):
        try:
            return self.events.get(timeout=patience)
        except queue.Empty:
            raise AssertionError(f"nothing came on stream {self.number}") from None

    def send_head(self, fields, end=False):
        self.peer.send(HEADERS, END_HEADERS | (END_STREAM if end else 0), self.number, header_block(fields))

    def send_data(self, data, end=False):
        """Waits for the peer's window, as it must; an error when the peer resets the stream."""
        data = memoryview(data)
        while True:
            size = self.peer.reserve(self, len(data)) if data else 0
            last = end and size == len(data)
            self.peer.send(DATA, END_STREAM if last else 0, self.number, bytes(data[:size]))
            data = data[size:]
            if not data:
                return

    def send_trailers(self, fields):
        self.send_head(fields, end=True)

    def reset(self, code=CANCEL):
        self.gave_up = True
        self.peer.send(RST_STREAM, 0, self.number, struct.pack(">I", code))

    def read_head(self, patience=PATIENCE):
        """The final head as a dict; what else comes first is an error."""
        while True:
            event = self.next(patience)
            if event.kind != "head":
                raise AssertionError(f"{event} instead of a head")
            fields = dict(event.value)
            if not fields.get(":status", "200").startswith("1"):
                return fields

    def read_rest(self, patience=PATIENCE):
        """Body, trailers (None: none), and the code of a reset (None: a clean end)."""
        body, trailers = [], None
        while True:
            event = self.next(patience)
            if event.kind == "data":
                body.append(event.value)
            elif event.kind in ("head", "trailers"):
                trailers = event.value
            elif event.kind == "end":
                return b"".join(body), trailers, None
            else:
                return b"".join(body), trailers, event.value


class Peer:
    """One connection in either role. A thread reads frames and answers what has to be answered."""

    def __init__(self, connection, server=False, on_stream=None, settings=()):
        self.connection = connection
        self.server = server
        self.on_stream = on_stream
        self.streams = {}
        self.next_number = 1
        self.initial_window = WINDOW
        self.window = WINDOW
        self.settings = {}
        self.goaway = None
        self.closed = threading.Event()
        self._inflater = Inflater()
        self._sending = threading.Lock()
        self._windows = threading.Condition()
        if not server:
            self._write(PREFACE)
        wanted = [(INITIAL_WINDOW_SIZE, WANTED_WINDOW), *settings]
        self.send(SETTINGS, 0, 0, b"".join(struct.pack(">HI", *setting) for setting in wanted))
        self.send(WINDOW_UPDATE, 0, 0, struct.pack(">I", WANTED_WINDOW))
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    # --- sending

    def _write(self, data):
        with self._sending:
            self.connection.sendall(data)

    def send(self, kind, flags=0, stream=0, payload=b""):
        self._write(frame(kind, flags, stream, payload))

    def open(self, fields, end=True):
        """Client: a stream with this head."""
        with self._windows:
            stream = self.streams[self.next_number] = Stream(self, self.next_number)
            self.next_number += 2
        stream.send_head(fields, end)
        return stream

    def reserve(self, stream, size):
        with self._windows:
            def room():
                return min(stream.window, self.window, 16384) > 0 or over()

            def over():
                return self.closed.is_set() or stream.was_reset

            if not self._windows.wait_for(room, PATIENCE):
                raise AssertionError("the window did not open")
            if over():
                raise ConnectionResetError
            size = min(size, stream.window, self.window, 16384)
            stream.window -= size
            self.window -= size
            return size

    def close(self):
        try:
            self.connection.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        self.connection.close()

    # --- receiving

    def _read(self, size):
        data = b""
        while len(data) < size:
            more = self.connection.recv(size - len(data))
            if not more:
                raise ConnectionResetError
            data += more
        return data

    def _run(self):
        try:
            if self.server and self._read(len(PREFACE)) != PREFACE:
                return
            while True:
                self._frame()
        except (OSError, ValueError):
            pass
        finally:
            self.closed.set()
            with self._windows:
                self._windows.notify_all()
            for stream in list(self.streams.values()):
                stream.events.put(Event("closed", -1))

    def _frame(self):
        head = self._read(9)
        size, kind, flags = struct.unpack(">I", b"\0" + head[:3])[0], head[3], head[4]
        number = struct.unpack(">I", head[5:])[0] & 0x7fffffff
        payload = self._read(size)
        if kind == DATA:
            self._on_data(number, flags, payload)
        elif kind == HEADERS:
            self._on_headers(number, flags, payload)
        elif kind == RST_STREAM and number in self.streams:
            self.streams[number].events.put(Event("reset", struct.unpack(">I", payload)[0]))
            with self._windows:
                self.streams[number].was_reset = True
                self._windows.notify_all()
        elif kind == SETTINGS and not flags & ACK:
            self._on_settings(payload)
        elif kind == PING and not flags & ACK:
            self.send(PING, ACK, 0, payload)
        elif kind == GOAWAY:
            self.goaway = struct.unpack(">II", payload[:8])
        elif kind == WINDOW_UPDATE:
            self._on_window(number, struct.unpack(">I", payload)[0])

    def _on_settings(self, payload):
        with self._windows:
            for at in range(0, len(payload), 6):
                name, value = struct.unpack(">HI", payload[at:at + 6])
                self.settings[name] = value
                if name == INITIAL_WINDOW_SIZE:
                    for stream in self.streams.values():
                        stream.window += value - self.initial_window
                    self.initial_window = value
            self._windows.notify_all()
        self.send(SETTINGS, ACK)

    def _on_window(self, number, more):
        with self._windows:
            if number == 0:
                self.window += more
            elif number in self.streams:
                self.streams[number].window += more
            self._windows.notify_all()

    def _on_data(self, number, flags, payload):
        if payload:
            self.send(WINDOW_UPDATE, 0, 0, struct.pack(">I", len(payload)))
            known = self.streams.get(number)
            if known and not known.gave_up and not flags & END_STREAM:
                self.send(WINDOW_UPDATE, 0, number, struct.pack(">I", len(payload)))
        if flags & PADDED:
            payload = payload[1:len(payload) - payload[0]]
        stream = self.streams.get(number)
        if stream is None:
            return
        if payload:
            stream.events.put(Event("data", payload))
        if flags & END_STREAM:
            stream.events.put(Event("end", None))

    def _on_headers(self, number, flags, payload):
        if flags & PADDED:
            payload = payload[1:len(payload) - payload[0]]
        if flags & WITH_PRIORITY:
            payload = payload[5:]
        while not flags & END_HEADERS:
            head = self._read(9)
            payload += self._read(struct.unpack(">I", b"\0" + head[:3])[0])
            flags |= head[4] & END_HEADERS
        fields = self._inflater.read(payload)
        stream = self.streams.get(number)
        if stream is None:
            with self._windows:
                stream = self.streams[number] = Stream(self, number)
        if stream.had_head or not self.server:
            stream.events.put(Event("trailers" if stream.had_head else "head", fields))
        if self.server or not dict(fields).get(":status", "").startswith("1"):
            first = not stream.had_head
            stream.had_head = True
        else:
            first = False
        if flags & END_STREAM:
            stream.events.put(Event("end", None))
        if self.server and first:
            stream.head = fields
            threading.Thread(target=self._serve, args=(stream,), daemon=True).start()

    def _serve(self, stream):
        try:
            self.on_stream(stream)
        except (OSError, AssertionError):
            pass


def connect(port, context=None, name="localhost", settings=()):
    """A client connection: prior knowledge, or TLS with ALPN when a context is given."""
    plain = socket.create_connection(("127.0.0.1", port), timeout=PATIENCE)
    plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    if context is None:
        plain.settimeout(None)
        return Peer(plain, settings=settings)
    context.set_alpn_protocols(["h2"])
    secure = context.wrap_socket(plain, server_hostname=name)
    if secure.selected_alpn_protocol() != "h2":
        raise AssertionError(f"protocol is {secure.selected_alpn_protocol()}, not h2")
    return Peer(SafeTls(secure), settings=settings)


class Server:
    """A backend: `on_stream(stream)` runs in a thread of its own for each stream."""

    def __init__(self, on_stream, context=None, settings=()):
        self.on_stream = on_stream
        self.context = context
        self.settings = settings
        self.peers = []
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=256)
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        while True:
            try:
                plain, _ = self._listener.accept()
            except OSError:
                return
            plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            threading.Thread(target=self._begin, args=(plain,), daemon=True).start()

    def _begin(self, plain):
        try:
            if self.context:
                plain = SafeTls(self.context.wrap_socket(plain, server_side=True))
            self.peers.append(Peer(plain, True, self.on_stream, self.settings))
        except OSError:
            plain.close()

    def stop(self):
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for peer in self.peers:
            peer.close()


def message(data, compressed=0):
    """A gRPC message as it is in DATA frames."""
    return struct.pack(">BI", compressed, len(data)) + data


def messages(data):
    """The gRPC messages in a body."""
    found = []
    while data:
        size = struct.unpack(">I", data[1:5])[0]
        if len(data) < 5 + size:
            raise AssertionError("a part of a message")
        found.append(data[5:5 + size])
        data = data[5 + size:]
    return found
