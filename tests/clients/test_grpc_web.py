#!/usr/bin/python3
"""gRPC-Web to gRPC: what a browser sends and gets, over HTTP/1.1, against a real gRPC backend."""

import base64
import struct
import unittest

import http2_peer as http2
from grpc_support import GrpcTestCase, SERVICE
from harness import Connection, beyond_nginx, get

CONF = """
events { worker_connections 512; }
http {
    access_log logs/access.log;
    server {
        listen 127.0.0.1:8080;
        location / {
            grpc_web on;
            grpc_pass grpc://127.0.0.1:9001;
            location /down/ { grpc_pass grpc://127.0.0.1:9002; }
        }
    }
}
"""


def frames(body):
    """(flag, data) of each frame."""
    found = []
    while body:
        flag, size = struct.unpack(">BI", body[:5])
        found.append((flag, body[5:5 + size]))
        body = body[5 + size:]
    return found


def decode(text):
    """Base64 that may be several texts, each padded."""
    return b"".join(base64.b64decode(text[at:at + 4]) for at in range(0, len(text), 4))


@beyond_nginx
class GrpcWeb(GrpcTestCase):
    def setUp(self):
        self.backend = self.grpc_backend()
        self.weir = self.service(CONF, {9001: self.backend})

    def call(self, method, message, form="application/grpc-web+proto", at="", fields=(), **more):
        body = http2.message(message)
        if "text" in form:
            body = base64.b64encode(body)
        fields = [("Content-Type", form), ("X-Grpc-Web", "1"), *fields]
        return get(self.weir.port(), at + SERVICE + method, method="POST", body=body, fields=fields,
                   **more)

    def check_ok(self, answer, body, message):
        self.assertEqual(answer.status, 200)
        got = frames(body)
        self.assertEqual(got[0], (0, message))
        self.assertEqual(got[-1][0], 0x80)
        self.assertIn(b"grpc-status: 0\r\n", got[-1][1].lower())
        self.assertNotIn("grpc-status", answer.fields)

    def test_binary(self):
        answer = self.call("Unary", b"hello")
        self.assertEqual(answer.fields["content-type"], "application/grpc-web")
        self.check_ok(answer, answer.body, b"hello")
        sent = dict(self.backend.calls[-1][1])
        self.assertEqual(sent["x-grpc-web"], "1")

    def test_text(self):
        for size in (0, 1, 2, 3, 5, 70_000):
            message = bytes(range(256)) * 280
            answer = self.call("Unary", message[:size], "application/grpc-web-text+proto")
            self.assertEqual(answer.fields["content-type"], "application/grpc-web-text")
            self.check_ok(answer, decode(answer.body), message[:size])

    def test_accept_chooses_the_form(self):
        answer = self.call("Unary", b"x", "application/grpc-web-text",
                           fields=[("Accept", "application/grpc-web+proto")])
        self.check_ok(answer, answer.body, b"x")
        answer = self.call("Unary", b"x", "application/grpc-web",
                           fields=[("Accept", "application/grpc-web-text")])
        self.check_ok(answer, decode(answer.body), b"x")

    def test_server_stream(self):
        answer = self.call("ServerStream", b"100 10")
        got = frames(answer.body)
        self.assertEqual(len(got), 101)
        self.assertEqual(got[99], (0, bytes([99]) * 10))

    def test_messages_arrive_one_by_one(self):
        with Connection(self.weir.port()) as client:
            body = http2.message(b"")
            client.send(f"POST {SERVICE}Forever HTTP/1.1\r\nHost: a\r\n"
                        "Content-Type: application/grpc-web\r\n"
                        f"Content-Length: {len(body)}\r\n\r\n".encode() + body)
            client.read_until(b"\r\n\r\n")
            self.assertEqual(int(client.read_until(b"\r\n"), 16), 10)
            self.assertEqual(client.read(10), http2.message(b"begun"))

    def test_status_and_metadata_of_a_failed_call(self):
        answer = self.call("Fail", b"5")
        # All in one head, or in the last frame: Python's server sends its head first.
        trailers = answer.fields if "grpc-status" in answer.fields else dict(
            line.split(": ", 1) for line in frames(answer.body)[-1][1].decode().splitlines())
        self.assertEqual(trailers["grpc-status"], "5")
        self.assertEqual(trailers["why"], "asked")
        self.assertEqual(trailers["grpc-message"], "as asked: 100%25")

    def test_errors_made_here(self):
        answer = self.call("Unary", b"x", at="/down")
        self.assertEqual((answer.status, answer.fields["grpc-status"], answer.body), (200, "14", b""))
        self.assertEqual(answer.fields["content-type"], "application/grpc-web+proto")

    def test_what_is_not_base64_is_refused(self):
        answer = get(self.weir.port(), SERVICE + "Unary", method="POST", body=b"!!!!",
                     fields=[("Content-Type", "application/grpc-web-text")])
        self.assertEqual(answer.fields["grpc-status"], "13")

    def test_other_requests_are_left_alone(self):
        answer = get(self.weir.port(), SERVICE + "Unary", method="POST", body=http2.message(b"x"),
                     fields=[("Content-Type", "application/grpc"), ("TE", "trailers")])
        self.assertEqual(answer.fields["content-type"], "application/grpc")
        self.assertEqual(frames(answer.body), [(0, b"x")])


if __name__ == "__main__":
    unittest.main()
