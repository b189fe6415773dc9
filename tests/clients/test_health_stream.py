#!/usr/bin/python3
"""Active health checks of stream, by TCP and UDP, and conf.examples/health-checks.conf."""

import socket
import threading
import unittest

import harness
from harness import beyond_nginx, reply, wait_until
from health_support import HealthCase
from stream_support import Tcp

STREAM = """
worker_processes 2;
error_log logs/error.log info;
events {}
stream {
    proxy_connect_timeout 5s;
    upstream app { zone app 128k; server 127.0.0.1:9001; server 127.0.0.1:9002; }
    %(stream)s
    server {
        listen 127.0.0.1:8080 %(listen)s;
        %(server)s
        proxy_pass app;
        health_check %(check)s;
    }
}
"""


class UdpServer:
    def __init__(self, answer):
        self.answer = answer
        self.seen = []
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind(("127.0.0.1", 0))
        self.port = self.socket.getsockname()[1]
        threading.Thread(target=self.serve, daemon=True).start()

    def serve(self):
        while True:
            try:
                data, peer = self.socket.recvfrom(65536)
            except OSError:
                return
            if not data:
                return
            self.seen.append(data)
            if self.answer:
                self.socket.sendto(self.answer, peer)

    def stop(self):
        if self.socket.fileno() < 0:
            return
        # recvfrom() does not notice a close.
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
            other.sendto(b"", ("127.0.0.1", self.port))
        self.socket.close()


@beyond_nginx
class Stream(HealthCase):
    def start_stream(self, one, two, check="interval=100ms", **parts):
        values = {"stream": "", "listen": "", "server": "", "check": check}
        values.update(parts)
        return self.service(STREAM % values, {9001: one, 9002: two})

    def tcp(self, talk):
        server = Tcp(talk)
        self.addCleanup(server.stop)
        return server

    def udp(self, answer=b""):
        server = UdpServer(answer)
        self.addCleanup(server.stop)
        return server

    def asked(self, service):
        with socket.create_connection(("127.0.0.1", service.port()), timeout=harness.PATIENCE) as client:
            try:
                client.sendall(b"who")
                return client.recv(100)
            except ConnectionResetError:
                return b""

    @staticmethod
    def says(name):
        def talk(client):
            if client.recv(100):
                client.sendall(name)

        return talk

    def test_connect(self):
        one, two = self.tcp(self.says(b"one")), self.tcp(self.says(b"two"))
        weir = self.start_stream(one, two)
        wait_until(lambda: {self.asked(weir) for _ in range(4)} == {b"one", b"two"}, "both")
        two.stop()
        self.wait_log(weir, r"\[warn\].*: peer is unhealthy while connecting to upstream, health check \"\" of peer "
                            rf'127\.0\.0\.1:{two.port} in upstream "app"\n')
        self.assertEqual({self.asked(weir) for _ in range(4)}, {b"one"})
        one.stop()
        wait_until(lambda: self.asked(weir) == b"", "no live upstreams")
        self.wait_log(weir, "no live upstreams while connecting to upstream")

    def test_send_and_expect(self):
        answers = {"one": b"+PO\x00NG\r\n", "two": b"+PO\x00NG\r\n"}
        seen = []

        def named(name):
            def talk(client):
                question = client.recv(100)
                seen.append(question)
                if question == b"PI\x80NG":
                    # In two pieces.
                    client.sendall(answers[name][:3])
                    client.sendall(answers[name][3:])
                    client.recv(100)
                elif question:
                    client.sendall(name.encode())

            return talk

        one, two = self.tcp(named("one")), self.tcp(named("two"))
        weir = self.start_stream(
            one, two, "interval=100ms match=ping mandatory",
            stream=r'health_check_timeout 300ms; match ping { send "PI\x80NG"; expect "PO\x00NG"; }')
        wait_until(lambda: {self.asked(weir) for _ in range(4)} == {b"one", b"two"}, "both")
        answers["two"] = b"-ERR\r\n"
        self.wait_log(weir, r"upstream timed out \(110: Connection timed out\) while reading from upstream, "
                            rf'health check "ping" of peer 127\.0\.0\.1:{two.port}')
        self.wait_log(weir, r'peer is unhealthy while reading from upstream, health check "ping"')
        self.assertEqual({self.asked(weir) for _ in range(4)}, {b"one"})
        # Only so many bytes are looked at.
        answers["two"] = b"x" * 40000 + b"PO\x00NG"
        self.wait_log(weir, r'unexpected data while checking data, health check "ping"')
        answers["two"] = b"+PO\x00NG\r\n"
        wait_until(lambda: {self.asked(weir) for _ in range(4)} == {b"one", b"two"}, "both again")
        self.assertIn("peer is healthy while checking data", weir.errors())

    def test_proxy_protocol(self):
        heads = []

        def talk(client):
            data = b""
            while b"\r\n" not in data:
                more = client.recv(100)
                if not more:
                    return
                data += more
            heads.append(data)
            client.sendall(b"ready")

        one, two = self.tcp(talk), self.tcp(talk)
        self.start_stream(one, two, "interval=100ms match=m mandatory",
                          stream="match m { expect ~ ^rea; }", server="proxy_protocol on;")
        wait_until(lambda: len(heads) >= 4, "heads")
        self.assertRegex(heads[0], rb"^PROXY TCP4 127\.0\.0\.1 127\.0\.0\.1 \d+ \d+\r\n$")

    def test_tls(self):
        one, two = self.tls_backend(), self.tcp(self.says(b"what?"))
        weir = self.start_stream(one, two, "interval=100ms match=m mandatory", server="proxy_ssl on;",
                                 stream=r'match m { send "GET / HTTP/1.0\r\n\r\n"; expect secret; }')
        self.wait_log(weir, rf"peer is healthy while checking data, .* of peer 127\.0\.0\.1:{one.port}")
        self.wait_log(weir, rf"peer is unhealthy while SSL handshaking to upstream, .* of peer 127\.0\.0\.1:{two.port}")

    def test_datagrams(self):
        one, two = self.udp(), self.udp()
        weir = self.start_stream(one, two, "interval=50ms udp mandatory", listen="udp",
                                 stream="health_check_timeout 200ms;")
        self.wait_log(weir, "peer is healthy while reading from upstream", 2)
        self.assertEqual(one.seen[0], b"nginx health check")
        two.stop()
        self.wait_log(weir, r"recv\(\) failed \(111: Connection refused\) while reading from upstream, health check")
        self.wait_log(weir, rf"peer is unhealthy while reading from upstream, .* of peer 127\.0\.0\.1:{two.port}")

    def test_datagrams_with_an_answer(self):
        one, two = self.udp(b"\x00\x01 yes"), self.udp(b"\x00\x01 yes")
        weir = self.start_stream(
            one, two, "interval=50ms udp match=dns", listen="udp",
            stream=r'health_check_timeout 300ms; match dns { send "\x00\x01"; expect ~* "\x00\x01 YES"; }')
        wait_until(lambda: len(one.seen) > 3 and len(two.seen) > 3, "checks")
        self.assertEqual(one.seen[0], b"\x00\x01")
        self.assertNotIn("unhealthy", weir.errors())
        two.answer = b"no"
        self.wait_log(weir, r"unexpected data while checking data, health check \"dns\"")
        self.wait_log(weir, r"peer is unhealthy while checking data, health check \"dns\"")
        two.answer = b""
        self.wait_log(weir, r"upstream timed out \(110: Connection timed out\) while reading from upstream")


@beyond_nginx
class Example(HealthCase):
    def test_health_checks_conf(self):
        def server(name):
            async def answer(request, _reader, writer):
                ready = request.target == "/ready" and request.get("Host") == "site.example.com"
                fields = [("Content-Type", "application/json")] if ready else []
                writer.write(reply(self.states[name] if ready else name, fields=fields))
                return True

            return self.backend(name, answer)

        self.states = {name: '{"ready": true}' for name in ("one", "two", "three")}

        def pong(client):
            question = client.recv(100)
            if question:
                client.sendall(b"+PONG\r\n" if question == b"PING\r\n" else b"cache")

        caches = [Tcp(pong), Tcp(pong)]
        for cache in caches:
            self.addCleanup(cache.stop)
        weir = self.service(harness.example("health-checks.conf"),
                            {9001: server("one"), 9002: server("two"), 9003: server("three"),
                             9004: caches[0], 9005: caches[1]})
        self.wait_served(weir, {"one", "two"})
        self.states["one"] = '{"ready": false}'
        self.wait_log(weir, r'\[warn\].*: peer is unhealthy while checking body, health check "ready" of peer')
        self.assertEqual(self.served_by(weir), {"two"})
        wait_until(lambda: all(cache.count > 1 for cache in caches), "checks of the caches")
        with socket.create_connection(("127.0.0.1", weir.port(8081)), timeout=harness.PATIENCE) as client:
            client.sendall(b"get")
            self.assertEqual(client.recv(100), b"cache")


if __name__ == "__main__":
    unittest.main()
