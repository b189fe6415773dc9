#!/usr/bin/python3
"""gRPC through grpc_pass, with Python's grpc on both sides."""

import os
import shutil
import tempfile
import threading
import unittest

import grpc

import harness
import http2_peer as http2
from grpc_support import Feed, GrpcTestCase, SERVICE
from harness import beyond_nginx, wait_until

PATIENCE = harness.PATIENCE

CONF = """
events { worker_connections 4096; }
http {
    log_format main '$status $upstream_status $request_uri $upstream_trailer_grpc_status';
    access_log logs/access.log main;
    client_max_body_size 0;
    http2_max_concurrent_streams 512;
    %s
    server {
        listen 127.0.0.1:8080 http2;
        location / {
            %s
            grpc_pass grpc://127.0.0.1:9001;
        }
    }
}
"""


@harness.needs_http2
class Calls(GrpcTestCase):
    """What nginx does as well."""

    def start(self, more="", http="", **backend):
        self.backend = self.grpc_backend(**backend)
        self.weir = self.service(CONF % (http, more), {9001: self.backend})
        return self.client(self.weir.port())

    def test_unary(self):
        client = self.start()
        for message in (b"", b"x", b"hello" * 100, bytes(range(256)) * 200):
            self.assertEqual(client.unary("Unary", message), message)

    def test_client_stream(self):
        client = self.start()
        self.assertEqual(client.client_stream([b"abc"] * 1000), b"3000")
        self.assertEqual(client.client_stream([]), b"0")

    def test_server_stream(self):
        client = self.start()
        got = list(client.server_stream(1000, 100))
        self.assertEqual(len(got), 1000)
        self.assertEqual(got[7], b"\x07" * 100)
        self.assertEqual(list(client.server_stream(0, 0)), [])

    def test_bidirectional_message_by_message(self):
        client = self.start()
        feed = Feed()
        answers = client.bidi(iter(feed))
        for number in range(20):
            feed.send(b"%d" % number)
            self.assertEqual(next(answers), b"%d" % number)  # each before the next is sent
        feed.end()
        self.assertEqual(list(answers), [])
        self.assertEqual(answers.code(), grpc.StatusCode.OK)

    def test_large_messages(self):
        client = self.start()
        message = bytes(range(256)) * (8 << 12)
        self.assertEqual(len(message), 8 << 20)
        self.assertEqual(client.unary("Unary", message), message)
        self.assertEqual(list(client.bidi(iter([message, message]))), [message, message])
        self.assertEqual([len(m) for m in client.server_stream(3, 8 << 20)], [8 << 20] * 3)
        self.assertEqual(client.client_stream([message] * 3), b"%d" % (24 << 20))

    def test_every_status(self):
        client = self.start()
        for code in grpc.StatusCode:
            if code is grpc.StatusCode.OK:
                continue
            error = self.assert_status(code, lambda: client.unary("Fail", b"%d" % code.value[0]))
            self.assertEqual(error.details(), "as asked: 100%")
            trailing = dict(error.trailing_metadata())
            self.assertEqual(trailing["why"], "asked")
            self.assertEqual(trailing["detail-bin"], b"\x00\xff")

    def test_trailers_only(self):
        # Python's server answers an unknown method in one head.
        client = self.start()
        self.assert_status(grpc.StatusCode.UNIMPLEMENTED, lambda: client.unary("Nothing"))

    def test_metadata(self):
        client = self.start()
        answer, call = client.with_call("Metadata", metadata=(
            ("plain", "value"), ("twice", "1"), ("twice", "2"), ("some-bin", b"\x00\x80\xff")))
        self.assertEqual(answer, b"ok")
        first, last = dict(call.initial_metadata()), dict(call.trailing_metadata())
        self.assertEqual((first["first"], first["first-bin"]), ("1", b"\x01\x02\xff"))
        self.assertEqual((last["last"], last["last-bin"]), ("2", b"\x00\xfe"))
        method, received = self.backend.calls[-1]
        self.assertEqual(method, SERVICE + "Metadata")
        self.assertIn(("plain", "value"), received)
        self.assertEqual([v for k, v in received if k == "twice"], ["1", "2"])
        self.assertIn(("some-bin", b"\x00\x80\xff"), received)

    def test_headers_set(self):
        client = self.start("grpc_set_header X-Real-IP $remote_addr; grpc_set_header plain '';")
        client.unary("Unary", b"x", metadata=(("plain", "value"), ("other", "1")))
        received = dict(self.backend.calls[-1][1])
        self.assertEqual(received["x-real-ip"], "127.0.0.1")
        self.assertEqual(received["other"], "1")
        self.assertNotIn("plain", received)

    def test_headers_hidden(self):
        client = self.start("grpc_hide_header first;")
        _, call = client.with_call("Metadata")
        first = dict(call.initial_metadata())
        self.assertNotIn("first", first)
        self.assertIn("first-bin", first)

    def test_log(self):
        client = self.start()
        client.unary("Unary", b"x")
        self.assert_status(grpc.StatusCode.ABORTED, lambda: client.unary("Fail", b"10"))
        lines = wait_until(lambda: [x for x in [self.weir.read("logs/access.log").splitlines()]
                                    if len(x) == 2], "two lines in the log")[0]
        self.assertEqual(lines[0], f"200 200 {SERVICE}Unary 0")
        self.assertTrue(lines[1].startswith(f"200 200 {SERVICE}Fail"), lines[1])

    def test_cancelled_by_the_client(self):
        client = self.start()
        call = client.start("Slow")
        self.assertTrue(self.backend.slow_began.wait(PATIENCE))
        call.cancel()
        self.assertTrue(self.backend.cancelled.wait(PATIENCE), "the backend was not told")
        self.backend.release.set()
        self.assertEqual(client.unary("Unary", b"next"), b"next")

    def test_cancelled_stream(self):
        client = self.start()
        feed = Feed()
        answers = client.bidi(iter(feed), "Forever")
        self.assertEqual(next(answers), b"begun")
        answers.cancel()
        self.assertTrue(self.backend.cancelled.wait(PATIENCE), "the backend was not told")
        feed.end()

    def test_deadline(self):
        client = self.start()
        self.assert_status(grpc.StatusCode.DEADLINE_EXCEEDED,
                           lambda: client.unary("Slow", timeout=1))
        # grpc-timeout went through.
        self.assertLess(self.backend.time_remaining, 1.5)
        self.assertTrue(self.backend.cancelled.wait(PATIENCE))

    def test_read_timeout(self):
        client = self.start("grpc_read_timeout 300ms;")
        error = self.assert_status(grpc.StatusCode.UNAVAILABLE, lambda: client.unary("Slow"))
        self.assertIn("504" if harness.IS_ORACLE else "Gateway Time-out", error.details())

    def test_upstream_down(self):
        self.weir = self.service(CONF % ("", ""))
        client = self.client(self.weir.port())
        self.assert_status(grpc.StatusCode.UNAVAILABLE, lambda: client.unary("Unary"))

    def test_many_at_once(self):
        client = self.start(workers=220)
        self.backend.together = threading.Barrier(200)
        calls = [client.start("Meet", b"%d" % number) for number in range(200)]
        self.assertEqual([call.result(PATIENCE) for call in calls],
                         [b"%d" % number for number in range(200)])

    def test_reload_in_the_middle_of_a_stream(self):
        client = self.start()
        feed = Feed()
        answers = client.bidi(iter(feed))
        feed.send(b"before")
        self.assertEqual(next(answers), b"before")
        other = self.grpc_backend("other")
        self.weir.backends[9001] = other
        self.weir.reload(CONF % ("", ""))
        fresh = self.client(self.weir.port())
        self.assertEqual(fresh.unary("Who"), b"other")
        for number in range(10):
            feed.send(b"%d" % number)
            self.assertEqual(next(answers), b"%d" % number)
        feed.end()
        self.assertEqual(list(answers), [])
        self.assertEqual(answers.code(), grpc.StatusCode.OK)

    def test_next_upstream_when_down(self):
        self.backend = self.grpc_backend("up")
        conf = CONF.replace("grpc://127.0.0.1:9001", "group")
        group = "upstream group { server 127.0.0.1:9009; server 127.0.0.1:9001; }"
        self.weir = self.service(conf % (group, ""), {9001: self.backend})
        client = self.client(self.weir.port())
        for _ in range(4):
            self.assertEqual(client.unary("Who"), b"up")

    def test_variables(self):
        self.backend = self.grpc_backend("named")
        conf = CONF.replace("grpc_pass grpc://127.0.0.1:9001",
                            "set $to grpc://127.0.0.1:9001; grpc_pass $to")
        self.weir = self.service(conf % ("", ""), {9001: self.backend})
        self.assertEqual(self.client(self.weir.port()).unary("Who"), b"named")

    def test_unix_socket(self):
        folder = tempfile.mkdtemp(prefix="weir-test-")
        self.addCleanup(shutil.rmtree, folder)
        os.chmod(folder, 0o755)
        path = f"{folder}/backend.sock"
        self.backend = self.grpc_backend("local", address=f"unix:{path}")
        os.chmod(path, 0o777)
        conf = CONF.replace("grpc://127.0.0.1:9001", f"unix:{path}")
        self.weir = self.service(conf % ("", ""))
        self.assertEqual(self.client(self.weir.port()).unary("Who"), b"local")


def ask(port, body=b"x"):
    """A gRPC client of raw frames: the head alone tells what happened."""
    peer = http2.connect(port)
    try:
        stream = peer.open([(":method", "POST"), (":scheme", "http"), (":path", SERVICE + "Unary"),
                            (":authority", "localhost"), ("te", "trailers"),
                            ("content-type", "application/grpc+proto"),
                            ("content-length", str(len(body)))], end=False)
        try:
            stream.send_data(body, end=True)
        except ConnectionResetError:
            pass  # answered early
        head = stream.read_head()
        got, trailers, code = stream.read_rest()
    finally:
        peer.close()
    if trailers is not None or code not in (None, http2.NO_ERROR):
        raise AssertionError(f"not one head: {trailers} {code}")
    return harness.Answer(int(head[":status"]), head, got)


@beyond_nginx
@harness.needs_http2
class Errors(GrpcTestCase):
    """Errors made here reach a gRPC client as trailers-only answers."""

    def start(self, location, http="", conf=CONF, backends=None):
        self.weir = self.service(conf % (http, location), backends)
        return self.weir.port()

    def check(self, answer, status, text):
        self.assertEqual(answer.status, 200)
        self.assertEqual(answer.fields["content-type"], "application/grpc")
        self.assertEqual(answer.fields["grpc-status"], str(status))
        self.assertEqual(answer.fields["grpc-message"], text)
        self.assertEqual(answer.body, b"")
        self.assertNotIn("content-length", answer.fields)

    def test_redirects(self):
        for location, status, text in (("return 301 https://other/;", 301, "Moved Permanently"),
                                       ("return 308 https://other/;", 308, "Permanent Redirect"),
                                       ("rewrite ^ https://other/ redirect;", 302, "Moved Temporarily"),
                                       ("return https://other/;", 302, "Moved Temporarily")):
            port = self.start(location)
            answer = ask(port)
            self.check(answer, 2, text)
            self.assertEqual(answer.fields["location"], "https://other/")
            wait_until(lambda status=status: self.weir.read("logs/access.log").startswith(f"{status} "), "the log line")
            self.weir.stop()

    def test_texts_are_sent_as_they_are(self):
        port = self.start('return 200 "hello";')
        answer = ask(port)
        self.assertEqual((answer.status, answer.body), (200, b"hello"))
        self.assertNotIn("grpc-status", answer.fields)

    def test_official_mapping(self):
        mapping = {400: 13, 401: 16, 403: 7, 404: 12, 429: 14, 502: 14, 503: 14, 504: 14, 405: 2,
                   410: 2, 500: 2}
        for status, expected in mapping.items():
            port = self.start(f"return {status};")
            answer = ask(port)
            self.assertEqual(answer.fields["grpc-status"], str(expected), status)
            self.weir.stop()

    def test_upstream_down(self):
        self.check(ask(self.start("")), 14, "Bad Gateway")

    def test_the_log_has_the_http_status(self):
        port = self.start("")
        ask(port)
        line = wait_until(lambda: self.weir.read("logs/access.log"), "a line in the log")
        self.assertTrue(line.startswith("502 502 "), line)

    def test_other_clients_get_pages(self):
        answer = harness.curl("--http2-prior-knowledge", f"http://127.0.0.1:{self.start('')}/")
        self.assertEqual(answer.status, 502)
        self.assertIn(b"502 Bad Gateway", answer.body)

    def test_error_page_answers_itself(self):
        port = self.start("error_page 502 = @own;",
                          conf=CONF.replace("location / {",
                                            "location @own { return 418 teapot; } location / {"))
        answer = ask(port)
        self.assertEqual((answer.status, answer.body), (418, b"teapot"))

    def test_access_denied(self):
        self.check(ask(self.start("deny all;")), 7, "Forbidden")

    def test_body_limit_that_is_configured(self):
        port = self.start("client_max_body_size 10;")
        answer = ask(port, b"x" * 100)
        self.assertEqual(answer.fields["grpc-status"], "2")

    def test_upstream_dies_in_the_middle(self):
        backend = self.grpc_backend()
        port = self.start("", backends={9001: backend})
        client = self.client(port)
        answers = client.bidi(iter(Feed()), "Forever")
        self.assertEqual(next(answers), b"begun")
        backend.server.stop(None).wait()
        self.assert_status(grpc.StatusCode.UNAVAILABLE, lambda: next(answers))


@beyond_nginx
@harness.needs_http2
class NoBodyLimit(GrpcTestCase):
    def test_streams_are_not_limited_by_default(self):
        backend = self.grpc_backend()
        weir = self.service((CONF % ("", "")).replace("client_max_body_size 0;", ""), {9001: backend})
        client = self.client(weir.port())
        self.assertEqual(client.client_stream([bytes(1 << 20)] * 4), b"%d" % (4 << 20))


@beyond_nginx
@harness.needs_http2
class NextUpstream(GrpcTestCase):
    def test_status_of_the_call(self):
        def refuse(stream):
            stream.read_rest()
            stream.send_head([(":status", "200"), ("content-type", "application/grpc"),
                              ("grpc-status", "14"), ("grpc-message", "draining")], end=True)

        draining = http2.Server(refuse)
        self.addCleanup(draining.stop)
        up = self.grpc_backend("up")
        group = "upstream group { server 127.0.0.1:9009; server 127.0.0.1:9001; }"
        conf = CONF.replace("grpc://127.0.0.1:9001", "group")
        for rule, statuses in (("grpc_next_upstream error grpc_unavailable;", [b"up"]),
                               ("", [b"up", grpc.StatusCode.UNAVAILABLE])):
            weir = self.service(conf % (group, rule), {9001: up, 9009: draining})
            client = self.client(weir.port())
            got = set()
            for _ in range(4):
                try:
                    got.add(client.unary("Who"))
                except grpc.RpcError as error:
                    got.add(error.code())
            self.assertEqual(got, set(statuses), rule)


@harness.beyond_nginx  # "http2 on" came with 1.25
class Examples(GrpcTestCase):
    def test_grpc(self):
        backends = {9001: self.grpc_backend("one"), 9002: self.grpc_backend("two")}
        weir = self.service(harness.example("grpc.conf"), backends)
        client = self.client(weir.port())
        self.assertEqual({client.unary("Who") for _ in range(4)}, {b"one", b"two"})
        line = wait_until(lambda: weir.read("logs/access.log"), "a line in the log")
        self.assertIn('"POST /weir.Test/Who HTTP/2.0" 200 grpc=0', line)

    @beyond_nginx
    def test_services(self):
        users, feed = self.grpc_backend("users"), self.grpc_backend("feed")
        weir = self.service(harness.example("grpc-services.conf"), {9001: users, 9003: feed})
        client = self.client(weir.port())
        call = client.channel.unary_unary
        for _ in range(3):  # 9002 is down
            self.assertEqual(call("/weir.Users/Who")(b"", timeout=PATIENCE), b"users")
        self.assertEqual(dict(users.calls[-1][1])["x-real-ip"], "127.0.0.1")
        self.assertEqual(call("/weir.Feed/Who")(b"", timeout=PATIENCE), b"feed")
        self.assertEqual(call("/weir.Feed/Unary")(bytes(2 << 20), timeout=PATIENCE), bytes(2 << 20))
        self.assert_status(grpc.StatusCode.UNKNOWN, lambda: call("/weir.Upload/Unary")(
            bytes(11 << 20), timeout=PATIENCE))
        self.assert_status(grpc.StatusCode.UNIMPLEMENTED,
                           lambda: call("/weir.Other/Who")(b"", timeout=PATIENCE))


if __name__ == "__main__":
    unittest.main()
