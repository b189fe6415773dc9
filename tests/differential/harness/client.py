"""Runs one request script against a server and writes down what came back."""

import re
import socket
import struct
import time

from . import h2, http, secure

WAIT = 10.0
REQUEST_LINE = re.compile(rb"^([A-Za-z]+) [^\r\n]* HTTP/1\.[01]\r?$", re.M)

FINAL = re.compile(rb"^HTTP/1\.[01] (?:101|[2-9]\d\d) ", re.M)


class Client:
    def __init__(self, side):
        self.side = side
        self.out = []
        self.stream = None
        self.methods = []
        self.local_ports = []
        self.finals = 0
        self.last = None
        self.pending = False
        self.started = time.monotonic()
        self.opened = []
        self.slowly = 0
        self.current = "1"
        self.others = {}
        self.datagrams = None
        self.handshakes = secure.Handshakes()
        self.h2 = h2.Client(self)

    def note(self, text):
        self.out.append(f"[{text}]\n".encode("latin-1"))

    def open_datagrams(self, where):
        """A client of datagrams: goes on until the next @udp or @connect."""
        self.settle()
        address = self.side.address(where)
        sock = socket.socket(socket.AF_INET6 if ":" in address[0] else socket.AF_INET, socket.SOCK_DGRAM)
        self.opened.append(sock)
        sock.connect(address)
        self.local_ports.append(sock.getsockname()[1])
        self.datagrams = sock
        self.pending = False

    def receive(self, wait):
        self.datagrams.settimeout(wait)
        try:
            self.out.append(b"[datagram] " + self.datagrams.recv(65536) + b"\n")
        except TimeoutError:
            self.note("no datagram")
        except OSError as error:
            self.note(f"datagrams: {error.strerror}")

    def connect(self, where=None):
        address = self.side.address(where)
        if isinstance(address, str):
            sock = socket.socket(socket.AF_UNIX)
        else:
            sock = socket.socket(socket.AF_INET6 if ":" in address[0] else socket.AF_INET)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.settimeout(WAIT)
        self.opened.append(sock)
        sock.connect(address)
        if not isinstance(address, str):
            self.local_ports.append(sock.getsockname()[1])
        self.stream = http.Stream(sock)
        self.methods = []
        self.last = None
        self.pending = False

    def shake_hands(self, rest):
        if self.stream is None:
            self.connect()
        sock, note = self.handshakes.shake(self.stream.sock, rest or "")
        self.note(note)
        if sock is None:
            self.stream.ended = "refused"
            return
        self.opened.append(sock)
        self.stream.sock = sock

    def send(self, data):
        if self.stream is None:
            self.connect()
        data = self.side.fill_in(data)
        for match in REQUEST_LINE.finditer(data):
            self.methods.append(match.group(1).decode())
        self.pending = True
        try:
            self.stream.sock.settimeout(WAIT)
            for piece in http.pieces(data, self.slowly):
                self.stream.sock.sendall(piece)
        except OSError:
            pass  # refused midway: the answer tells

    def read(self):
        method = self.methods.pop(0) if self.methods else "GET"
        message = http.read_response(self.stream, method, WAIT)
        self.pending = False
        self.last = message
        if message is None:
            self.note(f"connection {self.stream.ended}")
            return False
        self.finals += 1
        self.out.append(message.render())
        return True

    def settle(self):
        """What became of the connection after the last exchange."""
        if self.stream is None:
            return
        self.handshakes.keep(self.stream.sock)
        if self.h2.settle():
            return
        if self.last is not None and not self.stream.ended:
            wait = 3.0 if self.last.close else 0.006
            while self.stream.more(wait):
                pass
            if self.stream.buffer:
                self.out.append(b"[further bytes] " + self.stream.take(len(self.stream.buffer)) + b"\n")
        if self.last is not None:
            self.note("connection " + (self.stream.ended or "kept"))
        self.stream.sock.close()
        self.stream = None

    def switch(self, name):
        """Goes on with another connection; the one left stays as it is."""
        self.others[self.current] = (self.stream, self.methods, self.last, self.pending)
        self.stream, self.methods, self.last, self.pending = self.others.pop(name, (None, [], None, False))
        self.current = name
        self.note(f"on connection {name}")

    def run(self, steps):
        try:
            for word, rest in steps:
                self.step(word, rest)
            if self.pending and self.side.case.stream is not None:
                self.step("eof", "")
            elif self.pending:
                self.read()
            self.settle()
            for name in sorted(self.others):  # left open on purpose
                self.switch(name)
                self.settle()
        except OSError as error:
            self.note(f"client error {error}")
        finally:
            for sock in self.opened:
                sock.close()

    def step(self, word, rest):
        if word == "send":
            self.send(rest)
        elif word == "connect":
            self.settle()
            self.connect(rest)
        elif word == "udp":
            self.open_datagrams(rest)
        elif word == "datagram":
            try:
                self.datagrams.send(self.side.fill_in(rest.encode("latin-1")))
            except OSError as error:
                self.note(f"datagrams: {error.strerror}")
        elif word == "receive":
            self.receive(float(rest or 1500) / 1000)
        elif word in h2.STEPS:
            self.h2.step(word, rest)
        elif word == "tls":
            self.shake_hands(rest)
        elif word == "switch":
            self.switch(rest)
        elif word == "read":
            for _ in range(int(rest or 1)):
                if not self.read():
                    break
        elif word == "until":
            end = self.stream.until(rest.encode("latin-1"), WAIT)
            data = self.stream.take(end if end >= 0 else len(self.stream.buffer))
            self.out.append(data + b"\n")
            self.finals += len(FINAL.findall(data))
            if end < 0:
                self.note(f"no {rest!r}: {self.stream.ended or 'silence'}")
            self.pending = False
        elif word == "eof":
            while self.stream.more(WAIT):
                pass
            data = self.stream.take(len(self.stream.buffer))
            self.out.append(data + b"\n" if data else b"")
            self.finals += len(FINAL.findall(data))
            self.note(f"connection {self.stream.ended or 'silent'}")
            self.pending = False
        elif word == "pause":
            time.sleep(float(rest or 25) / 1000)
        elif word == "signal":
            self.side.signals.get(rest).set()
        elif word == "wait":
            if not self.side.signals.get(rest).wait(WAIT):
                self.note(f"waited in vain for {rest}")
        elif word == "shut":
            self.stream.sock.shutdown(socket.SHUT_WR)
        elif word == "close":
            self.stream.sock.close()
            self.stream = None
            self.h2.connection = None
            self.pending = False
        elif word == "reset":
            self.stream.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.stream.sock.close()
            self.stream = None
            self.h2.connection = None
            self.pending = False
        elif word == "unread":  # the answer is not waited for
            self.pending = False
            self.last = None
        elif word == "elapsed":
            low, high = (float(part) for part in rest.split())
            took = (time.monotonic() - self.started) * 1000
            self.note("elapsed as expected" if low <= took <= high else f"elapsed {took:.0f} ms")
        elif word == "slowly":
            self.slowly = int(rest or 1)
        elif word == "start":
            self.started = time.monotonic()
        else:
            raise ValueError(f"unknown request step @{word}")
