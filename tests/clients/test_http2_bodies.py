#!/usr/bin/python3
"""HTTP/2 to clients: bodies both ways, and the windows they wait for."""

import asyncio
import os
import threading
import unittest

import harness
import http2
from harness import beyond_nginx, reply
from http2 import Http2
from http2_support import Http2Case


class Bodies(Http2Case):
    async def echo(self, request, reader, writer):
        writer.write(reply(request.body))
        return True

    def test_upload(self):
        port = self.start("client_max_body_size 10m; client_body_buffer_size 16k;", self.echo)
        body = bytes(range(256)) * 8192
        sent = {}
        with Http2(port) as client:
            stream = client.ask("/up", method="POST", end=False,
                                fields=[("content-length", str(len(body)))])
            # The windows are the server's to open.
            window = {0: 65535, stream: None}
            client.barrier()
            window[stream] = client.settings[4]
            for frame in client.frames:
                if frame.type == http2.WINDOW:
                    window[frame.stream] += int.from_bytes(frame.payload, "big")
            client.frames.clear()
            at = 0
            while at < len(body):
                size = min(16384, window[0], window[stream], len(body) - at)
                if size > 0:
                    client.data(stream, body[at:at + size], end=at + size == len(body))
                    at += size
                    window[0] -= size
                    window[stream] -= size
                    continue
                frame = client.read_frame()
                if frame.type == http2.WINDOW:
                    window[frame.stream] += int.from_bytes(frame.payload, "big")
            answer = client.answer(stream)
            self.assertEqual((answer.status, len(answer.body)), (200, len(body)))
            self.assertEqual(answer.body, body)
        del sent

    def test_without_length(self):
        with Http2(self.start(answer=self.echo)) as client:
            stream = client.ask("/up", method="POST", end=False)
            client.data(stream, b"abc")
            client.data(stream, b"def", end=True)
            self.assertEqual(client.answer(stream).body, b"abcdef")

    def test_too_large(self):
        with Http2(self.start("client_max_body_size 10;")) as client:
            answer = client.answer(client.ask("/up", method="POST", end=False,
                                              fields=[("content-length", "100")]))
            self.assertEqual(answer.status, 413)
            client.until(lambda: answer.reset is not None)
            self.assertEqual(answer.reset, http2.NO_ERROR)
            self.assertEqual(client.get("/here").status, 200)

    def test_streamed_with_back_pressure(self):
        released = threading.Event()
        got = []

        async def slow(request, reader, writer):
            await asyncio.get_running_loop().run_in_executor(None, released.wait, 30)
            body = b""
            while not body.endswith(b"0\r\n\r\n"):
                body += await reader.read(65536)
            got.append(len(body))
            writer.write(reply("done"))
            return False

        port = self.start(answer=slow)
        backend = self.upstream

        async def no_body(request, reader):
            return b""
        backend._body = no_body
        with Http2(port) as client:
            stream = client.ask("/stream/", method="POST", end=False)
            client.barrier()
            for _ in range(4):
                client.data(stream, b"x" * 16000)
            backend.wait_requests(1)
            released.set()
            client.data(stream, b"", end=True)
            self.assertEqual(client.answer(stream).body, b"done")
        self.assertGreater(got[0], 64000)

    def test_download_waits_for_windows(self):
        body = os.urandom(300000)
        port = self.start(files={"html/static/large": body})
        with Http2(port, window=False) as client:
            stream = client.ask("/static/large")
            other = client.ask("/here")
            client.until(lambda: len(client.streams[stream].body) == 65535)
            client.open_window(stream, 1000000)
            client.open_window(0, 5)
            self.assertEqual(len(client.streams[other].body), 0)
            client.until(lambda: len(client.streams[stream].body) +
                         len(client.streams[other].body) == 65540)
            client.open_window(0, 1000000)
            self.assertEqual(client.answer(stream).body, body)
            self.assertEqual(client.answer(other).body, b"here\n")
            sizes = {len(frame.payload) for frame in client.frames if frame.type == http2.DATA}
            self.assertLessEqual(max(sizes), 8192)

    def test_chunk_size(self):
        port = self.start("http2_chunk_size 1k;", files={"html/static/file": b"x" * 10000})
        with Http2(port) as client:
            self.assertEqual(len(client.get("/static/file").body), 10000)
            sizes = {len(frame.payload) for frame in client.frames if frame.type == http2.DATA}
            self.assertLessEqual(max(sizes), 1024)

    def test_range_and_sendfile(self):
        port = self.start("sendfile on;", files={"html/static/file": b"0123456789" * 10000})
        with Http2(port) as client:
            answer = client.get("/static/file", fields=[("range", "bytes=5-99990")])
            self.assertEqual((answer.status, len(answer.body)), (206, 99986))

    def test_trailers_of_the_answer(self):
        port = self.start('add_trailer x-sum "$sent_http_content_type" always;'
                          if not harness.IS_ORACLE else "")
        if harness.IS_ORACLE:
            self.skipTest("needs add_trailer with a value that stays")
        with Http2(port) as client:
            answer = client.get("/a")
            self.assertEqual(answer.trailers, [("x-sum", "text/plain")])

    @beyond_nginx
    def test_interim(self):
        with Http2(self.start(answer=self.echo)) as client:
            stream = client.ask("/up", method="POST", end=False,
                                fields=[("expect", "100-continue"), ("content-length", "3")])
            client.until(lambda: client.streams[stream].interim)
            self.assertEqual(client.streams[stream].interim, [(100, [])])
            client.data(stream, b"abc", end=True)
            self.assertEqual(client.answer(stream).body, b"abc")


if __name__ == "__main__":
    unittest.main()
