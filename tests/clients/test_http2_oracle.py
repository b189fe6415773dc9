#!/usr/bin/python3
"""What HTTP/2 clients are answered, and what is logged, beside Debian's nginx."""

import os
import re
import unittest

import harness
from harness import reply, wait_until
from http2 import Http2

CONF = """
events { worker_connections 512; }
http {
    log_format test '$request|$status|$body_bytes_sent|$request_length|$server_protocol|$http_host|'
                    '$host|$connection_requests|$request_completion|$scheme|$content_length|$http_cookie';
    access_log logs/access.log test;
    error_log logs/error.log info;
    client_max_body_size 100k;
    server_tokens off;
    server {
        listen 127.0.0.1:8080 http2;
        root html;
        location / { proxy_pass http://127.0.0.1:9001; proxy_http_version 1.1; }
        location /here { return 200 "here"; }
        location /none { return 200; }
        location /204 { return 204; }
        location /there { return 301 /x; }
        location /s/ { expires 1h; add_header X-A "b c"; }
        location /if { if ($http_x) { return 403; } return 200 "$request_uri $args"; }
    }
}
"""

# Name, target, more for Http2.ask; `body` is sent in these pieces.
REQUESTS = [
    ("return", "/here", {}),
    ("query", "/here?a=b", {"host": "x.y:80", "fields": [("user-agent", "abc")]}),
    ("empty", "/none", {}),
    ("no content", "/204", {}),
    ("redirect", "/there", {"host": "client.example"}),
    ("head", "/s/file", {"method": "HEAD"}),
    ("file", "/s/file", {}),
    ("empty file", "/s/empty", {}),
    ("missing", "/s/none", {}),
    ("range", "/s/file", {"fields": [("range", "bytes=0-9")]}),
    ("ranges", "/s/file", {"fields": [("range", "bytes=0-9,20-29")]}),
    ("bad range", "/s/file", {"fields": [("range", "bytes=90000-")]}),
    ("cookies", "/if", {"fields": [("cookie", "a=1"), ("cookie", "b=2")]}),
    ("field", "/if", {"fields": [("x", "1")]}),
    ("escapes", "/if/%41%2f?q=%20", {}),
    ("post", "/p", {"method": "POST", "body": [b"a" * 1000, b"b" * 10]}),
    ("post, length", "/p", {"method": "POST", "body": [b"abc"], "fields": [("content-length", "3")]}),
    ("post, empty", "/p", {"method": "POST", "body": [b""]}),
    ("post, nothing", "/p", {"method": "POST"}),
    ("too large", "/p", {"method": "POST", "body": [b""], "end": False,
                         "fields": [("content-length", "300000")]}),
    ("delete", "/p", {"method": "DELETE"}),
    ("put to a file", "/s/file", {"method": "PUT"}),
    ("trace", "/here", {"method": "TRACE"}),
    ("no path", "*", {"method": "OPTIONS"}),
    ("bad escape", "/%zz", {}),
    ("lower-case method", "/here", {"method": "get"}),
    ("odd method", "/here", {"method": "FOO"}),
    ("no host", "/here", {"host": ""}),
    ("te", "/here", {"fields": [("te", "trailers")]}),
    ("upper case", "/here", {"fields": [("X-A", "1")]}),
    ("odd name", "/here", {"fields": [("a_b", "1"), ("a.b", "2")]}),
    ("bad value", "/here", {"fields": [("a", "x\ny")]}),
    ("expect", "/p", {"method": "POST", "body": [b"abc"], "fields": [("if-match", "x")]}),
    ("not modified", "/s/file", {"fields": [("if-modified-since", "Sun, 09 Sep 2001 01:46:40 GMT")]}),
]

# What differs in the log: request line and host of a request that was refused.
REFUSED = {"no host", "bad escape"}
# 1.22 resets such streams, 1.31 answers 400.
LATER = {"upper case", "bad value"}


class Side:
    """One program: what came of each request, and its log."""

    def __init__(self, binary):
        async def echo(request, reader, writer):
            writer.write(reply(request.body, fields=[("X-Line", request.line)]))
            return True
        self.backend = harness.Backend(answer=echo)
        harness.BINARY, before = binary, harness.BINARY
        try:
            self.service = harness.Service(CONF, {9001: self.backend}, files={
                "html/s/file": b"0123456789" * 3000, "html/s/empty": b""})
        finally:
            harness.BINARY = before
        for name in ("file", "empty"):
            os.utime(self.service.path(f"html/s/{name}"), (1000000000, 1000000000))
        self.answers = {}
        with Http2(self.service.port()) as client:
            for name, target, more in REQUESTS:
                self.answers[name] = self.ask(client, target, dict(more))
        lines = wait_until(self.lines, "all lines of the log")
        self.log = dict(zip([name for name, *_ in REQUESTS], lines))
        self.service.stop(check=False)
        self.backend.stop()

    def lines(self):
        lines = self.service.read("logs/access.log").splitlines()
        return lines if len(lines) == len(REQUESTS) else None

    def ask(self, client, target, more):
        body = more.pop("body", None)
        end = more.pop("end", True)
        stream = client.ask(target, end=body is None, **more)
        for number, piece in enumerate(body or []):
            if end:
                client.data(stream, piece, end=number + 1 == len(body))
        got = client.answer(stream)
        port = str(self.service.port())
        fields = [(name, re.sub(r"[0-9]{20}", "BOUNDARY", value.replace(port, "PORT")))
                  for name, value in got.fields if name not in ("date", "server", "expires")]
        return got.status, fields, re.sub(rb"[0-9]{20}", b"BOUNDARY", got.body)


@unittest.skipUnless(os.path.exists(harness.ORACLE) and not harness.IS_ORACLE, "no nginx to ask")
class Oracle(unittest.TestCase):
    def test_same_as_nginx(self):
        theirs, ours = Side(harness.ORACLE), Side(harness.BINARY)
        for name, *_ in REQUESTS:
            if name in LATER:
                self.assertEqual(ours.answers[name][0], 400)
                continue
            with self.subTest(request=name):
                self.assertEqual(ours.answers[name], theirs.answers[name])
                if name not in REFUSED:
                    self.assertEqual(ours.log[name], theirs.log[name])


if __name__ == "__main__":
    unittest.main()
