#!/usr/bin/python3
"""What a peer can do to us has a limit: one test for each row of docs/limits.md."""

import asyncio
import unittest

import harness
from harness import Connection, get, wait_until

CONF = """
events {}
http {
    access_log logs/access.log;
    client_header_buffer_size 512;
    large_client_header_buffers 2 2k;
    client_max_body_size 10k;
    client_body_buffer_size 1k;
    SETTINGS
    server {
        listen 127.0.0.1:8080;
        location / {
            proxy_pass http://127.0.0.1:9001;
            proxy_http_version 1.1;
            proxy_set_header Connection "";
            proxy_buffer_size 1k;
            proxy_buffers 8 1k;
            proxy_busy_buffers_size 2k;
            proxy_connect_timeout 300ms;
            proxy_read_timeout 300ms;
        }
        location /free/ { client_max_body_size 0; proxy_pass http://127.0.0.1:9001; }
        location /turns/ { rewrite ^/turns/(.*)$ /turns/$1x; }
        location /here { return 200 here; }
        location = /loop { error_page 404 = /loop; return 404; }
    }
}
"""


class Limits(harness.TestCase):
    def start(self, settings="", answer=None):
        self.upstream = self.backend(answer=answer)
        self.weir = self.service(CONF.replace("SETTINGS", settings), {9001: self.upstream})
        return self.weir.port()

    def logged(self, status):
        wait_until(lambda: f'" {status} ' in self.weir.read("logs/access.log"), f"a line with {status}")

    def test_request_line(self):
        port = self.start()
        self.assertEqual(get(port, "/here?" + "x" * 1900).status, 200)
        self.assertEqual(get(port, "/here?" + "x" * 2100).status, 414)

    def test_one_field(self):
        port = self.start()
        self.assertEqual(get(port, "/here", fields=[("X", "x" * 1900)]).status, 200)
        self.assertEqual(get(port, "/here", fields=[("X", "x" * 2100)]).status, 400)

    def test_all_fields(self):
        port = self.start()
        self.assertEqual(get(port, "/here", fields=[(f"X{n}", "x" * 500) for n in range(3)]).status, 200)
        self.assertEqual(get(port, "/here", fields=[(f"X{n}", "x" * 500) for n in range(20)]).status,
                         400)

    @harness.beyond_nginx
    def test_number_of_fields(self):
        port = self.start("max_headers 20;")
        self.assertEqual(get(port, "/here", fields=[(f"X{n}", "") for n in range(15)]).status, 200)
        self.assertEqual(get(port, "/here", fields=[(f"X{n}", "") for n in range(25)]).status, 400)

    def test_declared_body(self):
        port = self.start()
        self.assertEqual(get(port, "/", method="POST", body=b"x" * 10240).status, 200)
        self.assertEqual(get(port, "/", method="POST", body=b"x" * 10241).status, 413)
        self.assertEqual(get(port, "/free/", method="POST", body=b"x" * 300_000).status, 200)
        self.assertEqual(len(self.upstream.last().body), 300_000)

    def test_chunked_body(self):
        port = self.start()
        for size, status in ((10_000, 200), (11_000, 413)):
            with Connection(port) as client:
                client.send("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n")
                client.send(f"{size:x}\r\n" + "x" * size + "\r\n0\r\n\r\n")
                self.assertEqual(client.answer().status, status)

    def test_refused_body_does_not_become_a_request(self):
        port = self.start()
        smuggled = b"GET /here HTTP/1.1\r\nHost: a\r\n\r\n" * 1000
        with Connection(port) as client:
            head = f"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: {len(smuggled)}\r\n\r\n"
            client.send(head.encode() + smuggled)
            self.assertEqual(client.answer().status, 413)
            try:
                rest = client.rest()
            except ConnectionResetError:
                rest = b""
            self.assertNotIn(b"here", rest)

    def test_time_for_the_head(self):
        with Connection(self.start("client_header_timeout 300ms;")) as client:
            client.send("GET / HTTP/1.1\r\nHost:")
            self.assertTrue(client.ended())
        self.logged(408)

    def test_time_for_the_body(self):
        with Connection(self.start("client_body_timeout 300ms;")) as client:
            client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nhalf")
            client.rest()
        self.logged(408)

    def test_idle_connection(self):
        with Connection(self.start("keepalive_timeout 300ms;")) as client:
            self.assertEqual(client.get("/here").status, 200)
            self.assertTrue(client.ended())

    def test_requests_of_a_connection(self):
        with Connection(self.start("keepalive_requests 3;")) as client:
            kept = [client.get("/here").fields["connection"] for _ in range(3)]
            self.assertEqual(kept, ["keep-alive", "keep-alive", "close"])
            self.assertTrue(client.ended())

    def test_head_of_the_upstream(self):
        async def large(_request, _reader, writer):
            writer.write(harness.reply("x", fields=[("X", "x" * 3000)]))

        self.assertEqual(get(self.start(answer=large)).status, 502)
        wait_until(lambda: "upstream sent too big header" in self.weir.errors(), "the reason")

    def test_silence_of_the_upstream(self):
        async def silent(_request, _reader, _writer):
            await asyncio.Event().wait()

        self.assertEqual(get(self.start(answer=silent)).status, 504)
        self.logged(504)

    def test_turns_of_rewriting(self):
        self.assertEqual(get(self.start(), "/turns/a").status, 500)
        wait_until(lambda: "rewrite or internal redirection cycle" in self.weir.errors(), "the reason")

    def test_turns_of_error_pages(self):
        self.assertEqual(get(self.start("recursive_error_pages on;"), "/loop").status, 500)


if __name__ == "__main__":
    unittest.main()
