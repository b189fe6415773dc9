#!/usr/bin/python3
"""WebSockets in streams of HTTP/2, and conf.examples/http2.conf."""

import os
import unittest

import harness
from harness import Connection, beyond_nginx, echo, reply, wait_until
from http2 import Http2


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


if __name__ == "__main__":
    unittest.main()
