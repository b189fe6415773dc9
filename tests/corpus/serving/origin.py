#!/usr/bin/python3
"""The backends behind a configuration: listens wherever standard input says, and answers as the field X-Answer says.

A line `KIND ADDRESS PORT` makes it listen and is answered by `ok` or by the reason why not. HTTP backends speak TLS
to who begins with it.
"""

import base64
import gzip
import hashlib
import os
import socket
import ssl
import struct
import sys
import threading
import time

ALL = "192.0.2.1"  # what every name resolves to
MARK = "answered by the backend"
GUID = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
LARGE = "".join(f"line {number}\n" for number in range(30000))[:300_000].encode()
CONTEXT = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)


class Request:
    def __init__(self, first, fields, body):
        self.method, self.target = (first.split(" ") + ["", ""])[:2]
        self.fields = fields
        self.body = body
        self.get = {name.lower(): value.strip() for name, value in fields}
        self.closes = self.get.get("connection", "").lower() == "close" or first.endswith("HTTP/1.0")

    def told(self):
        """What came, in an order that does not depend on the proxy."""
        kept = [f"{name}:{value}" for name, value in self.fields if name.lower() != "connection" or value.strip() != "close"]
        body = self.body if len(self.body) < 1000 else hashlib.sha1(self.body).hexdigest().encode()
        return "\n".join([MARK, f"{self.method} {self.target}", *sorted(kept), ""]).encode("latin-1") + body


def read_body(stream, get):
    if "chunked" in get.get("transfer-encoding", ""):
        body = b""
        while True:
            size = int(stream.readline().split(b";")[0], 16)
            body += stream.read(size)
            stream.readline()
            if size == 0:
                return body
    return stream.read(int(get.get("content-length", 0)))


def read_request(stream):
    lines = []
    while True:
        line = stream.readline().decode("latin-1")
        if not line:
            return None
        if line != "\r\n":
            lines.append(line.rstrip("\r\n"))
        elif lines:
            break
    fields = [tuple(line.split(":", 1)) for line in lines[1:] if ":" in line]
    get = {name.lower(): value.strip() for name, value in fields}
    return Request(lines[0], fields, read_body(stream, get))


def answer(request, status=200, fields=(), body=None, length=True):
    """The bytes of an answer; `length` False leaves its end to the connection."""
    body = request.told() if body is None else body
    base = ["Server: back", "X-Powered-By: origin", "X-Frame-Options: SAMEORIGIN", "Set-Cookie: a=b; Path=/app; Domain=x.y",
            "Content-Type: text/plain", "Cache-Control: max-age=5", *fields]
    if length and status not in (204, 304):
        base.append(f"Content-Length: {len(body)}")
    if request.closes or not length:
        base.append("Connection: close")
    head = f"HTTP/1.1 {status} Status\r\n" + "".join(field + "\r\n" for field in base) + "\r\n"
    return head.encode("latin-1") + (b"" if request.method == "HEAD" or status in (204, 304) else body)


def chunked(request):
    body = request.told()
    parts = [body[:7], body[7:]]
    data = b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in parts) + b"0\r\n\r\n"
    return answer(request, fields=["Transfer-Encoding: chunked"], body=data, length=False).replace(
        b"Connection: close\r\n", b"Connection: close\r\n" if request.closes else b"")


def redirect(place):
    return lambda request: answer(request, 302, [f"Location: {place(request)}"])


KINDS = {
    "404": lambda request: answer(request, 404),
    "500": lambda request: answer(request, 500),
    "503": lambda request: answer(request, 503, ["Retry-After: 7"]),
    "401": lambda request: answer(request, 401, ['WWW-Authenticate: Basic realm="x"']),
    "204": lambda request: answer(request, 204),
    "304": lambda request: answer(request, 304, ['ETag: "of-backend"']),
    "same-host": redirect(lambda request: f"http://{request.get.get('host', 'x')}{request.target}/next"),
    "other-host": redirect(lambda _request: "https://elsewhere.example/a?b=c"),
    "relative": redirect(lambda _request: "/moved/there"),
    "upstream-name": redirect(lambda _request: "http://localhost:8080/from/upstream"),
    "refresh": lambda request: answer(request, fields=["Refresh: 5; url=http://localhost/r"]),
    "chunked": chunked,
    "until-close": lambda request: answer(request, length=False),
    "cookies": lambda request: answer(request, fields=["Set-Cookie: c1=v; Path=/; HttpOnly", "Set-Cookie: c2=v; Secure"]),
    "gzip": lambda request: answer(request, fields=["Content-Encoding: gzip", "Vary: Accept-Encoding"],
                                   body=gzip.compress(b"packed\n" * 50, mtime=0)),
    "large": lambda request: answer(request, body=LARGE),
    "empty": lambda request: answer(request, body=b""),
    "internal": lambda request: answer(request, fields=["X-Accel-Redirect: /test.txt"]),
    "dates": lambda request: answer(request, fields=["Last-Modified: Sun, 09 Sep 2001 01:46:40 GMT", 'ETag: "e"',
                                                     "Expires: Thu, 01 Jan 1970 00:00:01 GMT"]),
    "many-fields": lambda request: answer(request, fields=[f"X-Field-{number}: {number}" for number in range(50)]),
    "invalid": lambda _request: b"HTTP/1.1 200 OK\r\nBroken \x00 field\r\n\r\n",
    "nothing": lambda _request: b"",
}


def upgrade(connection, stream, request):
    key = base64.b64encode(hashlib.sha1((request.get.get("sec-websocket-key", "") + GUID).encode()).digest()).decode()
    connection.sendall(f"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                       f"Sec-WebSocket-Accept: {key}\r\n\r\n".encode() + request.told() + b"\n.\n")
    while data := stream.read1(4096):
        connection.sendall(data)


def respond(connection, request):
    """False when the connection ends with the answer."""
    kind = request.get.get("x-answer", "")
    if kind == "slow":
        whole = answer(request)
        connection.sendall(whole[:-5])
        time.sleep(0.02)
        connection.sendall(whole[-5:])
    else:
        connection.sendall(KINDS.get(kind, answer)(request))
    return not request.closes and kind not in ("until-close", "invalid", "nothing")


def secured(connection):
    begin = connection.recv(1, socket.MSG_PEEK)
    return CONTEXT.wrap_socket(connection, server_side=True) if begin == b"\x16" else connection


def talk_http(connection):
    connection = secured(connection)
    with connection, connection.makefile("rb") as stream:
        while (request := read_request(stream)) is not None:
            if request.get.get("upgrade", "").lower() == "websocket" and "upgrade" in request.get.get("connection", "").lower():
                upgrade(connection, stream, request)
                return
            if not respond(connection, request):
                return


def talk_echo(connection):
    with secured(connection) as peer:
        while data := peer.recv(65536):
            peer.sendall(data)


def quietly(talk, connection):
    try:
        talk(connection)
    except (OSError, ValueError):
        pass
    finally:
        connection.close()


def accept(listener, talk):
    while True:
        try:
            connection, _ = listener.accept()
        except OSError:  # leave()
            return
        if connection.family != socket.AF_UNIX:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        threading.Thread(target=quietly, args=(talk, connection), daemon=True).start()


def name_answer(query):
    """Every name has the one IPv4 address."""
    end = 12
    while query[end]:
        end += query[end] + 1
    question = query[12:end + 5]
    known = question[-4:-2] == b"\0\1"
    record = b"\xc0\x0c\0\1\0\1\0\0\0\x3c\0\4" + socket.inet_aton(ALL) if known else b""
    return query[:2] + b"\x81\x80" + struct.pack(">HHHH", 1, int(known), 0, 0) + question + record


def datagrams(sock, reply):
    while True:
        data, peer = sock.recvfrom(65536)
        try:
            back = reply(data)
        except IndexError:
            continue
        if back:
            sock.sendto(back, peer)


LISTENERS = {}  # by (address, port)
REPLIES = {"names": name_answer, "datagrams": lambda data: b"echo:" + data, "sink": lambda _data: b""}


def listen(kind, where, port):
    if kind in REPLIES:
        sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        sock.bind((where, port))
        threading.Thread(target=datagrams, args=(sock, REPLIES[kind]), daemon=True).start()
        return
    if kind.startswith("unix"):
        os.makedirs(os.path.dirname(where), exist_ok=True)
        if os.path.exists(where):
            os.unlink(where)
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(where)
        os.chmod(where, 0o666)
    else:
        listener = socket.socket()
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((where, port))
        LISTENERS[where, port] = listener
    listener.listen(500)
    talk = talk_echo if kind.endswith("echo") else talk_http
    threading.Thread(target=accept, args=(listener, talk), daemon=True).start()


def leave(port):
    """Whoever is served next has these ports for itself."""
    for place in [place for place in LISTENERS if place[1] == port]:
        listener = LISTENERS.pop(place)
        listener.shutdown(socket.SHUT_RDWR)  # which also wakes the thread that waits in accept()
        listener.close()


def main():
    CONTEXT.load_cert_chain(*sys.argv[1:3])
    for line in sys.stdin:
        kind, where, port = line.split()
        try:
            if kind == "leave":
                leave(int(port))
            else:
                listen(kind, where, int(port))
            print("ok", flush=True)
        except OSError as error:
            print(f"no: {error}", flush=True)


if __name__ == "__main__":
    main()
