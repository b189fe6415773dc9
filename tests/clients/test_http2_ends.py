#!/usr/bin/python3
"""HTTP/2 to clients: how streams and connections end."""

import os
import threading
import unittest

import harness
import http2
from harness import beyond_nginx, wait_until
from http2 import Http2
from http2_support import CONF, Http2Case


class Ends(Http2Case):
    def test_client_cancels(self):
        arrived = threading.Event()
        ended = threading.Event()

        async def wait(request, reader, writer):
            arrived.set()
            await reader.read()
            ended.set()
            return False

        with Http2(self.start(answer=wait)) as client:
            stream = client.ask("/slow")
            self.assertTrue(arrived.wait(harness.PATIENCE))
            client.rst(stream)
            self.assertTrue(ended.wait(harness.PATIENCE))
            self.assertIn(" 499 ", self.log_line("GET /slow"))
            wait_until(lambda: "client canceled stream 1" in self.weir.errors(), "the log line")
            self.assertEqual(client.get("/here").status, 200)

    def test_keepalive_requests(self):
        with Http2(self.start("keepalive_requests 3;")) as client:
            for _ in range(3):
                self.assertEqual(client.get("/here").status, 200)
            client.wait_end()
            self.assertEqual(client.goaway[-1], (5, http2.NO_ERROR))

    def test_idle_timeout(self):
        with Http2(self.start("keepalive_timeout 200ms;")) as client:
            self.assertEqual(client.get("/here").status, 200)
            client.wait_end()
            self.assertEqual(client.goaway[-1], (1, http2.NO_ERROR))

    @beyond_nginx
    def test_half_a_head_times_out(self):
        with Http2(self.start("client_header_timeout 200ms;")) as client:
            client.barrier()  # (an ACK of the settings must not stand within the head)
            block = client.head("/here")
            client.send(http2.frame(http2.HEADERS, http2.END_STREAM, 1, block[:20]))
            client.wait_end()

    @beyond_nginx
    def test_half_a_head_times_out_beside_another_stream(self):
        released, wait = self.held()
        with Http2(self.start("client_header_timeout 200ms;", answer=wait)) as client:
            client.ask("/slow")
            client.barrier()
            block = client.head("/here")
            client.send(http2.frame(http2.HEADERS, http2.END_STREAM, 3, block[:20]))
            client.wait_end()
        self.assertIn("499", self.log_line("GET /slow"))

    def test_stalled_window(self):
        port = self.start("send_timeout 300ms;", files={"html/static/large": b"x" * 200000})
        with Http2(port, window=False) as client:
            stream = client.ask("/static/large")
            got = client.answer(stream)
            self.assertEqual((got.status, got.reset), (200, http2.PROTOCOL_ERROR))
            self.assertEqual(len(got.body), 65535)
            self.assertEqual(client.answer(client.ask("/here", method="HEAD")).status, 200)

    @beyond_nginx
    def test_a_window_that_opens_byte_by_byte(self):
        """send_timeout counts from the last kilobyte that went."""
        for which in ("stream", "connection"):
            port = self.start("send_timeout 300ms;", files={"html/static/large": b"x" * 200000})
            with Http2(port, window=False) as client:
                stream = client.ask("/static/large")
                got = client.streams[stream]
                client.until(lambda got=got: len(got.body) == 65535)
                client.open_window(0 if which == "stream" else stream, 100000)
                pause = threading.Event()
                for _ in range(1000):
                    pause.wait(0.01)
                    client.open_window(stream if which == "stream" else 0, 1)
                    client.barrier()
                    if got.reset is not None:
                        break
                self.assertEqual(got.reset, http2.PROTOCOL_ERROR)
                self.assertLess(len(got.body), 65535 + 1024)

    def test_a_window_that_opens_slowly(self):
        size = 65535 + 12000
        port = self.start("send_timeout 300ms;", files={"html/static/large": b"x" * size})
        with Http2(port, window=False) as client:
            stream = client.ask("/static/large")
            got = client.streams[stream]
            client.open_window(0, 100000)
            client.until(lambda: len(got.body) == 65535)
            while len(got.body) < size:
                threading.Event().wait(0.2)
                client.open_window(stream, 2000)
                client.until(lambda have=len(got.body): len(got.body) > have)
            self.assertIsNone(client.answer(stream).reset)

    @beyond_nginx
    def test_reload_that_closes_the_port_says_goodbye(self):
        released, wait = self.held()
        port = self.start(answer=wait)
        with Http2(port) as client:
            stream = client.ask("/slow")
            self.upstream.wait_requests(1)
            text = CONF.replace("LISTEN", "listen 127.0.0.1:8081; http2 on;").replace("SETTINGS", "")
            self.weir.reload(text)
            client.until(lambda: client.goaway)
            released.set()
            self.assertEqual(client.answer(stream).body, b"late")
            client.wait_end()

    @beyond_nginx
    def test_quit_in_two_phases(self):
        with Http2(self.start()) as client:
            self.assertEqual(client.get("/here").status, 200)
            os.kill(self.weir.pid, harness.signal.SIGQUIT)
            client.until(lambda: client.goaway)
            self.assertEqual(client.goaway[0], (2**31 - 1, http2.NO_ERROR))
            client.wait_end()
            self.assertEqual(client.goaway[-1], (1, http2.NO_ERROR))
        self.weir.wait_end()

    def test_connection_error(self):
        with Http2(self.start()) as client:
            client.send(http2.frame(http2.DATA, 0, 0, b"x"))
            client.wait_end()
            self.assertEqual(client.goaway[-1][1], http2.PROTOCOL_ERROR)

    @beyond_nginx
    def test_flood(self):
        with Http2(self.start()) as client:
            client.send(http2.frame(http2.PING, 0, 0, b"x" * 8) * 5000)
            client.wait_end()
            self.assertEqual(client.goaway[-1][1], http2.ENHANCE_YOUR_CALM)
        wait_until(lambda: "http2 flood detected" in self.weir.errors(), "the log line")

    @beyond_nginx
    def test_flood_that_goes_on(self):
        """What comes behind the farewell is dropped, but not for ever."""
        flood = http2.frame(http2.PING, 0, 0, b"x" * 8) * 5000
        with Http2(self.start("lingering_time 60s; lingering_timeout 60s;")) as client:
            sent = 0
            with self.assertRaises(OSError):
                while sent < 256 << 20:
                    client.send(flood)
                    sent += len(flood)

    @beyond_nginx
    def test_flood_beside_a_request_that_waits(self):
        """Nothing is read for a connection that is over while its requests end."""
        released, wait = self.held()
        flood = http2.frame(http2.PING, 0, 0, b"x" * 8) * 5000
        with Http2(self.start("proxy_ignore_client_abort on;", answer=wait)) as client:
            client.ask("/slow")
            self.upstream.wait_requests(1)
            client.socket.settimeout(1)
            sent = 0
            with self.assertRaises(OSError):
                while sent < 256 << 20:
                    client.send(flood)
                    sent += len(flood)


if __name__ == "__main__":
    unittest.main()
