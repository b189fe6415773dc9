#!/usr/bin/python3
"""`pass`: connections of stream that servers of http, or others of stream, go on with."""

import re
import ssl
import unittest

from harness import beyond_nginx, wait_until
from stream_support import StreamCase, make_certificates, receive, receive_all

PASS = """
events { worker_connections 1024; }
http {
    access_log logs/http.log;
    server { listen 127.0.0.1:8000; location / { return 200 "http $scheme $https $ssl_protocol $remote_addr $server_port\n"; } }
    server { listen 127.0.0.1:8001 ssl; ssl_certificate %(folder)s/one.pem; ssl_certificate_key %(folder)s/one.key;
             location / { return 200 "https $scheme $ssl_server_name\n"; } }
    server { listen 127.0.0.1:8002 proxy_protocol; location / { return 200 "$proxy_protocol_addr\n"; } }
}
stream {
    error_log logs/error.log info;
    log_format facts '$server_port $status $bytes_received/$bytes_sent';
    access_log logs/stream.log facts;
    ssl_certificate %(folder)s/one.pem;
    ssl_certificate_key %(folder)s/one.key;
    map $ssl_preread_server_name $to { two.example 127.0.0.1:8001; odd.example 127.0.0.1; worse.example "a b"; default 127.0.0.1:8099; }
    server { listen 127.0.0.1:8080; pass 127.0.0.1:8000; }
    server { listen 127.0.0.1:8081 ssl; pass 127.0.0.1:8000; }
    server { listen 127.0.0.1:8082; ssl_preread on; pass $to; }
    server { listen 127.0.0.1:8083; pass 127.0.0.1:8084; }
    server { listen 127.0.0.1:8084; return "stream $remote_addr"; }
    server { listen 127.0.0.1:8085; pass 127.0.0.1:8086; }
    server { listen 127.0.0.1:8086; pass 127.0.0.1:8085; }
    server { listen 127.0.0.1:8087; pass 127.0.0.1:8002; }
    server { listen 127.0.0.1:8088 ssl; pass 127.0.0.1:8089; }
    server { listen 127.0.0.1:8089; return "inside $ssl_protocol"; }
    server { listen 127.0.0.1:8090 udp; pass 127.0.0.1:8084; }
    server { listen 127.0.0.1:8091; pass unix:%(folder)s/local.sock; }
    server { listen unix:%(folder)s/local.sock; proxy_pass 127.0.0.1:9001; }
}
"""


@beyond_nginx  # the module is younger than the nginx that the tests are checked with
class Pass(StreamCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = make_certificates("weir-pass-")

    def setUp(self):
        self.weir = self.service(PASS % {"folder": self.folder}, {9001: self.echoes()})

    def tls(self, port, name="one.example"):
        context = ssl.create_default_context()
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        sock = context.wrap_socket(self.connect(self.weir.port(port)), server_hostname=name)
        self.addCleanup(sock.close)
        return sock

    def get(self, sock):
        for _ in range(2):  # the connection is kept
            sock.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
            head = b""
            while b"\r\n\r\n" not in head:
                piece = sock.recv(1)
                self.assertTrue(piece, head)
                head += piece
            length = int(re.search(rb"Content-Length: (\d+)", head)[1])
            body = receive(sock, length)
        return body.decode()

    def test_to_http(self):
        text = self.get(self.connect(self.weir.port(8080)))
        self.assertEqual(text, f"http http   127.0.0.1 {self.weir.port(8080)}\n")

    def test_to_http_with_tls_ended(self):
        text = self.get(self.tls(8081))
        self.assertRegex(text, "^http https on TLSv1.3 127.0.0.1 ")

    def test_by_name(self):
        self.assertEqual(self.get(self.tls(8082, "two.example")), "https https two.example\n")

    def test_nobody_listens(self):
        for name, problem in (("nobody.example", "port not found for"), ("odd.example", "no port in pass"),
                              ("worse.example", "in pass")):
            with self.assertRaises(OSError):
                self.tls(8082, name)
            wait_until(lambda: problem in self.weir.errors(), problem)  # noqa: B023

    def test_to_stream(self):
        self.assertEqual(receive_all(self.connect(self.weir.port(8083))), b"stream 127.0.0.1")
        wait_until(lambda: len(self.weir.read("logs/stream.log").splitlines()) >= 2, "both log lines")

    def test_tls_ended_before_stream(self):
        self.assertEqual(receive_all(self.tls(8088)), b"inside TLSv1.3")

    def test_cycle(self):
        self.assertEqual(receive_all(self.connect(self.weir.port(8085))), b"")
        wait_until(lambda: "stream pass cycle" in self.weir.errors(), "the line")

    def test_proxy_protocol(self):
        sock = self.connect(self.weir.port(8087))
        sock.sendall(b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n")
        self.assertEqual(self.get(sock), "192.0.2.1\n")

    def test_datagrams(self):
        self.datagrams(self.weir.port(8090)).send(b"x")
        wait_until(lambda: "cannot pass UDP connection" in self.weir.errors(), "the line")

    def test_unix_socket_and_reload(self):
        sock = self.connect(self.weir.port(8091))
        sock.sendall(b"hello")
        self.assertEqual(receive(sock, 5), b"hello")
        self.weir.reload()
        sock.sendall(b"again")
        self.assertEqual(receive(sock, 5), b"again")


if __name__ == "__main__":
    unittest.main()
