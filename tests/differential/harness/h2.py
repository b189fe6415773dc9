"""HTTP/2 of the client: raw frames on the connection that is open, in the clear or inside TLS. Steps in README.md."""

import os
import re
import struct
import sys

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "..", "support"))
import frames  # noqa: E402

WAIT = 10.0
CODES = ["NO_ERROR", "PROTOCOL_ERROR", "INTERNAL_ERROR", "FLOW_CONTROL_ERROR", "SETTINGS_TIMEOUT", "STREAM_CLOSED",
         "FRAME_SIZE_ERROR", "REFUSED_STREAM", "CANCEL", "COMPRESSION_ERROR", "CONNECT_ERROR", "ENHANCE_YOUR_CALM",
         "INADEQUATE_SECURITY", "HTTP_1_1_REQUIRED"]
SETTINGS = ["", "table", "push", "streams", "window", "frame", "list"]
KINDS = ["DATA", "HEADERS", "PRIORITY", "RST_STREAM", "SETTINGS", "PUSH_PROMISE", "PING", "GOAWAY", "WINDOW_UPDATE",
         "CONTINUATION"]


def code_name(code):
    return CODES[code] if code < len(CODES) else str(code)


def code_of(word):
    return CODES.index(word) if word in CODES else int(word)


def fields_of(text):
    """`name: value | :pseudo: value`."""
    fields = []
    for part in text.split(" | "):
        if part.strip():
            name, _, value = part.strip().partition(": ") if ": " in part else (part.strip().rstrip(":"), "", "")
            fields.append((name, value))
    return fields


def head_of(text):
    """`[METHOD] /target [host] [| name: value]...`; a pseudo field given replaces the one made up, `:name: -` drops it."""
    line, _, rest = text.partition(" | ")
    words = line.split()
    method = words.pop(0) if words and re.fullmatch(r"[A-Z]+", words[0]) else "GET"
    target = words[0] if words else "/"
    pseudo = {":method": method, ":scheme": "http", ":path": target,
              ":authority": words[1] if len(words) > 1 else "localhost"}
    others = []
    for name, value in fields_of(rest):
        if name in pseudo:
            pseudo[name] = value
        else:
            others.append((name, value))
    return [(name, value) for name, value in pseudo.items() if value != "-"] + others


def render_fields(fields):
    """Pseudo-header fields in one order: theirs means nothing."""
    if fields and fields[0][0].startswith(":"):
        fields = sorted(fields, key=lambda field: field[0] if field[0].startswith(":") else "~")
    return b"".join(f"{name}: {value}\r\n".encode("latin-1") for name, value in fields)


def settings_frame(words):
    payload = b""
    for word in words:
        name, _, value = word.partition("=")
        number = SETTINGS.index(name) if name in SETTINGS else int(name)
        payload += struct.pack(">HI", number, int(value))
    return frames.frame(frames.SETTINGS, 0, 0, payload)


class Exchange:
    """What came on one stream."""

    def __init__(self):
        self.heads = b""
        self.body = b""
        self.trailers = b""
        self.final = False
        self.over = None  # "end" or the reset
        self.shown = False

    def render(self):
        out = self.heads + b"\r\n"
        if self.body:
            out += self.body
        if self.trailers:
            out += b"\n[trailers]\n" + self.trailers
        if self.over != "end":
            out += b"\n[" + (self.over or "unfinished").encode() + b"]"
        return out if out.endswith(b"\n") else out + b"\n"


class Connection:
    """Reads frames from an http.Stream; answers SETTINGS and PING, and opens windows unless told not to."""

    def __init__(self, stream, server=False):
        self.stream = stream
        self.server = server
        self.updates = True
        self.exchanges = {}
        self.next_stream = 1
        self.goaway = []
        self.pongs = 0
        self.settings = None
        self.inflater = frames.Inflater()
        self.block = b""
        self.ending = False
        self.problem = None

    def send(self, data):
        self.stream.sock.settimeout(WAIT)
        try:
            self.stream.sock.sendall(data)
        except OSError:
            pass  # what came before tells

    def exchange(self, number):
        return self.exchanges.setdefault(number, Exchange())

    def more(self, timeout=WAIT):
        """Takes one frame; False at the end of the connection or when nothing comes."""
        if not self.stream.need(9, timeout):
            return False
        size = int.from_bytes(self.stream.buffer[:3], "big")
        if not self.stream.need(9 + size, timeout):
            return False
        head = self.stream.take(9)
        kind, flags, number = struct.unpack(">BBI", head[3:])
        self.take(kind, flags, number & 0x7fffffff, self.stream.take(size))
        return True

    def take(self, kind, flags, number, payload):
        if kind in (frames.DATA, frames.HEADERS) and flags & frames.PADDED:
            payload = payload[1:len(payload) - payload[0]]
        if kind == frames.HEADERS and flags & frames.WITH_PRIORITY:
            payload = payload[5:]
        if kind == frames.SETTINGS and not flags & frames.ACK:
            self.settings = payload
            self.send(frames.frame(frames.SETTINGS, frames.ACK))
        elif kind == frames.PING and flags & frames.ACK:
            self.pongs += 1
        elif kind == frames.PING:
            self.send(frames.frame(frames.PING, frames.ACK, 0, payload))
        elif kind == frames.GOAWAY:
            last, code = struct.unpack(">II", payload[:8])
            self.goaway.append((last, code))
        elif kind == frames.RST_STREAM:
            exchange = self.exchange(number)
            if exchange.over is None:
                exchange.over = "reset " + code_name(struct.unpack(">I", payload)[0])
        elif kind in (frames.HEADERS, frames.CONTINUATION):
            self.take_head(kind, flags, number, payload)
        elif kind == frames.DATA:
            self.take_data(flags, number, payload)

    def take_head(self, kind, flags, number, payload):
        self.block += payload
        if kind == frames.HEADERS:
            self.ending = bool(flags & frames.END_STREAM)
        if not flags & frames.END_HEADERS:
            return
        fields, self.block = self.inflater.read(self.block), b""
        exchange = self.exchange(number)
        if exchange.final:
            exchange.trailers = render_fields(fields)
        else:
            exchange.heads += render_fields(fields)
            exchange.final = self.server or not dict(fields).get(":status", "").startswith("1")
            exchange.fields = fields
        if self.ending:
            exchange.over = exchange.over or "end"

    def take_data(self, flags, number, payload):
        exchange = self.exchange(number)
        exchange.body += payload
        if flags & frames.END_STREAM:
            exchange.over = exchange.over or "end"
        if self.updates and payload:
            more = struct.pack(">I", len(payload))
            self.send(frames.frame(frames.WINDOW_UPDATE, 0, 0, more))
            if exchange.over is None:
                self.send(frames.frame(frames.WINDOW_UPDATE, 0, number, more))

    def head(self, number, fields, end):
        flags = frames.END_HEADERS | (frames.END_STREAM if end else 0)
        block = frames.header_block(fields)
        first, rest = block[:16384], block[16384:]
        self.send(frames.frame(frames.HEADERS, flags if not rest else flags & ~frames.END_HEADERS, number, first))
        while rest:
            piece, rest = rest[:16384], rest[16384:]
            self.send(frames.frame(frames.CONTINUATION, 0 if rest else frames.END_HEADERS, number, piece))

    def data(self, number, data, end):
        while len(data) > 16384:
            self.send(frames.frame(frames.DATA, 0, number, data[:16384]))
            data = data[16384:]
        self.send(frames.frame(frames.DATA, frames.END_STREAM if end else 0, number, data))


STEPS = ("h2", "ask", "data", "zeros", "trailers", "rst", "window", "ping", "frame", "answer", "rest", "noupdates",
         "over")


class Client:
    """The steps of a request script that speak HTTP/2."""

    def __init__(self, client):
        self.client = client
        self.connection = None

    def step(self, word, rest):
        if word == "h2":
            if self.client.stream is None:
                self.client.connect()
            words = rest.split()
            self.connection = Connection(self.client.stream)
            if "noupdates" in words:
                words.remove("noupdates")
                self.connection.updates = False
            self.connection.send(frames.PREFACE + settings_frame(words))
            return
        getattr(self, "on_" + word)(rest)

    def on_ask(self, rest):
        """`@ask [open] [METHOD] /target [host] [| name: value]...`: a stream, ended unless `open`."""
        is_open = rest.startswith("open ")
        connection = self.connection
        number, connection.next_stream = connection.next_stream, connection.next_stream + 2
        text = self.client.side.fill(rest[5:] if is_open else rest)
        connection.head(number, head_of(text), not is_open)

    def on_data(self, rest):
        """`@data STREAM [end] [TEXT]`."""
        number, end, text = self.stream_and_end(rest)
        self.connection.data(number, text.encode("latin-1"), end)

    def on_zeros(self, rest):
        """`@zeros STREAM [end] COUNT`: that many zeros."""
        number, end, text = self.stream_and_end(rest)
        self.connection.data(number, b"0" * int(text), end)

    @staticmethod
    def stream_and_end(rest):
        number, _, rest = rest.partition(" ")
        end = rest == "end" or rest.startswith("end ")
        return int(number), end, rest[4:] if end else rest

    def on_trailers(self, rest):
        number, _, text = rest.partition(" ")
        self.connection.head(int(number), fields_of(text.lstrip("| ")), True)

    def on_rst(self, rest):
        number, _, code = rest.partition(" ")
        self.connection.send(frames.frame(frames.RST_STREAM, 0, int(number), struct.pack(">I", code_of(code or "CANCEL"))))

    def on_window(self, rest):
        number, count = rest.split()
        self.connection.send(frames.frame(frames.WINDOW_UPDATE, 0, int(number), struct.pack(">I", int(count))))

    def on_ping(self, _):
        """Comes back when all before it has been read."""
        connection = self.connection
        before = connection.pongs
        connection.send(frames.frame(frames.PING, 0, 0, b"pingpong"))
        while connection.pongs == before and connection.more():
            pass

    def on_frame(self, rest):
        """`@frame TYPE FLAGS STREAM [PAYLOAD]`; escapes are read."""
        kind, flags, number, *payload = rest.split(" ", 3)
        kind = KINDS.index(kind) if kind in KINDS else int(kind)
        payload = payload[0].encode("latin-1") if payload else b""
        self.connection.send(frames.frame(kind, int(flags), int(number), payload))

    def on_over(self, _):
        """To the end of the connection."""
        while self.connection.more():
            pass

    def on_noupdates(self, _):
        self.connection.updates = False

    def on_answer(self, rest):
        for word in rest.split():
            self.answer(int(word))

    def on_rest(self, _):
        """All streams that were opened, in order."""
        for number in range(1, self.connection.next_stream, 2):
            if not self.connection.exchange(number).shown:
                self.answer(number)

    def answer(self, number):
        connection, out = self.connection, self.client.out
        exchange = connection.exchange(number)
        while exchange.over is None and connection.more():
            pass
        exchange.shown = True
        out.append(f"[stream {number}]\n".encode() + exchange.render())
        if exchange.final:
            self.client.finals += 1

    def settle(self):
        """What became of the connection: whether it still answers, or how it was ended."""
        connection, self.connection = self.connection, None
        if connection is None:
            return False
        before = connection.pongs
        connection.send(frames.frame(frames.PING, 0, 0, b"settled?"))
        while connection.pongs == before and connection.more():
            pass
        while connection.goaway and not connection.stream.ended and connection.more(3.0):
            pass
        for last, code in connection.goaway[-1:]:
            self.client.note(f"GOAWAY {code_name(code)}, last {last}")
        for number, exchange in sorted(connection.exchanges.items()):
            if not exchange.shown:
                self.client.out.append(f"[stream {number}, not asked for]\n".encode() + exchange.render())
        ended = connection.stream.ended
        self.client.note("connection " + ("ended" if ended else "kept"))
        self.client.stream.sock.close()
        self.client.stream = None
        return True


class Backend:
    """A scripted server of HTTP/2, on one connection: `@on REGEX` (of the path) says what a stream is answered."""

    def __init__(self, owner, stream):
        self.owner = owner  # backend.Connection: note(), step()
        self.connection = Connection(stream, server=True)
        self.noted = set()

    def serve(self, rules):
        stream = self.connection.stream
        if not stream.need(len(frames.PREFACE), 60.0):
            return
        if stream.take(len(frames.PREFACE)) != frames.PREFACE:
            self.owner.note("no preface")
            return
        self.connection.send(settings_frame(self.owner.backend.settings))
        ran = set()
        while self.connection.more(60.0):
            for number, exchange in list(self.connection.exchanges.items()):
                if number in ran or not exchange.final:
                    continue
                path = dict(exchange.fields).get(":path", "")
                for regex, early, steps in rules:
                    if regex.search(path):
                        break
                else:
                    self.owner.note("no rule for", path.encode())
                    return
                if exchange.over is None and not early:
                    continue
                ran.add(number)
                if not early:
                    self.note(number)
                for word, rest in steps:
                    self.step(number, word, rest)
        for number in self.connection.exchanges:
            self.note(number)

    def note(self, number):
        if number in self.noted:
            return
        self.noted.add(number)
        exchange = self.connection.exchange(number)
        # Whose turn it is on a shared connection is no matter: streams have no numbers here.
        self.owner.note("stream", exchange.render())

    def step(self, number, word, rest):
        connection = self.connection
        end = rest == "end" or rest.startswith("end ")
        text = rest[4:] if end else rest
        if end or word == "trailers":
            self.note(number)  # before the client knows that it is over
        if word == "head":
            connection.head(number, fields_of(text.lstrip("| ")), end)
        elif word == "data":
            connection.data(number, text.encode("latin-1"), end)
        elif word == "zeros":
            connection.data(number, b"0" * int(text), end)
        elif word == "trailers":
            connection.head(number, fields_of(text.lstrip("| ")), True)
        elif word == "rst":
            exchange = connection.exchange(number)
            exchange.over = exchange.over or "we reset it"
            self.note(number)
            connection.send(frames.frame(frames.RST_STREAM, 0, number, struct.pack(">I", code_of(rest))))
        elif word == "goaway":
            last, code = rest.split()
            last = number if last == "." else int(last)
            connection.send(frames.frame(frames.GOAWAY, 0, 0, struct.pack(">II", last, code_of(code))))
        elif word == "frame":
            kind, flags, stream, *payload = rest.split(" ", 3)
            kind = KINDS.index(kind) if kind in KINDS else int(kind)
            stream = number if stream == "." else int(stream)
            connection.send(frames.frame(kind, int(flags), stream, payload[0].encode("latin-1") if payload else b""))
        elif word == "rest":  # the request to its end
            record = self.owner.backend.record
            with record.lock:
                record.waiting += 1
            exchange = connection.exchange(number)
            while exchange.over is None and connection.more():
                pass
            self.note(number)
            with record.settled:
                record.waiting -= 1
                record.settled.notify_all()
        else:
            self.owner.step(word, rest)
