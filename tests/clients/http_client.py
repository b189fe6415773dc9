"""Clients of HTTP/1.1 and WebSocket: raw connections, curl, Python's websockets."""

import asyncio
import collections
import socket
import subprocess

import websockets
from waiting import PATIENCE, run

Answer = collections.namedtuple("Answer", "status fields body")


class Connection:
    """A raw client connection that reads whole HTTP/1.1 answers."""

    def __init__(self, port, address="127.0.0.1"):
        self.socket = socket.create_connection((address, port), timeout=PATIENCE)
        self.buffer = b""

    def send(self, data):
        self.socket.sendall(data.encode("latin-1") if isinstance(data, str) else data)

    def get(self, target="/", host="localhost", fields=(), method="GET", body=b""):
        head = [f"{method} {target} HTTP/1.1", f"Host: {host}"]
        if body:
            head.append(f"Content-Length: {len(body)}")
        head += [f"{name}: {value}" for name, value in fields]
        self.send("\r\n".join(head) + "\r\n\r\n")
        self.send(body)
        return self.answer(method)

    def _more(self):
        data = self.socket.recv(65536)
        self.buffer += data
        return bool(data)

    def read_until(self, mark):
        while mark not in self.buffer:
            if not self._more():
                raise AssertionError(f"connection ended after {self.buffer!r}")
        taken, _, self.buffer = self.buffer.partition(mark)
        return taken

    def read(self, count):
        while len(self.buffer) < count:
            if not self._more():
                raise AssertionError(f"connection ended after {self.buffer!r}")
        taken, self.buffer = self.buffer[:count], self.buffer[count:]
        return taken

    def rest(self):
        while self._more():
            pass
        taken, self.buffer = self.buffer, b""
        return taken

    def answer(self, method="GET"):
        lines = self.read_until(b"\r\n\r\n").decode("latin-1").split("\r\n")
        status = int(lines[0].split(" ")[1])
        fields = [tuple(part.strip() for part in line.split(":", 1)) for line in lines[1:]]
        values = {name.lower(): value for name, value in fields}
        if method == "HEAD" or status in (101, 204, 304):
            body = b""
        elif values.get("transfer-encoding") == "chunked":
            body = b""
            while True:
                size = int(self.read_until(b"\r\n"), 16)
                body += self.read(size)
                self.read(2)
                if size == 0:
                    break
        elif "content-length" in values:
            body = self.read(int(values["content-length"]))
        else:
            body = self.rest()
        return Answer(status, values, body)

    def ended(self):
        """True when the peer closes within our patience, without sending more."""
        try:
            return self.buffer == b"" and self.socket.recv(1) == b""
        except ConnectionResetError:
            return True

    def close(self):
        self.socket.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


def get(port, target="/", **more):
    """One request on a connection of its own."""
    fields = list(more.pop("fields", ())) + [("Connection", "close")]
    with Connection(port) as connection:
        return connection.get(target, fields=fields, **more)


def curl(*arguments):
    """Runs curl; returns status, fields and body of the last answer."""
    result = subprocess.run(["curl", "-sS", "-i", "--max-time", str(PATIENCE), *arguments],
                            capture_output=True, check=False)
    if result.returncode != 0:
        raise AssertionError(f"curl ended with {result.returncode}: {result.stderr.decode()}")
    head, body = b"", result.stdout
    while not head or head.split(b" ")[1].startswith(b"1"):
        head, _, body = body.partition(b"\r\n\r\n")
    lines = head.decode("latin-1").split("\r\n")
    fields = [tuple(part.strip() for part in line.split(":", 1)) for line in lines[1:]]
    return Answer(int(lines[0].split(" ")[1]), {name.lower(): value for name, value in fields}, body)


def websocket(port, target="/", host="127.0.0.1", **more):
    """A WebSocket client of Python's websockets; `host` is what its Host header says."""
    more.setdefault("ping_interval", None)
    more.setdefault("close_timeout", PATIENCE)
    more.setdefault("open_timeout", PATIENCE)
    return websockets.connect(f"ws://{host}{target}", host="127.0.0.1", port=port, **more)


def open_tunnel(port, target="/", **more):
    """Opens a WebSocket on the shared loop and leaves it open."""
    async def connect():
        return await websocket(port, target, **more)

    return run(connect())


def echo(tunnel, message="hello"):
    """True when the message comes back through the tunnel."""
    async def both():
        await tunnel.send(message)
        return await asyncio.wait_for(tunnel.recv(), PATIENCE) == message

    return run(both())


def close_tunnel(tunnel):
    run(tunnel.close())


def abort_tunnel(tunnel):
    """Ends the client's side at once, with a reset."""
    async def abort():
        tunnel.transport.abort()

    run(abort())
