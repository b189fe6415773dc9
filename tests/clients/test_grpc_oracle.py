#!/usr/bin/python3
"""What grpc_pass sends upstream and answers, frame by frame, beside Debian's nginx."""

import os
import unittest

import harness
import http2_peer as http2

CONF = """
events { worker_connections 512; }
http {
    access_log logs/access.log;
    server_tokens off;
    upstream group { server 127.0.0.1:9001; }
    server {
        listen 127.0.0.1:8080 http2;
        location / { grpc_pass grpc://127.0.0.1:9001; }
        location /set/ {
            grpc_set_header X-A "b $args";
            grpc_set_header X-Empty "";
            grpc_set_header x-lower $request_method;
            grpc_pass group;
        }
        location /te/ { grpc_set_header TE ""; grpc_set_header Content-Length ""; grpc_pass group; }
        location /rewritten/ { rewrite ^/rewritten/(.*)$ "/x y/$1" break; grpc_pass group; }
        location /variable/ { set $to grpc://group; grpc_pass $to; }
        location /address/ { set $to 127.0.0.1:9001; grpc_pass $to; }
        location /hide/ { grpc_hide_header X-One; grpc_pass_header Server; grpc_pass group; }
        location /broken/ { set $to grpc://127.0.0.1:x; grpc_pass $to; }
        location /portless/ { set $to grpc://127.0.0.1; grpc_pass $to; }
        location /intercepted/ {
            grpc_intercept_errors on;
            error_page 404 =418 @own;
            grpc_pass group;
        }
        location @own { return 418 own; }
        location /redirected/ { grpc_pass group; }
        location /own/ { return 200 own; }
    }
}
"""

GRPC = [("te", "trailers"), ("content-type", "application/grpc")]
# Path, fields, body, method.
REQUESTS = [
    ("/plain", GRPC, b"abc", "POST"),
    ("/a%20b%2f?x=1&y=%20", GRPC, b"", "POST"),
    ("/length", [*GRPC, ("content-length", "3")], b"abc", "POST"),
    ("/metadata", [*GRPC, ("x-bin", "AA=="), ("grpc-timeout", "5S"), ("x-twice", "1"),
                   ("x-twice", "2"), ("user-agent", "me"), ("accept-encoding", "gzip")], b"abc", "POST"),
    ("/cookies", [("cookie", "a=1"), ("cookie", "b=2")], b"", "GET"),
    ("/accepts", [("te", "trailers")], b"", "POST"),
    ("/set/x?a=1", GRPC, b"abc", "POST"),
    ("/te/x", [*GRPC, ("content-length", "3")], b"abc", "POST"),
    ("/rewritten/x", GRPC, b"", "POST"),
    ("/variable/x", GRPC, b"", "POST"),
    ("/address/x", GRPC, b"", "GET"),
    ("/head", [], b"", "HEAD"),
    ("/hide/fields", GRPC, b"", "POST"),
    ("/broken/x", [], b"", "POST"),
    ("/portless/x", [], b"", "POST"),
    ("/status/404", GRPC, b"", "POST"),
    ("/status/503", GRPC, b"", "POST"),
    ("/intercepted/status/404", GRPC, b"", "POST"),
    ("/intercepted/status/500", GRPC, b"", "POST"),
    ("/redirected/accel", GRPC, b"", "POST"),
    ("/trailers-only", GRPC, b"abc", "POST"),
    ("/no-trailers", GRPC, b"abc", "POST"),
    ("/empty", GRPC, b"abc", "POST"),
    ("/refused", GRPC, b"abc", "POST"),
    ("/reset", GRPC, b"abc", "POST"),
    ("/early", GRPC, b"abc", "POST"),
    ("/cut", GRPC, b"abc", "POST"),
]

# Where weir means to differ: path → why.
DECLARED = {
    "/refused": "a stream that the peer has not looked at is sent again, and then is an error",
    "/head": "nginx sends HEAD requests an answer of its own length",
}


def serve(seen):
    def on_stream(stream):
        head = dict(stream.head)
        path = head[":path"]
        last = path.partition("?")[0].rpartition("/")[2]
        if path.startswith("/early"):
            stream.send_head([(":status", "200"), ("grpc-status", "8")], end=True)
            return stream.reset(http2.NO_ERROR)
        body, trailers, _ = stream.read_rest()
        seen.append((stream.head, body, trailers))
        ok = [(":status", "200"), ("content-type", "application/grpc"), ("x-one", "1"),
              ("server", "backend"), ("date", "then")]
        if "/status/" in path:
            stream.send_head([(":status", last), ("content-type", "text/plain")])
            stream.send_data(b"said so", end=True)
        elif last == "accel":
            stream.send_head([(":status", "200"), ("x-accel-redirect", "/own/")], end=True)
        elif last == "trailers-only":
            stream.send_head([*ok, ("grpc-status", "5"), ("grpc-message", "no%20")], end=True)
        elif last == "empty":
            stream.send_head(ok, end=True)
        elif last == "refused":
            stream.reset(http2.REFUSED_STREAM)
        elif last == "reset":
            stream.reset(http2.INTERNAL_ERROR)
        elif last == "cut":
            stream.send_head(ok)
            stream.send_data(b"part")
            stream.reset(http2.INTERNAL_ERROR)
        else:
            stream.send_head(ok)
            stream.send_data(b"hello")
            if last == "no-trailers":
                stream.send_data(b"", end=True)
            else:
                stream.send_trailers([("grpc-status", "0"), ("x-last", "2")])
        return None

    return on_stream


class Side:
    """One program with a backend of its own: what came of each request."""

    def __init__(self, binary):
        self.seen = []
        self.backend = http2.Server(serve(self.seen))
        harness.BINARY, before = binary, harness.BINARY
        try:
            self.service = harness.Service(CONF, {9001: self.backend})
        finally:
            harness.BINARY = before
        self.outcomes = {path: self.ask(*rest, path=path) for path, *rest in REQUESTS}
        self.service.stop(check=False)
        self.backend.stop()

    def ask(self, fields, body, method, path):
        self.seen.clear()
        peer = http2.connect(self.service.port())
        stream = peer.open([(":method", method), (":scheme", "http"), (":path", path),
                            (":authority", "client.example"), *fields], end=not body)
        try:
            try:
                if body:
                    stream.send_data(body, end=True)
            except ConnectionResetError:
                pass  # answered before all of it was sent
            event = stream.next()
            head = dict(event.value) if event.kind == "head" else {}
            answer = stream.read_rest() if event.kind == "head" else (b"", None, event.value)
        finally:
            peer.close()
        for name in ("date", "server"):  # ours, but where the backend's is passed on
            if head.get(name) not in ("backend", "then"):
                head.pop(name, None)
        port = str(self.backend.port)
        asked = [(sorted((name, value.replace(port, "PORT")) for name, value in one), data, trailers)
                 for one, data, trailers in self.seen]
        return {"asked": asked, "head": head, "body": answer[0], "trailers": answer[1],
                "cut": answer[2] not in (None, http2.NO_ERROR)}


@harness.needs_http2
@unittest.skipUnless(os.path.exists(harness.ORACLE) and not harness.IS_ORACLE, "no nginx to ask")
class Oracle(unittest.TestCase):
    def test_same_as_nginx(self):
        theirs, ours = Side(harness.ORACLE).outcomes, Side(harness.BINARY).outcomes
        for path, *_ in REQUESTS:
            if path in DECLARED:
                continue
            with self.subTest(path=path):
                mine, other = ours[path], theirs[path]
                self.assertEqual(mine["asked"], other["asked"])
                gone = other["head"].get(":status", "")
                if gone.startswith("5") and mine["head"].get("grpc-status"):
                    continue  # an error made here
                if mine["trailers"] and not other["trailers"] and other["cut"]:
                    self.assertEqual(dict(mine["trailers"])["grpc-status"], "14")
                    continue
                self.assertEqual(mine, other)


if __name__ == "__main__":
    unittest.main()
