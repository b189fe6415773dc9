#!/usr/bin/python3
"""Health checks, workers and configurations: who checks, what a reload keeps, servers that come and go."""

import asyncio
import os
import re
import signal
import socket
import time
import unittest

import harness
from harness import beyond_nginx, get, reply, wait_until
from health_support import BAD, HealthCase
from name_server import Backends, NameServer


@beyond_nginx
class Workers(HealthCase):
    def pids(self, weir, what):
        return [int(pid) for pid in re.findall(rf"\] (\d+)#\d+: {what}", weir.errors())]

    def test_one_worker_checks_and_another_goes_on(self):
        self.expected_errors = ("exited on signal 9", "locked by")
        weir = self.start("interval=200ms uri=/health", workers=4)
        wait_until(lambda: len(weir.children()) == 4, "four workers")
        self.one.wait_checks(2)
        began = time.monotonic()
        self.one.wait_checks(10)
        # Four would have been four times as quick.
        self.assertGreater(time.monotonic() - began, 1.2)
        self.two.health = BAD
        self.wait_log(weir, "peer is unhealthy")
        first = self.pids(weir, "peer is unhealthy")[-1]
        self.assertIn(first, weir.children())
        os.kill(first, signal.SIGKILL)
        wait_until(lambda: first not in weir.children() and len(weir.children()) == 4, "a new worker")
        # The state is still there, for the new worker too.
        self.assertEqual(self.served_by(weir, 40), {"one"})
        self.two.health = reply("fine")
        self.wait_log(weir, "peer is healthy")
        second = self.pids(weir, "peer is healthy")[-1]
        self.assertNotEqual(first, second)
        self.assertIn(second, weir.children())
        self.wait_served(weir, {"one", "two"})

    def test_a_stopped_worker_loses_the_lease(self):
        weir = self.start("interval=100ms uri=/health", workers=2)
        wait_until(lambda: len(weir.children()) == 2, "two workers")
        self.two.health = BAD
        self.wait_log(weir, "peer is unhealthy")
        first = self.pids(weir, "peer is unhealthy")[-1]
        os.kill(first, signal.SIGSTOP)
        try:
            self.two.health = reply("fine")
            self.wait_log(weir, "peer is healthy")
            self.assertNotEqual(self.pids(weir, "peer is healthy")[-1], first)
        finally:
            os.kill(first, signal.SIGCONT)

    def test_reload_keeps_the_state(self):
        self.two.health = BAD
        weir = self.start("interval=1h uri=/health")
        self.wait_log(weir, "peer is unhealthy")
        checks = len(self.two.checks)
        weir.reload(self.conf("interval=1h uri=/health", version=2))
        self.assertEqual(get(weir.port(), "/version").body, b"2")
        self.assertEqual(self.served_by(weir, 40), {"one"})
        self.assertEqual(len(self.two.checks), checks)
        # Another check knows nothing of that one.
        self.one.health = BAD
        self.two.health = reply("fine")
        weir.reload(self.conf("interval=1h uri=/health/other", version=3))
        self.wait_served(weir, {"two"})
        # No check: all are served.
        weir.reload(self.conf(version=4).replace("health_check", "#"))
        self.wait_served(weir, {"one", "two"})

    def test_reload_and_mandatory(self):
        weir = self.start("interval=1h uri=/health mandatory persistent")
        self.wait_served(weir, {"one", "two"})
        gate = self.one.health = self.two.health = asyncio.Event()
        weir.reload(self.conf("interval=1h uri=/health mandatory persistent", version=2))
        self.assertEqual(self.served_by(weir), {"one", "two"})
        # Without `persistent` they wait for their first check again.
        weir.reload(self.conf("interval=1h uri=/health mandatory", version=3))
        self.assertEqual(self.served_by(weir, 3), {502})
        wait_until(lambda: len(self.one.checks) > 1 and len(self.two.checks) > 1, "new checks")
        harness.LOOP.loop.call_soon_threadsafe(gate.set)
        self.wait_served(weir, {"one", "two"})

    def test_quit_under_checks(self):
        weir = self.start("interval=10ms uri=/health", workers=2)
        self.one.wait_checks(3)
        self.two.health = asyncio.Event()
        self.one.wait_checks(3)
        weir.signal(signal.SIGQUIT)
        self.assertEqual(weir.wait_end(), 0)


@beyond_nginx
class Resolved(HealthCase):
    def test_servers_come_and_go(self):
        names = NameServer({"backend.test": ["127.0.0.2"]})
        self.addCleanup(names.close)
        backends = Backends(["127.0.0.2", "127.0.0.3"])
        self.addCleanup(backends.close)
        conf = self.conf("interval=100ms mandatory").replace(
            "server 127.0.0.1:9001; server 127.0.0.1:9002;",
            f"server backend.test:{backends.port} resolve; "
            f"resolver 127.0.0.1:{names.port} ipv6=off;")
        weir = self.service(conf, {names.port: names})
        self.wait_served(weir, {"127.0.0.2"})
        names.names["backend.test"] = ["127.0.0.2", "127.0.0.3"]
        self.wait_log(weir, r"peer is healthy while .* of peer 127\.0\.0\.3:")
        self.wait_served(weir, {"127.0.0.2", "127.0.0.3"})
        names.names["backend.test"] = ["127.0.0.3"]
        self.wait_served(weir, {"127.0.0.3"})
        backends.sockets["127.0.0.3"].shutdown(socket.SHUT_RDWR)
        backends.sockets["127.0.0.3"].close()
        self.wait_log(weir, r"peer is unhealthy while connecting to upstream, .* of peer 127\.0\.0\.3:")
        self.wait_served(weir, {502})
        names.names["backend.test"] = ["127.0.0.2", "127.0.0.3"]
        self.wait_served(weir, {"127.0.0.2"})

    def test_more_than_the_zone_holds(self):
        # As many as a small answer holds.
        names = NameServer({f"{n}.test": [f"127.0.{n}.{i}" for i in range(1, 26)] for n in range(1, 5)})
        self.addCleanup(names.close)
        conf = self.conf("interval=1h fails=9").replace(
            "zone app 128k; server 127.0.0.1:9001; server 127.0.0.1:9002;",
            "zone app 32k; " + "".join(f"server {n}.test:9 resolve; " for n in range(1, 5)) +
            f"resolver 127.0.0.1:{names.port} ipv6=off;")
        weir = self.service(conf, {names.port: names})
        self.wait_log(weir, r'\[error\].*: zone "app" is too small: some servers of upstream "app" are not checked')
        self.assertEqual(get(weir.port(), "/version").body, b"1")


if __name__ == "__main__":
    unittest.main()
