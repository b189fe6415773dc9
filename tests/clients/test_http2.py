#!/usr/bin/python3
"""HTTP/2 to clients: requests by raw frames, curl, nghttp, h2load; with TLS, too."""

import os
import shutil
import socket
import ssl
import subprocess
import unittest

import harness
import http2
from harness import Connection, reply, wait_until
from http2 import Http2
from http2_support import Http2Case
from own_certificates import self_signed


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
