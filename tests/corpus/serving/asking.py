"""The clients: one exchange with a server, written down as text that two servers' answers can be compared by."""

import hashlib
import pathlib
import re
import socket
import ssl
import sys
import warnings

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "support"))
from frames import END_HEADERS, END_STREAM, HEADERS, PREFACE, SETTINGS, Inflater, frame, header_block  # noqa: E402
import frames  # noqa: E402

UNANSWERED = "<no answer>"
PROXY_LINE = b"PROXY TCP4 203.0.113.9 203.0.113.10 4000 80\r\n"
LONGEST_BODY = 20_000  # longer ones are compared by their sum


def context_for(protocols):
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    with warnings.catch_warnings():  # old servers are the point
        warnings.simplefilter("ignore")
        context.minimum_version = ssl.TLSVersion.TLSv1
    context.set_ciphers("ALL:@SECLEVEL=0")
    if protocols:
        context.set_alpn_protocols(protocols)
    return context


CONTEXTS = {protocol: context_for(protocol) for protocol in ((), ("h2",))}


def connect(place, root, patience, host=None, protocols=()):
    if place.family == "unix":
        sock, where = socket.socket(socket.AF_UNIX), root + place.address
    elif place.family == "ipv6":
        sock, where = socket.socket(socket.AF_INET6), (place.address, place.port)
    else:
        sock, where = socket.socket(), (place.address, place.port)
    try:
        sock.settimeout(patience)
        sock.connect(where)
        if "proxy_protocol" in place.options:
            sock.sendall(PROXY_LINE)
        if place.tls:
            name = host if host and re.fullmatch(r"[A-Za-z0-9._-]+", host) else None
            sock = CONTEXTS[protocols].wrap_socket(sock, server_hostname=name)
        return sock
    except OSError:
        sock.close()
        raise


class Ended(Exception):
    """The connection ended inside an answer."""


class Reader:
    """Answers of HTTP/1 from a connection."""

    def __init__(self, sock):
        self.sock = sock
        self.data = b""

    def more(self):
        got = self.sock.recv(65536)
        if not got:
            raise Ended
        self.data += got

    def until(self, end):
        while end not in self.data:
            self.more()
        head, self.data = self.data.split(end, 1)
        return head

    def exactly(self, count):
        while len(self.data) < count:
            self.more()
        body, self.data = self.data[:count], self.data[count:]
        return body

    def rest(self):
        try:
            while True:
                self.more()
        except Ended:
            body, self.data = self.data, b""
            return body

    def chunks(self):
        body = b""
        while True:
            part = self.exactly(int(self.until(b"\r\n").split(b";")[0], 16))
            self.until(b"\r\n")
            if not part:
                return body
            body += part

    def answer(self, method):
        """(text of the answer, whether the connection goes on)."""
        while True:
            lines = self.until(b"\r\n\r\n").decode("latin-1").split("\r\n")
            status = lines[0].split(" ")[1] if " " in lines[0] else ""
            if not status.startswith("1") or status == "101":
                break
        fields = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines[1:])}
        if status == "101":
            return written(lines[0], lines[1:], self.until(b"\n.\n")), False
        if method == "HEAD" or status in ("204", "304"):
            body = b""
        elif "chunked" in fields.get("transfer-encoding", ""):
            body = self.chunks()
        elif "content-length" in fields:
            body = self.exactly(int(fields["content-length"]))
        else:
            return written(lines[0], lines[1:], self.rest()), False
        return written(lines[0], lines[1:], body), fields.get("connection", "").lower() != "close"


def written(first, fields, body):
    if len(body) > LONGEST_BODY:
        body = f"{len(body)} bytes {hashlib.sha1(body).hexdigest()}".encode()
    return "\n".join([first.rstrip(), *sorted(fields), "", body.decode("latin-1"), ""])


def guarded(exchange):
    """What an exchange got, with the way in which it failed."""
    def run(probe, root, patience):
        out = []
        try:
            exchange(probe, root, patience, out)
        except Ended:
            out.append("<end of connection>")
        except TimeoutError:
            out.append(UNANSWERED)
        except ssl.SSLError as error:
            out.append(f"<TLS {error.reason}>")
        except OSError as error:
            out.append(f"<{type(error).__name__}>")
        return "".join(out)
    return run


@guarded
def ask_http1(probe, root, patience, out):
    with connect(probe.place, root, patience, probe.host) as sock:
        reader = Reader(sock)
        for request in probe.requests:
            sock.sendall(request)
            text, goes_on = reader.answer(request.split(b" ", 1)[0].decode("latin-1"))
            out.append(text)
            if not goes_on:
                return


@guarded
def ask_pipelined(probe, root, patience, out):
    with connect(probe.place, root, patience, probe.host) as sock:
        reader = Reader(sock)
        sock.sendall(b"".join(probe.requests))
        for request in probe.requests:
            text, goes_on = reader.answer(request.split(b" ", 1)[0].decode("latin-1"))
            out.append(text)
            if not goes_on:
                return


class Stream:
    """One request's answer of HTTP/2."""

    def __init__(self):
        self.fields = []
        self.body = b""
        self.ended = False

    def take(self, kind, flags, payload, inflater):
        if kind == HEADERS:
            self.fields += inflater.read(payload)
        elif kind == frames.DATA:
            self.body += payload
        elif kind == frames.RST_STREAM:
            self.fields.append((":reset", str(int.from_bytes(payload, "big"))))
        self.ended = self.ended or kind == frames.RST_STREAM or bool(flags & END_STREAM)

    def written(self):
        status = dict(self.fields).get(":status", "none")
        fields = [f"{name}: {value}" for name, value in self.fields if name != ":status"]
        return written(f"HTTP/2 {status}", fields, self.body)


@guarded
def ask_http2(probe, root, patience, out):
    """Every request of the probe is a list of fields; all go on one connection, one after the other."""
    window = (2**31 - 1 - 65535).to_bytes(4, "big")
    with connect(probe.place, root, patience, probe.host, ("h2",) if probe.place.tls else ()) as sock:
        if probe.place.tls and sock.selected_alpn_protocol() != "h2":
            out.append("<no h2>")
            return
        reader, inflater, number = Reader(sock), Inflater(), 1
        sock.sendall(PREFACE + frame(SETTINGS, 0, 0, b"\0\4\x7f\xff\xff\xff") + frame(frames.WINDOW_UPDATE, 0, 0, window))
        for fields in probe.requests:
            stream = Stream()
            sock.sendall(frame(HEADERS, END_HEADERS | END_STREAM, number, header_block(fields)))
            while not stream.ended:
                head = reader.exactly(9)
                payload = reader.exactly(int.from_bytes(head[:3], "big"))
                kind, flags, identifier = head[3], head[4], int.from_bytes(head[5:], "big")
                if kind == SETTINGS and not flags & frames.ACK:
                    sock.sendall(frame(SETTINGS, frames.ACK, 0))
                elif kind == frames.GOAWAY and any(payload[4:8]):
                    out.append(f"<GOAWAY {int.from_bytes(payload[4:8], 'big')}>")
                    return
                elif identifier == number:
                    stream.take(kind, flags, payload, inflater)
            out.append(stream.written())
            number += 2


@guarded
def ask_connection(probe, root, patience, out):
    """TCP through a proxy of streams: what comes back for each thing sent, then until the end."""
    with connect(probe.place, root, patience, probe.host) as sock:
        for data in probe.requests:
            sock.sendall(data)
            got = b""
            while len(got) < len(data):
                part = sock.recv(65536)
                if not part:
                    break
                got += part
            out.append(written("", [], got))
        if not probe.place.tls:
            sock.shutdown(socket.SHUT_WR)
            out.append(written("end", [], Reader(sock).rest()))


@guarded
def ask_datagrams(probe, _root, patience, out):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.settimeout(patience)
        sock.connect((probe.place.address, probe.place.port))
        for data in probe.requests:
            sock.send(data)
            out.append(written("", [], sock.recv(65536)))


KINDS = {"http1": ask_http1, "pipelined": ask_pipelined, "http2": ask_http2, "connection": ask_connection,
         "datagrams": ask_datagrams}


def ask(probe, root, patience):
    return KINDS[probe.kind](probe, root, patience)
