"""Scripted upstream servers. What each connection receives is recorded, byte for byte."""

import os
import re
import socket
import struct
import threading
import time

from . import h2, http, secure
from .casefile import steps_of

WAIT = 8.0


class Signals:
    """Named events that client and backend scripts of one side wait for."""

    def __init__(self):
        self.lock = threading.Lock()
        self.events = {}

    def get(self, name):
        with self.lock:
            return self.events.setdefault(name, threading.Event())


class Record:
    def __init__(self):
        self.lock = threading.Lock()
        self.lines = []
        self.known = set()
        self.waiting = 0  # scripts that wait for the end of their connection
        self.settled = threading.Condition(self.lock)

    def wait_settled(self, seconds):
        """A request is over when the backends have seen the ends that its scripts wait for."""
        with self.settled:
            self.settled.wait_for(lambda: not self.waiting, seconds)

    def add(self, connection, text):
        with self.lock:
            self.lines.append((connection, text))

    def drain(self):
        """What came since the last call, connection by connection: threads have no order among each other."""
        with self.lock:
            lines, self.lines = sorted(self.lines, key=lambda line: line[0]), []
        fresh = {}
        out = []
        for (name, serial), text in lines:
            if (name, serial) in self.known:
                label = "connection of before"
            else:
                order = fresh.setdefault(name, [])
                if serial not in order:
                    order.append(serial)
                label = f"connection {order.index(serial) + 1}"
            out.append(f"{name} {label}: ".encode() + text)
        for name, serials in fresh.items():
            self.known.update((name, serial) for serial in serials)
        return out


class Backend:
    def __init__(self, name, kind, path, signals, record):
        self.name = name
        self.signals = signals
        self.record = record
        self.serial = 0
        self.problems = []
        self.sockets = []
        self.threads = []
        kind, *options = kind.split()
        self.speaks_h2 = "h2" in (kind, *options)
        self.settings = [option[9:] for option in options if option.startswith("settings:")]
        self.tls = secure.server_context(options) if "tls" in (kind, *options) else None
        if kind == "unix":
            self.listener = socket.socket(socket.AF_UNIX)
            self.listener.bind(path)
            os.chmod(path, 0o777)
            self.port = None
        else:
            family = socket.AF_INET6 if kind == "tcp6" else socket.AF_INET
            self.listener = socket.socket(family)
            self.listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            host = {"tcp6": "::1", "any": "0.0.0.0"}.get(kind, "127.0.0.1")
            self.listener.bind((host, 0))
            self.port = self.listener.getsockname()[1]
        self.listener.listen(64)

    def start(self, lines):
        self.rules, self.script = compile_script(lines)
        thread = threading.Thread(target=self.accept, daemon=True)
        thread.start()

    def accept(self):
        while True:
            try:
                sock, peer = self.listener.accept()
            except OSError:
                return
            self.serial += 1
            self.sockets.append(sock)
            if sock.family != socket.AF_UNIX:
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            thread = threading.Thread(target=self.serve, args=(sock, self.serial, peer), daemon=True)
            self.threads.append(thread)
            thread.start()

    def stop(self):
        try:
            self.listener.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        self.listener.close()

    def finish(self):
        for thread in self.threads:
            thread.join(1.0)
        for sock in self.sockets:
            sock.close()

    def serve(self, sock, serial, peer):
        try:
            if self.tls:
                sock, note = secure.accept(self.tls, sock)
                self.record.add((self.name, serial), f"{note}\n".encode())
                if sock is None:
                    return
                self.sockets.append(sock)
            self.serve_plain(sock, serial, peer)
        except Stop:
            pass
        except OSError:
            pass
        except Exception as error:  # a mistake in the script must not pass for agreement
            self.problems.append(f"backend {self.name}: {error!r}")
        finally:
            if sock is not None:
                sock.close()

    def serve_plain(self, sock, serial, peer):
        connection = Connection(self, sock, serial, peer)
        if self.speaks_h2:
            h2.Backend(connection, connection.stream).serve(self.rules)
        elif self.rules:
            connection.serve_rules(self.rules)
            connection.leave()
        else:
            connection.run(self.script[min(serial, len(self.script)) - 1])
            connection.leave()


class DatagramBackend:
    """Answers each datagram by the lines of its script: `echo [N]`, `text TEXT`; none: silence."""

    def __init__(self, name, kind, path, signals, record):
        self.name = name
        self.record = record
        self.problems = []
        self.peers = []
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind(("127.0.0.1", 0))
        self.port = self.socket.getsockname()[1]

    def start(self, lines):
        self.lines = [line for line in lines if line.strip()]
        self.thread = threading.Thread(target=self.serve, daemon=True)
        self.thread.start()

    def serve(self):
        while True:
            data, peer = self.socket.recvfrom(65536)
            if data == b"stop serving" and peer == self.socket.getsockname():
                return
            if peer not in self.peers:
                self.peers.append(peer)
            self.record.add((self.name, self.peers.index(peer)), b"datagram\n" + data)
            for line in self.lines:
                word, _, rest = line.partition(" ")
                if word == "echo":
                    for _ in range(int(rest or 1)):
                        self.socket.sendto(data, peer)
                elif word == "text":
                    self.socket.sendto(rest.encode("latin-1"), peer)
                elif word == "empty":
                    self.socket.sendto(b"", peer)
                else:
                    self.problems.append(f"backend {self.name}: unknown line {line!r}")

    def stop(self):
        try:
            self.socket.sendto(b"stop serving", self.socket.getsockname())
        except OSError:
            pass

    def finish(self):
        self.thread.join(1.0)
        self.socket.close()


class Stop(Exception):
    pass


def compile_script(lines):
    """`@on REGEX` blocks, or else a plain script for each `@accept` (the last one serves all later connections)."""
    rules = []
    blocks = [[]]
    for line in lines:
        match = re.match(r"@on(!?) (.*)$", line)
        if match:
            rules.append((re.compile(match.group(2)), bool(match.group(1)), []))
        elif line == "@accept":
            if blocks[-1]:
                blocks.append([])
        elif rules:
            rules[-1][2].append(line)
        else:
            blocks[-1].append(line)
    return [(regex, early, steps_of(body)) for regex, early, body in rules], [steps_of(body) for body in blocks]


class Connection:
    def __init__(self, backend, sock, serial, peer):
        self.backend = backend
        self.sock = sock
        self.stream = http.Stream(sock)
        self.serial = serial
        self.peer = peer
        self.message = None
        self.slowly = 0

    def note(self, what, data=b""):
        self.backend.record.add((self.backend.name, self.serial), f"{what}\n".encode() + data)

    def request(self, early=False):
        message = http.read_request_head(self.stream, 60.0)
        if message is None:
            if self.stream.buffer:
                self.note("stray bytes", self.stream.take(len(self.stream.buffer)))
            return None
        self.message = message
        if not early:
            http.read_request_body(self.stream, message, WAIT)
            self.note("request", message.render())
        return message

    def serve_rules(self, rules):
        while True:
            # The head decides the rule; an early rule reads the body itself (or never).
            message = self.request(early=True)
            if message is None:
                raise Stop
            line = message.head.split(b"\r\n")[0].decode("latin-1")
            for regex, early, steps in rules:
                if regex.search(line):
                    break
            else:
                self.note("no rule for", line.encode())
                raise Stop
            if not early:
                http.read_request_body(self.stream, message, WAIT)
                self.note("request", message.render())
            self.run(steps)
            connection = b",".join(http.fields(message.head).get(b"connection", [])).lower()
            if b"close" in connection:  # as any server would
                raise Stop

    def run(self, steps):
        """Counted as unsettled from the start where the script waits for the end of the connection."""
        record = self.backend.record
        ending = any(word in ("eof", "relay") for word, _ in steps)
        if ending:
            with record.lock:
                record.waiting += 1
        try:
            for word, rest in steps:
                self.step(word, rest)
        finally:
            if ending:
                with record.settled:
                    record.waiting -= 1
                    record.settled.notify_all()

    def step(self, word, rest):
        if word == "send":
            self.sock.settimeout(WAIT)
            for piece in http.pieces(rest, self.slowly):
                self.sock.sendall(piece)
        elif word == "request":
            if self.request() is None:
                raise Stop
        elif word == "head":
            self.note("head", self.message.head)
        elif word == "body":
            http.read_request_body(self.stream, self.message, WAIT)
            self.note("request", self.message.render())
        elif word == "echo":  # the request's bytes as the body of the answer
            body = self.message.head + self.message.body
            self.sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
        elif word == "until":
            end = self.stream.until(rest.encode("latin-1"), WAIT)
            data = self.stream.take(end if end >= 0 else len(self.stream.buffer))
            self.note("bytes" if end >= 0 else f"bytes, but not {rest!r}", data)
        elif word == "relay":  # sends everything back until the end
            while self.stream.more(WAIT) or self.stream.buffer:
                data = self.stream.take(len(self.stream.buffer))
                self.sock.sendall(data)
            self.note(f"relay ended: {self.stream.ended or 'silence'}")
        elif word == "eof":
            while self.stream.more(WAIT):
                pass
            ended = "ended" if self.stream.ended else "silence"
            self.note(ended, self.stream.take(len(self.stream.buffer)))
        elif word == "signal":
            self.backend.signals.get(rest).set()
        elif word == "wait":
            if not self.backend.signals.get(rest).wait(WAIT):
                self.note(f"waited in vain for {rest}")
        elif word == "pause":
            time.sleep(float(rest or 25) / 1000)
        elif word == "shut":
            self.sock.shutdown(socket.SHUT_WR)
        elif word == "close":
            raise Stop
        elif word == "reset":
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            raise Stop
        elif word == "slowly":
            self.slowly = int(rest or 1)
        elif word == "peer":
            self.note(f"peer address {self.peer[0]}")
        else:
            raise ValueError(f"unknown backend step @{word}")

    def leave(self):
        """A script that ended: whatever still comes is a finding."""
        while self.stream.more(WAIT):
            pass
        if self.stream.buffer:
            self.note("stray bytes", self.stream.take(len(self.stream.buffer)))
