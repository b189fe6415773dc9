#!/usr/bin/python3
"""Requests that wait for a server with room (`queue`), servers that come back (`slow_start`)."""

import asyncio
import unittest

import harness
from harness import Connection, beyond_nginx, get, reply, run, wait_until

CONF = """
worker_processes WORKERS;
events {}
http {
    log_format times "$status $upstream_addr $upstream_queue_time";
    access_log logs/access.log times;
    upstream app {
        UPSTREAM
    }
    server {
        listen 127.0.0.1:8080;
        location / { proxy_pass http://app; proxy_next_upstream_tries 3; }
    }
}
"""


class Held:
    """A backend that keeps its answers until it is told."""

    def __init__(self, test):
        self.now = self.most = 0
        self.tickets = asyncio.Semaphore(0)
        self.backend = test.backend("app", self.answer)

    async def answer(self, request, reader, writer):
        self.now += 1
        self.most = max(self.most, self.now)
        await self.tickets.acquire()
        self.now -= 1
        writer.write(reply(request.target))

    def seen(self, count):
        self.backend.wait_requests(count)

    def release(self, count=1):
        async def give():
            for _ in range(count):
                self.tickets.release()
        run(give())

    def open(self):
        self.release(1000)


@beyond_nginx
class Queue(harness.TestCase):
    def start(self, upstream, workers=1, backends=1):
        self.held = [Held(self) for _ in range(backends)]
        text = CONF.replace("UPSTREAM", upstream).replace("WORKERS", str(workers))
        self.weir = self.service(text, {9001 + i: h.backend for i, h in enumerate(self.held)})
        return self.held[0]

    def send(self, target):
        connection = Connection(self.weir.port())
        self.addCleanup(connection.close)
        connection.send(f"GET {target} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        return connection

    def lines(self, count):
        wait_until(lambda: len(self.weir.read("logs/access.log").splitlines()) >= count, "log lines")
        return self.weir.read("logs/access.log").splitlines()

    def test_who_waits_is_served_in_order(self):
        self.expected_errors = ("upstream queue is full",)
        held = self.start("server 127.0.0.1:9001 max_conns=1; queue 2;")
        first = self.send("/1")
        held.seen(1)
        waiting = [self.send("/2"), self.send("/3")]
        # The queue is full when the next one is refused at once.
        refused = []
        wait_until(lambda: refused or self.try_refused(refused), "a full queue")
        self.assertIn("upstream queue is full", self.weir.errors())
        for connection, target in zip([first, *waiting], (b"/1", b"/2", b"/3")):
            held.release()
            answer = connection.answer()
            self.assertEqual((answer.status, answer.body), (200, target))
        self.assertEqual(held.most, 1)
        served = [line for line in self.lines(4) if line.startswith("200 ")]
        self.assertTrue(served[0].endswith(" -"), served)
        self.assertRegex(served[1], r" \d+\.\d{3}$")

    def try_refused(self, refused):
        """Asks with a request that a full queue refuses; one that waits is given up."""
        connection = self.send("/more")
        connection.socket.settimeout(0.2)
        try:
            answer = connection.answer()
        except TimeoutError:
            connection.close()
            return False
        self.assertEqual(answer.status, 502)
        refused.append(answer)
        return True

    def test_who_waits_too_long_gets_502(self):
        self.expected_errors = ("upstream queue timed out",)
        held = self.start("server 127.0.0.1:9001 max_conns=1; queue 5 timeout=200ms;")
        first = self.send("/1")
        held.seen(1)
        late = get(self.weir.port(), "/2")
        self.assertEqual(late.status, 502)
        self.assertRegex(self.lines(1)[0], "^502 app ")
        self.assertIn("upstream queue timed out", self.weir.errors())
        held.open()
        self.assertEqual(first.answer().status, 200)
        self.assertEqual(get(self.weir.port(), "/3").status, 200)

    def test_a_client_that_leaves_makes_room(self):
        held = self.start("server 127.0.0.1:9001 max_conns=1; queue 1;")
        first = self.send("/1")
        held.seen(1)
        left = self.send("/2")
        left.close()
        wait_until(lambda: any(line.startswith("499") for line in self.lines(1)), "the client's leaving")
        waits = self.send("/3")
        held.open()
        self.assertEqual(first.answer().status, 200)
        self.assertEqual(waits.answer().body, b"/3")

    def test_workers_wait_for_each_other(self):
        held = self.start("zone app 64k; server 127.0.0.1:9001 max_conns=1; queue 20;", workers=3)
        held.open()
        connections = [self.send(f"/{i}") for i in range(15)]
        for i, connection in enumerate(connections):
            answer = connection.answer()
            self.assertEqual((answer.status, answer.body), (200, b"/%d" % i))
        self.assertEqual(held.most, 1)

    def test_nobody_waits_for_servers_that_are_gone(self):
        self.expected_errors = ("no live upstreams", "connect() failed", "temporarily disabled")
        self.start("server 127.0.0.1:9001 max_conns=1; server 127.0.0.1:9002 down; queue 5;", backends=2)
        self.held[0].backend.stop()
        self.assertEqual(get(self.weir.port(), "/1").status, 502)
        self.assertEqual(get(self.weir.port(), "/2").status, 502)

    def test_the_next_server_may_have_to_be_waited_for(self):
        self.expected_errors = ("prematurely closed", "temporarily disabled", "connect() failed")
        self.start("server 127.0.0.1:9001 max_conns=1 max_fails=0; server 127.0.0.1:9002; queue 5;", backends=2)
        first = None
        while not self.held[0].backend.requests:
            first = self.send("/held")
            wait_until(lambda: self.held[0].now + self.held[1].now, "a request")
            if not self.held[0].backend.requests:
                self.held[1].release()
                first.answer()
        self.held[1].backend.stop()
        second = self.send("/second")
        wait_until(lambda: "temporarily disabled" in self.weir.errors() or
                   "connect() failed" in self.weir.errors(), "the failure")
        self.held[0].open()
        self.assertEqual(first.answer().status, 200)
        self.assertEqual(second.answer().status, 200)


@beyond_nginx
class SlowStart(harness.TestCase):
    def start(self, parameters):
        self.ill = False
        first = self.backend("first", self.answer)
        second = self.backend("second")
        upstream = f"server 127.0.0.1:9001 fail_timeout=1s {parameters}; server 127.0.0.1:9002;"
        text = CONF.replace("UPSTREAM", upstream).replace("WORKERS", "1")
        self.weir = self.service(text, {9001: first, 9002: second})
        return first

    async def answer(self, request, reader, writer):
        if self.ill:
            return False
        writer.write(reply("first"))
        return True

    def count(self, first, requests=40):
        before = len(first.requests)
        for _ in range(requests):
            self.assertEqual(get(self.weir.port()).status, 200)
        return len(first.requests) - before

    def test_a_server_that_is_back_gets_its_share_slowly(self):
        self.expected_errors = ("prematurely closed", "temporarily disabled")
        for parameters, least, most in (("slow_start=1h", 0, 1), ("", 15, 25)):
            with self.subTest(parameters):
                first = self.start(parameters)
                self.assertEqual(self.count(first), 20)
                self.ill = True
                # The first may only be a kept connection that closes.
                wait_until(lambda: self.count(first, 10) == 0, "the failure")
                self.ill = False
                wait_until(lambda: self.count(first, 1), "the server's return")
                self.assertIn(self.count(first), range(least, most + 1))


if __name__ == "__main__":
    unittest.main()
