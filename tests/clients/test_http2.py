#!/usr/bin/python3
"""HTTP/2 to clients, without TLS: raw frames, curl, nghttp, h2load."""

import asyncio
import os
import shutil
import socket
import ssl
import subprocess
import threading
import unittest

import harness
import http2
from harness import Connection, beyond_nginx, echo, reply, wait_until
from http2 import Http2
from own_certificates import self_signed

LISTEN = "listen 127.0.0.1:8080 http2;" if harness.IS_ORACLE else "listen 127.0.0.1:8080; http2 on;"

CONF = """
events {}
http {
    log_format test '"$request" $status $bytes_sent $body_bytes_sent $request_length '
                    '$server_protocol "$http2" "$http_host" "$http_cookie"';
    access_log logs/access.log test;
    error_log logs/error.log info;
    SETTINGS
    server {
        LISTEN
        root html;
        location / { proxy_pass http://127.0.0.1:9001; proxy_http_version 1.1; }
        location /stream/ {
            proxy_pass http://127.0.0.1:9001; proxy_http_version 1.1;
            proxy_request_buffering off; proxy_buffering off;
        }
        location /here { return 200 "here\\n"; }
        location /static/ { }
        location /gone { return 444; }
    }
}
"""


class Http2Case(harness.TestCase):
    def start(self, settings="", answer=None, files=None):
        self.upstream = self.backend(answer=answer)
        text = CONF.replace("LISTEN", LISTEN).replace("SETTINGS", settings)
        self.weir = self.service(text, {9001: self.upstream}, files=files)
        return self.weir.port()

    def log_line(self, start, patience=harness.PATIENCE):
        def find():
            for line in self.weir.read("logs/access.log").splitlines():
                if line.startswith(f'"{start}'):
                    return line
            return None
        return wait_until(find, f"a line that begins with {start}", patience)


class Requests(Http2Case):
    def test_get(self):
        with Http2(self.start()) as client:
            answer = client.get("/here?x", fields=[("cookie", "a=1"), ("cookie", "b=2")])
            self.assertEqual(answer.status, 200)
            self.assertEqual(answer.body, b"here\n")
            self.assertEqual(answer.get("content-length"), "5")
            self.assertIsNone(answer.get("connection"))
            client.get("/static/none", method="HEAD")
        line = self.log_line("GET /here?x")
        self.assertIn('"GET /here?x HTTP/2.0" 200', line)
        self.assertIn('HTTP/2.0 "h2c" "localhost" "a=1; b=2"', line)
        self.assertIn(' 5 88 HTTP/2.0', line)
        self.assertIn(' 0 ', self.log_line("HEAD /static/none"))

    def test_empty_answers_end_with_their_head(self):
        port = self.start(files={"html/static/empty": b""})
        with Http2(port) as client:
            answer = client.get("/static/empty")
            self.assertEqual((answer.status, answer.get("content-length")), (200, "0"))
            self.assertEqual([frame for frame in client.frames if frame.type == http2.DATA], [])

    def test_refused(self):
        """nginx's words, and 400 on a connection that lives on."""
        with Http2(self.start()) as client:
            for method, target, words in (("get", "/here", 'invalid method: "get"'),
                                          ("GET", "*", 'invalid :path header: "*"'),
                                          ("GET", "/%zz", "invalid request while reading client")):
                self.assertEqual(client.get(target, method=method).status, 400)
                wait_until(lambda words=words: words in self.weir.errors(), words)
            self.assertEqual(client.get("/here", method="TRACE").status, 405)
            self.assertEqual(client.get("/here").status, 200)

    def test_settings(self):
        with Http2(self.start("http2_max_concurrent_streams 7; http2_body_preread_size 70000;")) as client:
            client.get("/here")
            self.assertEqual(client.settings[3], 7)
            self.assertEqual(client.settings[4], 70000)

    def test_head_and_missing(self):
        with Http2(self.start()) as client:
            answer = client.get("/here", method="HEAD")
            self.assertEqual((answer.status, answer.get("content-length"), answer.body), (200, "5", b""))
            self.assertEqual(client.get("/static/none").status, 404)

    def test_proxied(self):
        with Http2(self.start()) as client:
            answer = client.get("/a?b", fields=[("x-one", "1"), ("te", "trailers")])
            self.assertEqual((answer.status, answer.body), (200, b"backend\n"))
        request = self.upstream.last()
        self.assertEqual(request.line, "GET /a?b HTTP/1.1")
        self.assertEqual(request.get("X-One"), "1")
        self.assertIsNone(request.get(":authority"))

    def test_many_at_once(self):
        with Http2(self.start()) as client:
            streams = [client.ask(f"/n{i}") for i in range(100)]
            for stream in streams:
                self.assertEqual(client.answer(stream).status, 200)
        self.assertEqual(len(self.upstream.requests), 100)

    def test_http1_on_the_same_port(self):
        port = self.start()
        if harness.IS_ORACLE:
            self.skipTest("since 1.25")
        client = Connection(port)
        self.addCleanup(client.close)
        self.assertEqual(client.get("/here").status, 200)
        self.assertEqual(client.get("/here").body, b"here\n")
        # The preface in pieces, and what only begins like one.
        slow = Http2(port, start=False)
        self.addCleanup(slow.close)
        slow.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for piece in (b"P", b"RI * HT", b"TP/2.0\r\n\r\nSM"):
            slow.send(piece)
            wait_until(lambda: True)
        slow.send(b"\r\n\r\n" + http2.frame(http2.SETTINGS, 0, 0))
        self.assertEqual(slow.get("/here").status, 200)
        other = Connection(port)
        self.addCleanup(other.close)
        other.send("P")
        other.send("UT /here HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n")
        self.assertEqual(other.answer().status, 200)

    def test_upgrade_h2c_is_served_over_http1(self):
        port = self.start()
        if harness.IS_ORACLE:
            self.skipTest("since 1.25")
        client = Connection(port)
        self.addCleanup(client.close)
        answer = client.get("/here", fields=[
            ("Connection", "Upgrade, HTTP2-Settings"), ("Upgrade", "h2c"), ("HTTP2-Settings", "AAMAAABk")])
        self.assertEqual((answer.status, answer.body), (200, b"here\n"))

    def test_444(self):
        with Http2(self.start()) as client:
            answer = client.get("/gone")
            self.assertEqual((answer.status, answer.reset), (None, http2.PROTOCOL_ERROR))
            self.assertEqual(client.get("/here").status, 200)

    def test_misdirected(self):
        if harness.IS_ORACLE:
            self.skipTest("since 1.25")
        weir = self.service("""
events {}
http {
    error_log logs/error.log info;
    server { listen 127.0.0.1:8080; server_name one; http2 on; location / { return 200 one; } }
    server { listen 127.0.0.1:8080; server_name two; http2 off; location / { return 200 two; } }
}
""")
        with Http2(weir.port()) as client:
            self.assertEqual(client.get("/", host="one").status, 200)
            self.assertEqual(client.get("/", host="two").status, 421)
        wait_until(lambda: "the negotiated protocol is disabled" in weir.errors(), "the log line")


class Bodies(Http2Case):
    async def echo(self, request, reader, writer):
        writer.write(reply(request.body))
        return True

    def test_upload(self):
        port = self.start("client_max_body_size 10m; client_body_buffer_size 16k;", self.echo)
        body = bytes(range(256)) * 8192
        sent = {}
        with Http2(port) as client:
            stream = client.ask("/up", method="POST", end=False,
                                fields=[("content-length", str(len(body)))])
            # The windows are the server's to open.
            window = {0: 65535, stream: None}
            client.barrier()
            window[stream] = client.settings[4]
            for frame in client.frames:
                if frame.type == http2.WINDOW:
                    window[frame.stream] += int.from_bytes(frame.payload, "big")
            client.frames.clear()
            at = 0
            while at < len(body):
                size = min(16384, window[0], window[stream], len(body) - at)
                if size > 0:
                    client.data(stream, body[at:at + size], end=at + size == len(body))
                    at += size
                    window[0] -= size
                    window[stream] -= size
                    continue
                frame = client.read_frame()
                if frame.type == http2.WINDOW:
                    window[frame.stream] += int.from_bytes(frame.payload, "big")
            answer = client.answer(stream)
            self.assertEqual((answer.status, len(answer.body)), (200, len(body)))
            self.assertEqual(answer.body, body)
        del sent

    def test_without_length(self):
        with Http2(self.start(answer=self.echo)) as client:
            stream = client.ask("/up", method="POST", end=False)
            client.data(stream, b"abc")
            client.data(stream, b"def", end=True)
            self.assertEqual(client.answer(stream).body, b"abcdef")

    def test_too_large(self):
        with Http2(self.start("client_max_body_size 10;")) as client:
            answer = client.answer(client.ask("/up", method="POST", end=False,
                                              fields=[("content-length", "100")]))
            self.assertEqual(answer.status, 413)
            client.until(lambda: answer.reset is not None)
            self.assertEqual(answer.reset, http2.NO_ERROR)
            self.assertEqual(client.get("/here").status, 200)

    def test_streamed_with_back_pressure(self):
        released = threading.Event()
        got = []

        async def slow(request, reader, writer):
            await asyncio.get_running_loop().run_in_executor(None, released.wait, 30)
            body = b""
            while not body.endswith(b"0\r\n\r\n"):
                body += await reader.read(65536)
            got.append(len(body))
            writer.write(reply("done"))
            return False

        port = self.start(answer=slow)
        backend = self.upstream

        async def no_body(request, reader):
            return b""
        backend._body = no_body
        with Http2(port) as client:
            stream = client.ask("/stream/", method="POST", end=False)
            client.barrier()
            for _ in range(4):
                client.data(stream, b"x" * 16000)
            backend.wait_requests(1)
            released.set()
            client.data(stream, b"", end=True)
            self.assertEqual(client.answer(stream).body, b"done")
        self.assertGreater(got[0], 64000)

    def test_download_waits_for_windows(self):
        body = os.urandom(300000)
        port = self.start(files={"html/static/large": body})
        with Http2(port, window=False) as client:
            stream = client.ask("/static/large")
            other = client.ask("/here")
            client.until(lambda: len(client.streams[stream].body) == 65535)
            client.open_window(stream, 1000000)
            client.open_window(0, 5)
            self.assertEqual(len(client.streams[other].body), 0)
            client.until(lambda: len(client.streams[stream].body) +
                         len(client.streams[other].body) == 65540)
            client.open_window(0, 1000000)
            self.assertEqual(client.answer(stream).body, body)
            self.assertEqual(client.answer(other).body, b"here\n")
            sizes = {len(frame.payload) for frame in client.frames if frame.type == http2.DATA}
            self.assertLessEqual(max(sizes), 8192)

    def test_chunk_size(self):
        port = self.start("http2_chunk_size 1k;", files={"html/static/file": b"x" * 10000})
        with Http2(port) as client:
            self.assertEqual(len(client.get("/static/file").body), 10000)
            sizes = {len(frame.payload) for frame in client.frames if frame.type == http2.DATA}
            self.assertLessEqual(max(sizes), 1024)

    def test_range_and_sendfile(self):
        port = self.start("sendfile on;", files={"html/static/file": b"0123456789" * 10000})
        with Http2(port) as client:
            answer = client.get("/static/file", fields=[("range", "bytes=5-99990")])
            self.assertEqual((answer.status, len(answer.body)), (206, 99986))

    def test_trailers_of_the_answer(self):
        port = self.start('add_trailer x-sum "$sent_http_content_type" always;'
                          if not harness.IS_ORACLE else "")
        if harness.IS_ORACLE:
            self.skipTest("needs add_trailer with a value that stays")
        with Http2(port) as client:
            answer = client.get("/a")
            self.assertEqual(answer.trailers, [("x-sum", "text/plain")])

    @beyond_nginx
    def test_interim(self):
        with Http2(self.start(answer=self.echo)) as client:
            stream = client.ask("/up", method="POST", end=False,
                                fields=[("expect", "100-continue"), ("content-length", "3")])
            client.until(lambda: client.streams[stream].interim)
            self.assertEqual(client.streams[stream].interim, [(100, [])])
            client.data(stream, b"abc", end=True)
            self.assertEqual(client.answer(stream).body, b"abc")


class Ends(Http2Case):
    def test_client_cancels(self):
        arrived = threading.Event()
        ended = threading.Event()

        async def wait(request, reader, writer):
            arrived.set()
            await reader.read()
            ended.set()
            return False

        with Http2(self.start(answer=wait)) as client:
            stream = client.ask("/slow")
            self.assertTrue(arrived.wait(harness.PATIENCE))
            client.rst(stream)
            self.assertTrue(ended.wait(harness.PATIENCE))
            self.assertIn(" 499 ", self.log_line("GET /slow"))
            wait_until(lambda: "client canceled stream 1" in self.weir.errors(), "the log line")
            self.assertEqual(client.get("/here").status, 200)

    def test_keepalive_requests(self):
        with Http2(self.start("keepalive_requests 3;")) as client:
            for _ in range(3):
                self.assertEqual(client.get("/here").status, 200)
            client.wait_end()
            self.assertEqual(client.goaway[-1], (5, http2.NO_ERROR))

    def test_idle_timeout(self):
        with Http2(self.start("keepalive_timeout 200ms;")) as client:
            self.assertEqual(client.get("/here").status, 200)
            client.wait_end()
            self.assertEqual(client.goaway[-1], (1, http2.NO_ERROR))

    def test_half_a_head_times_out(self):
        with Http2(self.start("client_header_timeout 200ms;")) as client:
            client.barrier()  # (an ACK of the settings must not stand within the head)
            block = client.head("/here")
            client.send(http2.frame(http2.HEADERS, http2.END_STREAM, 1, block[:20]))
            client.wait_end()

    @beyond_nginx
    def test_half_a_head_times_out_beside_another_stream(self):
        released = threading.Event()
        self.addCleanup(released.set)

        async def wait(request, reader, writer):
            await asyncio.get_running_loop().run_in_executor(None, released.wait, 30)
            writer.write(reply("late"))
            return True

        with Http2(self.start("client_header_timeout 200ms;", answer=wait)) as client:
            client.ask("/slow")
            client.barrier()
            block = client.head("/here")
            client.send(http2.frame(http2.HEADERS, http2.END_STREAM, 3, block[:20]))
            client.wait_end()
        self.assertIn("499", self.log_line("GET /slow"))

    def test_stalled_window(self):
        port = self.start("send_timeout 300ms;", files={"html/static/large": b"x" * 200000})
        with Http2(port, window=False) as client:
            stream = client.ask("/static/large")
            got = client.answer(stream)
            self.assertEqual((got.status, got.reset), (200, http2.PROTOCOL_ERROR))
            self.assertEqual(len(got.body), 65535)
            self.assertEqual(client.answer(client.ask("/here", method="HEAD")).status, 200)

    @beyond_nginx
    def test_reload_that_closes_the_port_says_goodbye(self):
        released = threading.Event()

        async def wait(request, reader, writer):
            await asyncio.get_running_loop().run_in_executor(None, released.wait, 30)
            writer.write(reply("late"))
            return True

        port = self.start(answer=wait)
        with Http2(port) as client:
            stream = client.ask("/slow")
            self.upstream.wait_requests(1)
            text = CONF.replace("LISTEN", "listen 127.0.0.1:8081; http2 on;").replace("SETTINGS", "")
            self.weir.reload(text)
            client.until(lambda: client.goaway)
            released.set()
            self.assertEqual(client.answer(stream).body, b"late")
            client.wait_end()

    @beyond_nginx
    def test_quit_in_two_phases(self):
        with Http2(self.start()) as client:
            self.assertEqual(client.get("/here").status, 200)
            os.kill(self.weir.pid, harness.signal.SIGQUIT)
            client.until(lambda: client.goaway)
            self.assertEqual(client.goaway[0], (2**31 - 1, http2.NO_ERROR))
            client.wait_end()
            self.assertEqual(client.goaway[-1], (1, http2.NO_ERROR))
        self.weir.wait_end()

    def test_connection_error(self):
        with Http2(self.start()) as client:
            client.send(http2.frame(http2.DATA, 0, 0, b"x"))
            client.wait_end()
            self.assertEqual(client.goaway[-1][1], http2.PROTOCOL_ERROR)

    @beyond_nginx
    def test_flood(self):
        with Http2(self.start()) as client:
            client.send(http2.frame(http2.PING, 0, 0, b"x" * 8) * 5000)
            client.wait_end()
            self.assertEqual(client.goaway[-1][1], http2.ENHANCE_YOUR_CALM)
        wait_until(lambda: "http2 flood detected" in self.weir.errors(), "the log line")


TLS = """
events {}
http {
    ssl_certificate localhost.pem;
    ssl_certificate_key localhost.key;
    server {
        listen 127.0.0.1:8443 ssl HTTP2LISTEN;
        server_name localhost;
        HTTP2
        root html;
        location /which { return 200 "$http2 $server_protocol $scheme $ssl_alpn_protocol"; }
    }
    server { listen 127.0.0.1:8444 ssl; location / { return 200 "$server_protocol"; } }
}
"""


class Tls(harness.TestCase):
    def start(self, files=None):
        certificate, key = self_signed("localhost")
        text = TLS.replace("HTTP2LISTEN", "http2" if harness.IS_ORACLE else "")
        text = text.replace("HTTP2", "" if harness.IS_ORACLE else "http2 on;")
        self.weir = self.service(text, files={"localhost.pem": certificate, "localhost.key": key,
                                              **(files or {})})

    def test_alpn(self):
        self.start()
        with Http2(self.weir.port(8443), tls="localhost") as client:
            self.assertEqual(client.socket.selected_alpn_protocol(), "h2")
            self.assertEqual(client.get("/which", scheme="https").body,
                             b"h2 HTTP/2.0 https h2")

    def test_alpn_without_http2(self):
        self.start()
        context = ssl.create_default_context()
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        for port, offered, chosen in ((8444, ["h2", "http/1.1"], "http/1.1"),
                                      (8443, ["http/1.1"], "http/1.1"), (8443, ["h2"], "h2")):
            context.set_alpn_protocols(offered)
            with socket.create_connection(("127.0.0.1", self.weir.port(port))) as plain:
                with context.wrap_socket(plain, server_hostname="localhost") as secured:
                    self.assertEqual(secured.selected_alpn_protocol(), chosen)

    def test_large_file(self):
        body = os.urandom(3000000)
        self.start(files={"html/large": body})
        with Http2(self.weir.port(8443), tls="localhost") as client:
            streams = [client.ask("/large", scheme="https") for _ in range(3)]
            for stream in streams:
                self.assertEqual(client.answer(stream).body, body)

    @unittest.skipUnless(shutil.which("curl"), "curl")
    def test_curl(self):
        self.start()
        out = subprocess.run(
            ["curl", "-sk", "-w", " %{http_version}", f"https://localhost:{self.weir.port(8443)}/which",
             "--resolve", f"localhost:{self.weir.port(8443)}:127.0.0.1"],
            capture_output=True, text=True, timeout=harness.PATIENCE, check=True).stdout
        self.assertEqual(out, "h2 HTTP/2.0 https h2 2")


def masked(payload, opcode=1):
    """A WebSocket frame of a client."""
    return bytes([0x80 | opcode, 0x80 | len(payload)]) + b"\0\0\0\0" + payload


WEBSOCKET = """
events {}
http {
    access_log logs/access.log;
    error_log logs/error.log info;
    map $http_upgrade $connection_upgrade { default upgrade; '' close; }
    server {
        listen 127.0.0.1:8080;
        http2 on;
        EXTENDED
        location / {
            proxy_pass http://127.0.0.1:9001;
            proxy_http_version 1.1;
            proxy_set_header Upgrade $http_upgrade;
            proxy_set_header Connection $connection_upgrade;
        }
        location /plain { return 200 plain; }
    }
}
"""


@beyond_nginx
class WebSockets(harness.TestCase):
    def start(self, extended="http2_extended_connect on;", **more):
        self.upstream = self.backend(**more)
        self.weir = self.service(WEBSOCKET.replace("EXTENDED", extended), {9001: self.upstream})
        return self.weir.port()

    def test_echo(self):
        with Http2(self.start()) as client:
            client.barrier()
            self.assertEqual(client.settings[8], 1)
            stream = client.connect("/chat", fields=[("sec-websocket-protocol", "x")])
            other = client.ask("/plain")
            got = client.streams[stream]
            client.until(lambda: got.status is not None)
            self.assertEqual(got.status, 200)
            self.assertIsNone(got.get("upgrade"))
            self.assertIsNone(got.get("sec-websocket-accept"))
            for text in (b"hello", b"again"):
                got.body = b""
                client.data(stream, masked(text))
                client.until(lambda size=len(text): len(got.body) >= size + 2)
                self.assertEqual(got.body[2:], text)
            self.assertEqual(client.answer(other).body, b"plain")
            client.data(stream, masked(b"", 8), end=True)
            client.answer(stream)
            self.assertTrue(got.ended)
        request = self.upstream.last()
        self.assertEqual(request.line, "GET /chat HTTP/1.1")
        self.assertEqual(request.get("Upgrade"), "websocket")
        self.assertEqual(len(request.get("Sec-WebSocket-Key")), 24)

    def test_large_messages_wait_for_windows(self):
        with Http2(self.start(), window=False) as client:
            client.barrier()
            stream = client.connect("/")
            got = client.streams[stream]
            client.until(lambda: got.status is not None)
            payload = os.urandom(60000)
            message = bytes([0x82, 0xfe]) + len(payload).to_bytes(2, "big") + b"\0\0\0\0" + payload
            client.data(stream, message)
            client.until(lambda: len(got.body) == len(payload) + 4)
            self.assertEqual(got.body[4:], payload)
            client.rst(stream)
            client.barrier()
        wait_until(lambda: self.upstream.open_connections() == 0, "the upstream to be left")

    def test_off(self):
        with Http2(self.start("")) as client:
            client.barrier()
            self.assertNotIn(8, client.settings)
            self.assertEqual(client.answer(client.connect("/")).status, 400)

    def test_other_protocol(self):
        with Http2(self.start()) as client:
            self.assertEqual(client.answer(client.connect("/", protocol="ftp")).status, 501)

    def test_no_success_without_a_tunnel(self):
        with Http2(self.start()) as client:
            self.assertEqual(client.answer(client.connect("/plain")).status, 501)

    def test_wrong_handshake(self):
        async def wrong(request, reader, writer):
            writer.write(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n"
                         b"Connection: upgrade\r\nSec-WebSocket-Accept: nonsense\r\n\r\n")
            return True
        with Http2(self.start(answer=wrong, websocket=False)) as client:
            self.assertEqual(client.answer(client.connect("/")).status, 502)
        wait_until(lambda: "invalid WebSocket handshake" in self.weir.errors(), "the log line")

    def test_refused(self):
        async def refuse(request, reader, writer):
            writer.write(reply("no", status="403 Forbidden"))
            return True
        with Http2(self.start(answer=refuse, websocket=False)) as client:
            answer = client.answer(client.connect("/"))
            self.assertEqual((answer.status, answer.body), (403, b"no"))


@beyond_nginx
class Example(harness.TestCase):
    """conf.examples/http2.conf"""

    def setUp(self):
        async def echo(request, reader, writer):
            writer.write(reply(request.body))
            return True
        self.upstream = self.backend(answer=echo)
        self.weir = self.service(harness.example("http2.conf"), {9001: self.upstream})

    def test_both_protocols(self):
        client = Connection(self.weir.port())
        self.addCleanup(client.close)
        self.assertEqual(client.get("/protocol").body, b"HTTP/1.1 \n")
        with Http2(self.weir.port()) as other:
            self.assertEqual(other.get("/protocol").body, b"HTTP/2.0 h2c\n")
            stream = other.ask("/upload/x", method="POST", end=False)
            other.data(stream, b"a" * 50000, end=True)
            self.assertEqual(len(other.answer(stream).body), 50000)
            self.assertIn(16384, {len(frame.payload) for frame in other.frames})

    def test_websocket_both_ways(self):
        tunnel = self.tunnel(self.weir.port(), "/")
        self.assertTrue(echo(tunnel))
        with Http2(self.weir.port()) as client:
            client.barrier()
            stream = client.connect("/")
            client.data(stream, masked(b"hello"))
            got = client.streams[stream]
            client.until(lambda: len(got.body) >= 7)
            self.assertEqual(got.body[2:], b"hello")


class Programs(Http2Case):
    def run_program(self, *command):
        result = subprocess.run(command, capture_output=True, text=True, timeout=harness.PATIENCE,
                                check=False)
        self.assertEqual(result.returncode, 0, result.stdout + result.stderr)
        return result.stdout

    @unittest.skipUnless(shutil.which("curl"), "curl")
    def test_curl(self):
        port = self.start(files={"html/static/large": b"x" * 1000000})
        out = self.run_program("curl", "-s", "--http2-prior-knowledge", "-w", "%{http_version} %{size_download}",
                               "-o", "/dev/null", f"http://127.0.0.1:{port}/static/large")
        self.assertEqual(out, "2 1000000")

    @unittest.skipUnless(shutil.which("curl"), "curl")
    def test_curl_upload(self):
        async def count(request, reader, writer):
            writer.write(reply(str(len(request.body))))
            return True
        port = self.start("client_max_body_size 10m;", count)
        self.weir.write("upload", b"y" * 2000000)
        out = self.run_program("curl", "-s", "--http2-prior-knowledge", "--data-binary",
                               f"@{self.weir.path('upload')}", f"http://127.0.0.1:{port}/up")
        self.assertEqual(out, "2000000")

    @unittest.skipUnless(shutil.which("nghttp"), "nghttp")
    def test_nghttp(self):
        port = self.start()
        out = self.run_program("nghttp", "-v", f"http://127.0.0.1:{port}/here",
                               f"http://127.0.0.1:{port}/a")
        self.assertEqual(out.count(":status: 200"), 2)
        self.assertIn("backend", out)

    @unittest.skipUnless(shutil.which("h2load"), "h2load")
    def test_h2load(self):
        port = self.start("keepalive_requests 100000;")
        out = self.run_program("h2load", "-n", "5000", "-c", "10", "-m", "20",
                               f"http://127.0.0.1:{port}/here")
        self.assertIn("5000 succeeded, 0 failed, 0 errored", out)


if __name__ == "__main__":
    unittest.main()
