#!/usr/bin/python3
"""TCP and UDP through the stream block: the examples, and whom `hash` chooses."""

import hashlib
import re
import socket
import unittest

import harness
from harness import beyond_nginx, wait_until
from stream_support import StreamCase, client_hello, receive, receive_all


class Examples(StreamCase):
    def test_tcp(self):
        def half(sock):
            data = receive_all(sock)
            sock.sendall(b"got " + data)

        first = self.tcp(half)
        weir = self.service(harness.example("stream-tcp.conf"), {9001: first, 9002: first})
        client = self.connect(weir.port())
        client.sendall(b"all of it")
        client.shutdown(socket.SHUT_WR)
        self.assertEqual(receive_all(client), b"got all of it")
        wait_until(lambda: re.search(r"TCP 200 13 9 [\d.]+ \"127.0.0.1:\d+\" [\d.]+\n",
                                     weir.read("logs/stream.log")), "the log line")
        client = self.connect(weir.port(8081))
        client.sendall(b"x")
        client.shutdown(socket.SHUT_WR)
        self.assertEqual(client.recv(1), b"")  # no half-close here: the end ends all

    def test_proxy_protocol_line(self):
        seen = []
        first = self.tcp(lambda sock: seen.append(receive(sock, 60)))
        weir = self.service(harness.example("stream-tcp.conf"), {9001: first, 9002: first})
        client = self.connect(weir.port(8081))
        line = f"PROXY TCP4 127.0.0.1 127.0.0.1 {client.getsockname()[1]} {weir.port(8081)}\r\n".encode()
        client.sendall(b"x" * 60)
        wait_until(lambda: (line + b"x" * 60)[:60] in seen, "the line")  # probes come by, too

    def test_tls_routing(self):
        def named(name):
            return self.tcp(lambda sock: sock.sendall(name + hashlib.sha256(sock.recv(4096)).digest()))

        backends = {9001: named(b"one"), 9002: named(b"two"), 9003: named(b"any")}
        weir = self.service(harness.example("stream-tls-routing.conf"), backends)
        for asked, answer in (("mail.example.com", b"one"), ("WWW.Example.com", b"two"),
                              ("elsewhere.example", b"any")):
            hello = client_hello(asked)
            client = self.connect(weir.port())
            client.sendall(hello[:20])
            # The one worker answers a client that came later: it has seen this beginning alone.
            later = self.connect(weir.port())
            later.sendall(b"GET / HTTP/1.0\r\n\r\n")
            self.assertTrue(receive_all(later).startswith(b"any"))
            client.sendall(hello[20:])
            self.assertEqual(receive_all(client), answer + hashlib.sha256(hello).digest(), asked)
        client = self.connect(weir.port())
        client.sendall(b"GET / HTTP/1.0\r\n\r\n")
        self.assertTrue(receive_all(client).startswith(b"any"))

    def test_udp(self):
        echo = self.echoes()
        weir = self.service(harness.example("stream-udp.conf"), {9001: echo})
        once = self.datagrams(weir.port())
        for text in (b"one", b"two"):
            self.assertTrue(self.ask(once, text))
        self.assertGreaterEqual(len(echo.peers), 2)  # each with a session of its own
        echo.peers.clear()
        long = self.datagrams(weir.port(8081))
        for number in range(20):
            self.assertTrue(self.ask(long, b"%d" % number))
        self.assertEqual(len(echo.peers), 1)


class Hash(StreamCase):
    """Which client has which server: by the same points as nginx."""

    SESSIONS = 10000

    def choices(self, service, sessions):
        chosen = []
        for number in range(sessions):
            with socket.socket() as client:
                client.settimeout(harness.PATIENCE)
                client.bind((f"127.{1 + number % 100}.{number // 100 % 250}.{1 + number % 250}", 0))
                client.connect(("127.0.0.1", service.port()))
                chosen.append(client.recv(1))
        return chosen

    @unittest.skipUnless(harness.os.path.exists(harness.ORACLE), "no nginx")
    @beyond_nginx
    def test_as_nginx_and_one_dies(self):
        servers = {9001 + n: self.tcp(lambda sock, name=b"%d" % n: sock.sendall(name)) for n in range(4)}
        weir = self.service(harness.example("stream-hash.conf"), servers)
        ours = self.choices(weir, self.SESSIONS)
        self.assertEqual(set(ours), {b"0", b"1", b"2", b"3"})
        self.addCleanup(setattr, harness, "BINARY", harness.BINARY)
        self.addCleanup(setattr, harness, "IS_ORACLE", False)
        harness.BINARY, harness.IS_ORACLE = harness.ORACLE, True
        nginx = self.service(harness.example("stream-hash.conf"), servers)
        self.assertEqual(self.choices(nginx, self.SESSIONS), ours)
        servers[9003].stop()
        moved = self.choices(weir, 2000)
        for before, after in zip(ours, moved):
            if before == b"2":
                self.assertNotEqual(after, b"2")
            else:
                self.assertEqual(after, before)


if __name__ == "__main__":
    unittest.main()
