#!/usr/bin/python3
"""Every pair of a client's protocol and an upstream's: the same requests, the same outcome.

Clients speak HTTP/1.0, 1.1, 1.1 over TLS, 2 in cleartext and 2 over TLS; upstreams the same, and gRPC.
What a protocol cannot say (a body without a length in HTTP/1.0, trailers there) is left out, and said
so where it is. On nginx itself, HTTP/2 upstreams of proxy_pass and passed trailers are left out.
"""

import collections
import queue
import socket
import ssl
import threading
import unittest

import harness
import http2_peer as http2
from own_certificates import self_signed
from harness import IS_ORACLE, PATIENCE

CLIENTS = ("http10", "http11", "tls", "h2c", "h2") if harness.HTTP2 else ("http10", "http11", "tls")
UPSTREAMS = ("http10", "http11", "tls", "h2c", "h2", "grpc")
MEGABYTE = bytes(range(256)) * 4096

Answer = collections.namedtuple("Answer", "status fields body trailers cut")
Asked = collections.namedtuple("Asked", "method path fields body trailers")

LOCATION = """
        location /%(name)s/ {
            %(pass)s
            proxy_pass_request_headers on;
            location /%(name)s/direct/ { %(pass)s proxy_request_buffering off; proxy_buffering off; }
        }
"""


def configuration(upstreams):
    passes = {
        "http10": "proxy_pass http://127.0.0.1:9010; proxy_http_version 1.0;",
        "http11": "proxy_pass http://127.0.0.1:9011; proxy_http_version 1.1; "
                  "proxy_set_header Connection '';",
        "tls": "proxy_pass https://127.0.0.1:9012; proxy_http_version 1.1; "
               "proxy_set_header Connection '';",
        "h2c": "proxy_pass http://127.0.0.1:9013; proxy_http_version 2;",
        "h2": "proxy_pass https://127.0.0.1:9014; proxy_http_version 2;",
        "grpc": "grpc_pass grpc://127.0.0.1:9015;",
    }
    locations = "".join(LOCATION % {"name": name, "pass": passes[name]} for name in upstreams)
    trailers = "" if IS_ORACLE else "proxy_pass_trailers on;"
    return f"""
events {{ worker_connections 1024; }}
http {{
    access_log logs/access.log;
    client_max_body_size 0;
    {trailers}
    proxy_next_upstream off;
    grpc_next_upstream off;
    server {{
        listen 127.0.0.1:8080;
        listen 127.0.0.1:8081 ssl{" http2" if harness.HTTP2 else ""};
        {"listen 127.0.0.1:8082 http2;" if harness.HTTP2 else ""}
        ssl_certificate server.crt;
        ssl_certificate_key server.key;
        {locations}
    }}
}}
"""


# --- backends: one script, two protocols -------------------------------------------------------------


class Script:
    """What a backend does, by the last part of the path. `say` is how its protocol does it."""

    def __init__(self):
        self.asked = queue.Queue()
        self.began = threading.Event()
        self.cancelled = threading.Event()

    def forget(self):
        while not self.asked.empty():
            self.asked.get()
        self.began.clear()
        self.cancelled.clear()

    def answer(self, asked, say):
        self.asked.put(asked)
        what = asked.path.rpartition("/")[2].partition("?")[0]
        if what == "echo":
            say.whole(200, asked.body, [("x-method", asked.method)])
        elif what == "big":
            say.whole(200, MEGABYTE)
        elif what == "stream":
            say.head(200, None)
            for part in (b"one ", b"two ", b"three"):
                say.part(part)
            say.end()
        elif what == "bigstream":
            say.head(200, None)
            for at in range(0, len(MEGABYTE), 50_000):
                say.part(MEGABYTE[at:at + 50_000])
            say.end()
        elif what == "trailers":
            say.head(200, None, [("trailer", "x-sum")])
            say.part(b"body")
            say.end([("x-sum", "4")])
        elif what.isdigit():
            say.whole(int(what), None if what in ("204", "304") else b"status " + what.encode(),
                      [("etag", '"e"')])
        elif what == "cut":
            say.head(200, 100)
            say.part(b"only this")
            say.break_off()
        elif what == "slow":
            self.began.set()
            if say.wait_cancelled():
                self.cancelled.set()


class Http1Say:
    def __init__(self, connection, version, head_only):
        self.connection = connection
        self.version = version
        self.head_only = head_only
        self.chunked = False
        self.close = version == "1.0"

    def head(self, status, length, fields=()):
        lines = [f"HTTP/{self.version} {status} Whatever"]
        if length is not None:
            lines.append(f"Content-Length: {length}")
        elif self.version == "1.1" and status not in (204, 304):
            lines.append("Transfer-Encoding: chunked")
            self.chunked = True
        lines += [f"{name}: {value}" for name, value in fields]
        self.connection.sendall("\r\n".join(lines).encode() + b"\r\n\r\n")

    def part(self, data):
        if self.head_only:
            return
        if self.chunked:
            data = b"%x\r\n%s\r\n" % (len(data), data)
        self.connection.sendall(data)

    def end(self, trailers=()):
        if self.chunked and not self.head_only:
            lines = "".join(f"{name}: {value}\r\n" for name, value in trailers)
            self.connection.sendall(b"0\r\n" + lines.encode() + b"\r\n")

    def whole(self, status, body, fields=()):
        self.head(status, None if body is None else len(body), fields)
        if body:
            self.chunked = False
            self.part(body)

    def break_off(self):
        self.close = True

    def wait_cancelled(self):
        self.close = True
        self.connection.settimeout(PATIENCE)
        try:
            return self.connection.recv(1) == b""
        except ConnectionError:
            return True
        except OSError:
            return False


class Http1Backend:
    def __init__(self, script, version, context=None):
        self.script = script
        self.version = version
        self.context = context
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def stop(self):
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()

    def _accept(self):
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection):
        try:
            if self.context:
                connection = self.context.wrap_socket(connection, server_side=True)
            reader = connection.makefile("rb")
            while self._exchange(connection, reader):
                pass
            connection.shutdown(socket.SHUT_RDWR)
        except (OSError, ValueError):
            pass
        finally:
            connection.close()

    def _exchange(self, connection, reader):
        line = reader.readline().decode("latin-1").split()
        if not line:
            return False
        fields = self._fields(reader)
        method, path = line[:2]
        say = Http1Say(connection, self.version, method == "HEAD")
        if path.rpartition("/")[2] == "early":
            say.whole(200, b"early", [("Connection", "close")])
            self.script.asked.put(Asked(method, path, fields, None, None))
            self._body(reader, fields)
            return False
        body, trailers = self._body(reader, fields)
        self.script.answer(Asked(method, path, fields, body, trailers), say)
        wants = dict(fields).get("connection", "").lower()
        return not say.close and wants != "close"

    def _fields(self, reader):
        fields = []
        while (line := reader.readline().decode("latin-1").strip()):
            name, _, value = line.partition(":")
            fields.append((name.lower(), value.strip()))
        return fields

    def _body(self, reader, fields):
        values = dict(fields)
        if values.get("transfer-encoding") == "chunked":
            body = []
            while (size := int(reader.readline().split(b";")[0], 16)):
                body.append(reader.read(size))
                reader.readline()
            return b"".join(body), self._fields(reader)
        return reader.read(int(values.get("content-length", 0))), []


class Http2Say:
    def __init__(self, stream):
        self.stream = stream

    def head(self, status, length, fields=(), end=False):
        length = [] if length is None else [("content-length", str(length))]
        self.stream.send_head([(":status", str(status)), *length, *fields], end)

    def part(self, data):
        self.stream.send_data(data)

    def end(self, trailers=()):
        if trailers:
            self.stream.send_trailers(trailers)
        else:
            self.stream.send_data(b"", end=True)

    def whole(self, status, body, fields=()):
        none = body is None or self.stream.head_only
        self.head(status, None if body is None else len(body), fields, end=none or not body)
        if not none and body:
            self.stream.send_data(body, end=True)

    def break_off(self):
        self.stream.reset(http2.INTERNAL_ERROR)

    def wait_cancelled(self):
        return self.stream.next().kind in ("reset", "closed")


def serve_http2(script):
    def on_stream(stream):
        head = dict(stream.head)
        stream.head_only = head[":method"] == "HEAD"
        say = Http2Say(stream)
        path = head[":path"]
        if stream.head_only and path.endswith("stream"):
            return say.head(200, None, end=True)
        if path.rpartition("/")[2] == "early":
            say.whole(200, b"early")
            script.asked.put(Asked(head[":method"], path, stream.head, None, None))
            stream.reset(http2.NO_ERROR)
            return None
        body, trailers, code = stream.read_rest()
        if code is None:
            script.answer(Asked(head[":method"], path, stream.head, body, trailers), say)
        return None

    return on_stream


# --- clients -----------------------------------------------------------------------------------------


class Http1Client:
    def __init__(self, port, version, context=None):
        self.port = port
        self.version = version
        self.context = context
        self.can_stream = self.has_trailers = version == "1.1"
        self.connect()

    def connect(self):
        self.used = False
        self.connection = socket.create_connection(("127.0.0.1", self.port), timeout=PATIENCE)
        if self.context:
            self.connection = self.context.wrap_socket(self.connection,
                                                       server_hostname="localhost")
        self.reader = self.connection.makefile("rb")

    def start(self, method, target, body=None, streamed=False, fields=()):
        if self.used and self.version == "1.0":
            self.close()
            self.connect()
        self.used = True
        lines = [f"{method} {target} HTTP/{self.version}", "Host: localhost"]
        lines[2:] = [] if self.version == "1.0" else ["TE: trailers", "Connection: TE"]
        lines += [f"{name}: {value}" for name, value in fields]
        if streamed:
            lines.append("Transfer-Encoding: chunked")
        elif body is not None:
            lines.append(f"Content-Length: {len(body)}")
        self.connection.sendall("\r\n".join(lines).encode() + b"\r\n\r\n")
        if streamed:
            for at in range(0, len(body), 100_000):
                part = body[at:at + 100_000]
                self.connection.sendall(b"%x\r\n%s\r\n" % (len(part), part))
            self.connection.sendall(b"0\r\n\r\n")
        elif body:
            self.connection.sendall(body)

    def request(self, method, target, body=None, streamed=False, fields=()):
        self.start(method, target, body, streamed, fields)
        return self.answer(method)

    def answer(self, method):
        status = int(self.reader.readline().split()[1])
        fields = dict(self._fields())
        if method == "HEAD" or status in (204, 304):
            return Answer(status, fields, b"", None, False)
        if fields.get("transfer-encoding") == "chunked":
            return self._chunks(status, fields)
        size = int(fields["content-length"]) if "content-length" in fields else -1
        try:
            body = self.reader.read(size)
        except (ConnectionError, ssl.SSLError):
            return Answer(status, fields, b"", None, True)
        return Answer(status, fields, body, None, size >= 0 and len(body) < size)

    def _fields(self):
        while (line := self.reader.readline().decode("latin-1").strip()):
            name, _, value = line.partition(":")
            yield name.lower(), value.strip()

    def _chunks(self, status, fields):
        body = []
        while True:
            line = self.reader.readline()
            if not line:
                return Answer(status, fields, b"".join(body), None, True)
            size = int(line, 16)
            if size == 0:
                return Answer(status, fields, b"".join(body), list(self._fields()) or None, False)
            body.append(self.reader.read(size))
            self.reader.readline()

    def cancel(self):
        self.close()

    def close(self):
        self.reader.close()
        self.connection.close()


class Http2Client:
    can_stream = has_trailers = True

    def __init__(self, port, context=None):
        self.peer = http2.connect(port, context)
        self.scheme = "https" if context else "http"
        self.stream = None

    def start(self, method, target, body=None, streamed=False, fields=()):
        length = [] if streamed or body is None else [("content-length", str(len(body)))]
        head = [(":method", method), (":scheme", self.scheme), (":path", target),
                (":authority", "localhost"), ("te", "trailers"), *fields, *length]
        self.stream = self.peer.open(head, end=not body)
        if body:
            try:
                self.stream.send_data(body, end=True)
            except (AssertionError, OSError):
                pass  # answered early: the rest is not wanted

    def request(self, method, target, body=None, streamed=False, fields=()):
        self.start(method, target, body, streamed, fields)
        return self.answer(method)

    def answer(self, _method):
        head = self.stream.read_head()
        body, trailers, code = self.stream.read_rest()
        return Answer(int(head[":status"]), head, body, trailers, code not in (None, http2.NO_ERROR))

    def cancel(self):
        self.stream.reset(http2.CANCEL)

    def close(self):
        self.peer.close()


# --- the cases ---------------------------------------------------------------------------------------


def every_pair(streaming=False, trailers=False):
    """Runs a case with every client (that can do it) and every upstream."""
    def wrap(case):
        def test(self):
            self.each(case, streaming, trailers)

        return test

    return wrap


class Matrix(harness.TestCase):
    """One service for all; each test is one case over all pairs."""

    @classmethod
    def setUpClass(cls):
        certificate, key = self_signed("localhost")
        cls.script = Script()
        cls.upstreams = [u for u in UPSTREAMS if not (IS_ORACLE and u in ("h2c", "h2"))]
        files = {"server.crt": certificate, "server.key": key}
        cls.weir = harness.Service(configuration(cls.upstreams), files=files, start=False)
        server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        server.load_cert_chain(cls.weir.path("server.crt"), cls.weir.path("server.key"))
        secure_h2 = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        secure_h2.load_cert_chain(cls.weir.path("server.crt"), cls.weir.path("server.key"))
        secure_h2.set_alpn_protocols(["h2"])
        cls.client_context = ssl.create_default_context(cafile=cls.weir.path("server.crt"))
        on_stream = serve_http2(cls.script)
        cls.weir.backends = {
            9010: Http1Backend(cls.script, "1.0"), 9011: Http1Backend(cls.script, "1.1"),
            9012: Http1Backend(cls.script, "1.1", server), 9013: http2.Server(on_stream),
            9014: http2.Server(on_stream, secure_h2), 9015: http2.Server(on_stream)}
        cls.weir.configure(configuration(cls.upstreams))
        cls.weir.start()

    @classmethod
    def tearDownClass(cls):
        cls.weir.stop()
        for backend in cls.weir.backends.values():
            backend.stop()

    def connect(self, name):
        context = self.client_context
        make = {"http10": lambda: Http1Client(self.weir.port(8080), "1.0"),
                "http11": lambda: Http1Client(self.weir.port(8080), "1.1"),
                "tls": lambda: Http1Client(self.weir.port(8081), "1.1", context),
                "h2c": lambda: Http2Client(self.weir.port(8082)),
                "h2": lambda: Http2Client(self.weir.port(8081), context)}
        if name == "tls":
            self.client_context.set_alpn_protocols(["http/1.1"])
        return make[name]()

    def each(self, case, streaming, trailers):
        for upstream in self.upstreams:
            for name in CLIENTS:
                for mode in ("", "direct/"):
                    if upstream == "grpc" and mode:
                        continue  # is direct always
                    with self.subTest(client=name, upstream=upstream, mode=mode or "buffered"):
                        client = self.connect(name)
                        try:
                            if streaming and not client.can_stream:
                                continue
                            if trailers and not client.has_trailers:
                                continue
                            self.script.forget()
                            case(self, client, f"/{upstream}/{mode}", upstream)
                        finally:
                            client.close()

    def asked(self):
        return self.script.asked.get(timeout=PATIENCE)

    @every_pair()
    def test_get(self, client, at, _):
        answer = client.request("GET", at + "echo?a=b%20c", fields=[("x-some", "thing")])
        self.assertEqual((answer.status, answer.body, answer.cut), (200, b"", False))
        asked = self.asked()
        self.assertEqual((asked.method, asked.path), ("GET", at + "echo?a=b%20c"))
        self.assertEqual(dict(asked.fields)["x-some"], "thing")
        self.assertNotIn("transfer-encoding", dict(asked.fields))
        self.assertEqual(asked.body, b"")

    @every_pair()
    def test_head(self, client, at, upstream):
        answer = client.request("HEAD", at + "big")
        self.assertEqual((answer.status, answer.body), (200, b""))
        if not (IS_ORACLE and upstream == "grpc"):  # nginx says 0
            self.assertEqual(answer.fields["content-length"], str(len(MEGABYTE)))
        self.assertEqual(self.asked().method, "HEAD")

    @every_pair()
    def test_post_with_length(self, client, at, _):
        answer = client.request("POST", at + "echo", b"hello")
        self.assertEqual((answer.status, answer.body), (200, b"hello"))
        self.assertEqual(answer.fields["x-method"], "POST")
        self.assertEqual(self.asked().body, b"hello")

    @every_pair()
    def test_post_empty(self, client, at, _):
        answer = client.request("POST", at + "echo", b"")
        self.assertEqual((answer.status, answer.body), (200, b""))

    @every_pair(streaming=True)
    def test_post_streamed(self, client, at, _):
        answer = client.request("POST", at + "echo", b"hello " * 10, streamed=True)
        self.assertEqual((answer.status, answer.body), (200, b"hello " * 10))

    @every_pair()
    def test_megabyte_both_ways(self, client, at, _):
        answer = client.request("PUT", at + "echo", MEGABYTE)
        self.assertEqual((answer.status, len(answer.body), answer.cut),
                         (200, len(MEGABYTE), False))
        self.assertEqual(answer.body, MEGABYTE)
        self.assertEqual(self.asked().body, MEGABYTE)

    @every_pair(streaming=True)
    def test_megabyte_streamed_both_ways(self, client, at, _):
        answer = client.request("POST", at + "bigstream", MEGABYTE, streamed=True)
        self.assertEqual((answer.status, answer.body == MEGABYTE, answer.cut), (200, True, False))
        self.assertEqual(self.asked().body, MEGABYTE)

    @every_pair()
    def test_streamed_answer(self, client, at, _):
        answer = client.request("GET", at + "stream")
        self.assertEqual((answer.status, answer.body, answer.cut), (200, b"one two three", False))
        self.assertNotIn("content-length", answer.fields)

    @every_pair(trailers=True)
    def test_trailers(self, client, at, upstream):
        answer = client.request("GET", at + "trailers")
        self.assertEqual((answer.status, answer.body, answer.cut), (200, b"body", False))
        if upstream == "http10" or (IS_ORACLE and upstream != "grpc"):
            return
        if IS_ORACLE and isinstance(client, Http1Client):
            return
        self.assertEqual(answer.trailers, [("x-sum", "4")])

    @every_pair()
    def test_without_body(self, client, at, _):
        for status in (204, 304):
            answer = client.request("GET", f"{at}{status}")
            self.assertEqual((answer.status, answer.body, answer.cut), (status, b"", False))
            self.assertEqual(answer.fields["etag"], '"e"')

    @every_pair()
    def test_errors(self, client, at, _):
        for status in (404, 500, 503):
            answer = client.request("GET", f"{at}{status}")
            self.assertEqual((answer.status, answer.body),
                             (status, b"status %d" % status))

    @every_pair()
    def test_early_answer(self, client, at, _):
        answer = client.request("POST", at + "early", MEGABYTE)
        self.assertEqual((answer.status, answer.body), (200, b"early"))

    @every_pair()
    def test_cut_answer(self, client, at, _):
        answer = client.request("GET", at + "cut")
        if answer.status == 502:
            return  # all of it came before the head was passed on
        self.assertEqual(answer.status, 200)
        self.assertTrue(answer.cut, "the client could take it for whole")

    @every_pair()
    def test_cancelled(self, client, at, _):
        client.start("GET", at + "slow")
        self.assertTrue(self.script.began.wait(PATIENCE))
        client.cancel()
        self.assertTrue(self.script.cancelled.wait(PATIENCE), "the upstream was not told")

    @every_pair()
    def test_many_in_a_row(self, client, at, _):
        for number in range(5):
            answer = client.request("POST", at + "echo", b"%d" % number)
            self.assertEqual((answer.status, answer.body), (200, b"%d" % number))


if __name__ == "__main__":
    unittest.main()
