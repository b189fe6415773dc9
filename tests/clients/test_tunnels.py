#!/usr/bin/python3
"""Tunnels of any protocol, byte by byte: what raw clients and a raw backend see."""

import asyncio
import hashlib
import socket
import threading
import unittest

import harness
from harness import Connection, beyond_nginx, wait_until

CONF = """
events { worker_connections 4096; }
http {
    access_log logs/access.log;
    server {
        listen 127.0.0.1:8080 backlog=2048;
        location / {
            proxy_pass http://127.0.0.1:9001;
            proxy_http_version 1.1;
            proxy_set_header Upgrade $http_upgrade;
            proxy_set_header Connection "upgrade";
        }
    }
}
"""

SWITCH = b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: raw\r\n\r\n"
ASK = b"GET /x HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: raw\r\n\r\n"


def noise(size, seed=1):
    block = b"".join(hashlib.sha256(f"{seed}-{n}".encode()).digest() for n in range(2048))
    return (block * (size // len(block) + 1))[:size]


async def echo(_request, reader, writer):
    writer.write(SWITCH)
    while data := await reader.read(65536):
        writer.write(data)
        await writer.drain()
    return False


class Tunnels(harness.TestCase):
    def start(self, answer=echo):
        self.upstream = self.backend("raw", answer=answer, websocket=False)
        self.weir = self.service(CONF, {9001: self.upstream})
        return self.weir.port()

    def open(self, port, extra=b""):
        client = Connection(port)
        self.addCleanup(client.close)
        client.send(ASK + extra)
        answer = client.answer()
        self.assertEqual(answer.status, 101)
        self.assertEqual(answer.fields["upgrade"], "raw")
        self.assertEqual(answer.fields["connection"].lower(), "upgrade")
        return client

    def test_any_bytes_pass(self):
        client = self.open(self.start())
        for data in (b"x", b"\r\n\r\n", bytes(range(256)), b"GET / HTTP/1.1\r\n\r\n", noise(100_000)):
            client.send(data)
            self.assertEqual(client.read(len(data)), data)

    def test_bytes_behind_the_handshake_are_not_lost(self):
        client = self.open(self.start(), extra=b"early bird")
        self.assertEqual(client.read(10), b"early bird")

    def test_bytes_behind_the_answer_are_not_lost(self):
        async def eager(_request, reader, writer):
            writer.write(SWITCH + b"at once")
            await reader.read(1)
            return False

        client = self.open(self.start(eager))
        self.assertEqual(client.read(7), b"at once")

    def test_handshake_in_single_bytes(self):
        client = Connection(self.start())
        self.addCleanup(client.close)
        client.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for byte in ASK:
            client.send(bytes([byte]))
        self.assertEqual(client.answer().status, 101)
        client.send(b"ping")
        self.assertEqual(client.read(4), b"ping")

    def test_much_in_both_directions_at_once(self):
        client = self.open(self.start())
        data = noise(16 << 20)
        sender = threading.Thread(target=client.send, args=(data,))
        sender.start()
        got = client.read(len(data))
        sender.join()
        self.assertEqual(hashlib.sha256(got).digest(), hashlib.sha256(data).digest())

    def test_everything_arrives_before_the_end(self):
        data = noise(3 << 20)

        async def give_and_end(_request, _reader, writer):
            writer.write(SWITCH + data)
            await writer.drain()
            return False

        client = self.open(self.start(give_and_end))
        self.assertEqual(client.rest(), data)

    def test_end_of_client_reaches_the_backend(self):
        seen = threading.Event()

        async def until_end(_request, reader, writer):
            writer.write(SWITCH)
            while await reader.read(65536):
                pass
            seen.set()
            return False

        client = self.open(self.start(until_end))
        client.send(b"last words")
        client.socket.shutdown(socket.SHUT_WR)
        self.assertTrue(seen.wait(harness.PATIENCE))
        self.assertTrue(client.ended())

    def test_reader_that_does_not_read_slows_the_writer(self):
        written = [0]
        stuck = threading.Event()

        async def flood(_request, _reader, writer):
            writer.write(SWITCH)
            block = noise(1 << 20)
            while written[0] < 256 << 20:
                writer.write(block)
                try:
                    await asyncio.wait_for(writer.drain(), 1)
                except asyncio.TimeoutError:
                    stuck.set()
                    await writer.drain()
                written[0] += len(block)
            return False

        client = self.open(self.start(flood))
        self.assertTrue(stuck.wait(harness.PATIENCE), "the backend is never slowed down")
        held = written[0]
        self.assertLess(held, 64 << 20)
        expected = noise(1 << 20)
        for _ in range(held >> 20):
            self.assertEqual(client.read(1 << 20), expected)

    def test_refused_upgrade_stays_http(self):
        async def refuse(_request, _reader, writer):
            writer.write(harness.reply("plain"))

        client = Connection(self.start(refuse))
        self.addCleanup(client.close)
        client.send(ASK + b"GET /second HTTP/1.1\r\nHost: a\r\n\r\n")
        for target in ("/x", "/second"):
            answer = client.answer()
            self.assertEqual((answer.status, answer.body), (200, b"plain"))
            self.assertEqual(self.upstream.wait_requests(1 if target == "/x" else 2)[-1].target, target)

    def test_refused_upgrade_with_body_smuggles_nothing(self):
        async def refuse(_request, _reader, writer):
            writer.write(harness.reply("plain"))

        client = Connection(self.start(refuse))
        self.addCleanup(client.close)
        smuggled = b"GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n"
        head = ASK.replace(b"\r\n\r\n", b"\r\nContent-Length: %d\r\n\r\n" % len(smuggled))
        client.send(head.replace(b"GET", b"POST") + smuggled + b"GET /next HTTP/1.1\r\nHost: a\r\n\r\n")
        self.assertEqual(client.answer().body, b"plain")
        self.assertEqual(client.answer().body, b"plain")
        self.assertEqual([request.target for request in self.upstream.requests], ["/x", "/next"])
        self.assertEqual(self.upstream.requests[0].body, smuggled)

    def test_bytes_and_status_are_logged_at_the_end(self):
        client = self.open(self.start())
        client.send(b"x" * 5000)
        client.read(5000)
        self.assertEqual(self.weir.read("logs/access.log"), "")
        client.close()
        line = wait_until(lambda: self.weir.read("logs/access.log"), "the log line")
        self.assertIn('"GET /x HTTP/1.1" 101 5000 ', line)

    def test_a_thousand_tunnels(self):
        port = self.start()
        clients = [self.open(port) for _ in range(1000)]
        for number, client in enumerate(clients):
            client.send(f"message {number};")
        for number, client in enumerate(clients):
            self.assertEqual(client.read_until(b";"), f"message {number}".encode())
        for client in clients:
            client.close()
        wait_until(lambda: self.upstream.open_connections() == 0, "all of them to end")

    @beyond_nginx
    def test_idle_tunnels_hold_no_buffers(self):
        port = self.start()
        clients = [self.open(port) for _ in range(100)]
        before = self.weir.private_memory()
        clients += [self.open(port) for _ in range(400)]
        for client in clients:
            client.send(b"used")
            self.assertEqual(client.read(4), b"used")
        grown = self.weir.private_memory() - before
        if "sanitize" not in harness.BINARY:
            self.assertLess(grown / 400, 3000)


if __name__ == "__main__":
    unittest.main()
