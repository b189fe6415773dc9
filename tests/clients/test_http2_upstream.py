#!/usr/bin/python3
"""HTTP/2 upstreams whose connections vanish, or that take nothing: what one request may cost."""

import os
import ssl
import struct
import threading
import unittest

import harness
import http2_peer as http2
from harness import Connection, beyond_nginx

CERTS = harness.certificates_folder()

CONF = """
events { }
http {
    access_log logs/access.log;
    error_log logs/error.log info;
    upstream backend { server 127.0.0.1:9001 max_fails=0; }
    server {
        listen 127.0.0.1:8080;
        client_max_body_size 10m;
        proxy_http_version 2;
        location / { proxy_pass SCHEME://backend; SETTINGS }
    }
}
"""
# What one request may open: docs/limits.md.
MOST_CONNECTIONS = 6


class Odd(http2.Server):
    """Counts connections; `greet(peer)` runs when one is there, behind its SETTINGS."""

    def __init__(self, on_stream=None, greet=None, context=None, settings=()):
        self.connections = 0
        self.greet = greet
        super().__init__(on_stream, context, settings)

    def _begin(self, plain):
        self.connections += 1
        try:
            if self.context:
                plain = http2.SafeTls(self.context.wrap_socket(plain, server_side=True))
            peer = http2.Peer(plain, True, self.on_stream, self.settings)
            self.peers.append(peer)
            if self.greet:
                self.greet(peer)
        except OSError:
            plain.close()


def goaway(peer, last=0):
    peer.send(http2.GOAWAY, 0, 0, struct.pack(">II", last, 0))


def answer(stream):
    stream.send_head([(":status", "200"), ("content-length", "2")])
    stream.send_data(b"ok", end=True)


@beyond_nginx
class Case(harness.TestCase):
    def serve(self, backend, scheme="http", settings=""):
        self.addCleanup(backend.stop)
        self.weir = self.service(CONF.replace("SCHEME", scheme).replace("SETTINGS", settings), {9001: backend})
        client = Connection(self.weir.port())
        self.addCleanup(client.close)
        return client

    def tls(self):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(f"{CERTS}/localhost.pem", f"{CERTS}/localhost.key")
        context.set_alpn_protocols(["h2"])
        return context


class Reconnecting(Case):
    def check_bad_gateway(self, backend, scheme="http", most=MOST_CONNECTIONS):
        client = self.serve(backend, scheme, "proxy_read_timeout 2s;")
        for round_ in range(1, 4):
            self.assertEqual(client.get("/").status, 502)
            self.assertLessEqual(backend.connections, most * round_)
        return backend.connections

    def test_closes_at_once(self):
        self.check_bad_gateway(Odd(lambda stream: None, greet=lambda peer: peer.close()), most=1)

    def test_goaway_at_once(self):
        self.check_bad_gateway(Odd(lambda stream: None, greet=goaway))

    def test_goaway_at_once_and_closed(self):
        def leave(peer):
            goaway(peer)
            peer.close()
        self.check_bad_gateway(Odd(lambda stream: None, greet=leave))

    def test_goaway_with_the_handshake(self):
        self.check_bad_gateway(Odd(lambda stream: None, greet=goaway, context=self.tls()), "https")

    def test_refuses_every_stream(self):
        streams = []

        def refuse(stream):
            streams.append(stream)
            stream.reset(http2.REFUSED_STREAM)
        self.check_bad_gateway(Odd(refuse))
        self.assertEqual(len(streams), 3 * MOST_CONNECTIONS)

    def test_closes_at_every_request(self):
        self.check_bad_gateway(Odd(lambda stream: stream.peer.close()), most=1)

    def test_goaway_with_every_request(self):
        def leave(stream):
            goaway(stream.peer)
            stream.peer.close()
        self.check_bad_gateway(Odd(leave))

    def test_kept_connections_that_close_at_the_next_request(self):
        """A connection that has served is closed when it is used again: that is tried once more."""
        def once(stream):
            if stream.number == 1:
                answer(stream)
            else:
                stream.peer.close()
        backend = Odd(once)
        client = self.serve(backend)
        for number in range(1, 6):
            self.assertEqual(client.get("/").body, b"ok")
            self.assertEqual(backend.connections, number)

    def test_no_streams_at_all(self):
        """The peer's limit is 0, which is known before the request goes (TLS) or just behind it."""
        for context, scheme in ((None, "http"), (self.tls(), "https")):
            backend = Odd(lambda stream: None, context=context,
                          settings=((http2.MAX_CONCURRENT_STREAMS, 0),))
            client = self.serve(backend, scheme, "proxy_read_timeout 500ms; proxy_send_timeout 500ms;")
            self.assertIn(client.get("/").status, (502, 504))
            self.assertLessEqual(backend.connections, MOST_CONNECTIONS)

    def test_one_request_for_each_connection(self):
        """GOAWAY behind the first: a burst of requests is served all the same."""
        def once(stream):
            goaway(stream.peer, 1)
            answer(stream)
        backend = Odd(lambda stream: once(stream) if stream.number == 1 else None)
        self.serve(backend)
        statuses = []

        def ask():
            with Connection(self.weir.port()) as client:
                statuses.append(client.get("/").status)
        threads = [threading.Thread(target=ask) for _ in range(40)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual(statuses, [200] * 40)


class Windows(Case):
    def test_a_window_that_opens_byte_by_byte(self):
        """proxy_send_timeout counts from the last kilobyte that went."""
        over = threading.Event()
        self.addCleanup(over.set)

        def trickle(stream):
            stream.gave_up = True  # no windows but ours
            while not over.wait(0.02) and not stream.was_reset:
                stream.peer.send(http2.WINDOW_UPDATE, 0, stream.number, struct.pack(">I", 1))
        backend = Odd(trickle, settings=((http2.INITIAL_WINDOW_SIZE, 0),))
        client = self.serve(backend, settings="proxy_send_timeout 300ms;")
        self.assertEqual(client.get("/", method="POST", body=os.urandom(100000)).status, 504)

    def test_a_window_that_opens_slowly(self):
        def slow(stream):
            got = 0
            stream.gave_up = True  # no windows but ours
            while got < 12000:
                stream.peer.send(http2.WINDOW_UPDATE, 0, stream.number, struct.pack(">I", 2000))
                got += len(stream.next().value)
                threading.Event().wait(0.15)
            while stream.next().kind != "end":
                pass
            answer(stream)
        backend = Odd(slow, settings=((http2.INITIAL_WINDOW_SIZE, 0),))
        client = self.serve(backend, settings="proxy_send_timeout 300ms;")
        self.assertEqual(client.get("/", method="POST", body=os.urandom(12000)).status, 200)


if __name__ == "__main__":
    unittest.main()
