#!/usr/bin/python3
"""Shared memory zones: what workers share, what reloads keep, and workers that die."""

import ctypes
import mmap
import os
import signal
import struct
import sys
import threading
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "clients"))

import harness
from harness import close_tunnel, echo, get, wait_until

CONF = """
BEFORE
events {}
http {
    access_log off;
    limit_req_log_level info;
    limit_req_zone KEY zone=rate:64k rate=1r/m;
    server {
        listen 127.0.0.1:8080 reuseport;
        location / { limit_req zone=rate; root .; try_files /weir.conf =404; }
        location = /version { return 200 "VERSION"; }
        location = /pid { return 200 "$pid"; }
    }
}
"""

# Where a zone keeps the process that holds its lock, and the lock (engine/zone/zone.cc).
HOLDER = 12
MUTEX = 24


def conf(version=1, key="$arg_k", before="worker_processes 4;"):
    return CONF.replace("BEFORE", before).replace("VERSION", str(version)).replace("KEY", key)


def lock_and_die(path, ready):
    """In a process of its own: takes the zone's lock and waits to be killed."""
    descriptor = os.open(path, os.O_RDWR)
    memory = mmap.mmap(descriptor, 0)
    address = ctypes.addressof(ctypes.c_char.from_buffer(memory))
    library = ctypes.CDLL(None, use_errno=True)
    if library.pthread_mutex_lock(ctypes.c_void_p(address + MUTEX)) != 0:
        os._exit(1)
    memory[HOLDER:HOLDER + 4] = struct.pack("I", os.getpid())
    os.write(ready, b"x")
    while True:
        signal.pause()


class Zones(harness.TestCase):
    def status(self, weir, key="a"):
        return get(weir.port(), f"/?k={key}").status

    def zone_path(self, weir, zone="rate"):
        folder = f"/proc/{weir.pid}/fd"
        for name in os.listdir(folder):
            if f"weir-zone-{zone}" in os.readlink(f"{folder}/{name}"):
                return f"{folder}/{name}"
        self.fail("the master holds no zone")

    def test_workers_count_together(self):
        weir = self.service(conf())
        statuses = []

        def ask():
            statuses.append(self.status(weir))
        threads = [threading.Thread(target=ask) for _ in range(24)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual(sorted(statuses), [200] + [503] * 23)

    def test_reload_keeps_the_contents_unless_the_key_changes(self):
        for single in (False, True):
            with self.subTest(single=single):
                before = "" if single else "worker_processes 2;"
                options = "master_process off;" if single else ""
                weir = self.service(conf(before=before), options=options)
                self.assertEqual(self.status(weir), 200)
                self.assertEqual(self.status(weir), 503)
                for version in range(2, 5):
                    weir.reload(conf(version, before=before))
                    self.assertEqual(get(weir.port(), "/version").body, b"%d" % version)
                    self.assertEqual(self.status(weir), 503)
                    self.assertEqual(self.status(weir, f"other{version}"), 200)
                weir.reload(conf(9, "$arg_k$arg_j", before=before))
                self.assertEqual(self.status(weir), 200)
                self.assertEqual(self.status(weir), 503)
                weir.reload(conf(10, "$arg_k$arg_j", before=before).replace("64k", "128k"))
                self.assertEqual(self.status(weir), 200)

    def test_a_dropped_reload_changes_nothing(self):
        self.expected_errors = ("bind()", "unknown directive")
        weir = self.service(conf())
        self.assertEqual(self.status(weir), 200)
        weir.configure(conf(2, "$arg_x").replace("server {", "nonsense on; server {"))
        self.assertNotEqual(weir.run("-s", "reload").returncode, 0)
        self.assertEqual(self.status(weir), 503)

    def test_a_killed_worker_takes_nothing_along(self):
        self.expected_errors = ("exited on signal 9",)
        weir = self.service(conf(before="worker_processes 1;"))
        self.assertEqual(self.status(weir), 200)
        worker = weir.children()[0]
        os.kill(worker, signal.SIGKILL)
        wait_until(lambda: weir.children() and weir.children() != [worker], "a new worker")
        self.assertEqual(self.status(weir), 503)

    def test_a_tunnel_counts_until_it_ends(self):
        upstream = self.backend("app")
        text = """
worker_processes 2;
events {}
http {
    access_log off;
    limit_conn_log_level info;
    limit_conn_zone $arg_k zone=open:64k;
    server {
        listen 127.0.0.1:8080;
        location = /version { return 200 "VERSION"; }
        location / {
            limit_conn open 1;
            proxy_pass http://127.0.0.1:9001;
            proxy_http_version 1.1;
            proxy_set_header Upgrade $http_upgrade;
            proxy_set_header Connection upgrade;
        }
    }
}
"""
        weir = self.service(text.replace("VERSION", "1"), {9001: upstream})
        tunnel = self.tunnel(weir.port(), "/?k=a")
        self.assertEqual(self.status(weir), 503)
        self.assertEqual(self.status(weir, "b"), 200)
        weir.reload(text.replace("VERSION", "2"))
        self.assertTrue(echo(tunnel))
        self.assertEqual(self.status(weir), 503)
        close_tunnel(tunnel)
        wait_until(lambda: self.status(weir) == 200, "the tunnel's count to end")

    def test_connections_of_a_killed_worker_are_given_back(self):
        self.expected_errors = ("exited on signal 9",)
        upstream = self.backend("app")
        weir = self.service("""
worker_processes 2;
events {}
http {
    access_log off;
    limit_conn_zone $arg_k zone=open:64k;
    upstream app { zone app 64k; server 127.0.0.1:9001 max_conns=1; }
    upstream wide { server 127.0.0.1:9001; }
    server {
        listen 127.0.0.1:8080;
        proxy_http_version 1.1;
        proxy_set_header Upgrade $http_upgrade;
        proxy_set_header Connection $http_connection;
        location /app { proxy_pass http://app; }
        location /limited { limit_conn open 1; proxy_pass http://wide; }
        location = /pid { return 200 "$pid"; }
    }
}
""", {9001: upstream})

        def statuses(target):
            # Each worker has its say: those that are not asked do not matter to the count.
            return {get(weir.port(), target).status for _ in range(8)}
        for target, refused in (("/limited?k=a", 503), ("/app", 502)):
            with self.subTest(target):
                self.expected_errors += ("limiting connections", "no live upstreams", "temporarily")
                workers = wait_until(lambda: len(weir.children()) == 2 and weir.children(), "both workers")
                harness.open_tunnel(weir.port(), target)
                self.assertEqual(statuses(target), {refused})
                for worker in workers:
                    os.kill(worker, signal.SIGKILL)
                    wait_until(lambda: worker not in weir.children() and len(weir.children()) == 2,
                               "a new worker")
                # Again and again: one worker may count a request whose answer is already here when
                # another worker is asked.
                wait_until(lambda: statuses(target) == {200}, "the count to end")

    @unittest.skipIf(os.geteuid() != 0, "needs root: reaches into the master's descriptors")
    def test_who_dies_with_the_lock_leaves_an_empty_zone(self):
        self.expected_errors = ("was locked by",)
        weir = self.service(conf())
        self.assertEqual(self.status(weir), 200)
        self.assertEqual(self.status(weir), 503)
        ready, told = os.pipe()
        path = self.zone_path(weir)
        holder = os.fork()
        if holder == 0:
            lock_and_die(path, told)
        self.assertEqual(os.read(ready, 1), b"x")
        waiting = []
        thread = threading.Thread(target=lambda: waiting.append(self.status(weir)))
        thread.start()
        os.kill(holder, signal.SIGKILL)
        os.waitpid(holder, 0)
        thread.join()
        os.close(ready)
        os.close(told)
        # All was forgotten, once; then the zone works as before.
        self.assertEqual(waiting, [200])
        self.assertEqual([self.status(weir) for _ in range(4)], [503] * 4)
        alert = f'[alert] '
        lines = [line for line in weir.errors().splitlines() if "was locked by" in line]
        self.assertEqual(len(lines), 1, lines)
        self.assertIn(alert, lines[0])
        self.assertIn(f'shared memory zone "rate" was locked by {holder}, it is emptied', lines[0])

    @unittest.skipIf(os.geteuid() != 0, "needs root: reaches into the master's descriptors")
    def test_who_dies_with_the_lock_of_an_upstream_stops_nobody(self):
        self.expected_errors = ("was locked by",)
        text = """
worker_processes 4;
events {}
http {
    access_log off;
    upstream app { zone app 64k; server 127.0.0.1:9001; server 127.0.0.1:9002; retry_budget 20%; }
    server { listen 127.0.0.1:8080 reuseport; location / { proxy_pass http://app; } }
}
"""
        one, two = self.backend("one"), self.backend("two")
        weir = self.service(text, {9001: one, 9002: two})
        self.assertEqual({self.status(weir) for _ in range(16)}, {200})
        ready, told = os.pipe()
        path = self.zone_path(weir, "app")
        holder = os.fork()
        if holder == 0:
            lock_and_die(path, told)
        self.assertEqual(os.read(ready, 1), b"x")
        # Several workers wait for the lock while its holder dies.
        waiting = []
        threads = [threading.Thread(target=lambda: waiting.append(self.status(weir))) for _ in range(12)]
        for thread in threads:
            thread.start()
        os.kill(holder, signal.SIGKILL)
        os.waitpid(holder, 0)
        for thread in threads:
            thread.join()
        os.close(ready)
        os.close(told)
        self.assertEqual(waiting, [200] * 12)
        before = len(one.requests), len(two.requests)
        self.assertEqual({self.status(weir) for _ in range(16)}, {200})
        self.assertGreater(len(one.requests), before[0])
        self.assertGreater(len(two.requests), before[1])
        lines = [line for line in weir.errors().splitlines() if "was locked by" in line]
        self.assertEqual(len(lines), 1, lines)
        self.assertIn("[alert]", lines[0])
        self.assertIn(f'shared memory zone "app" was locked by {holder}, it is emptied', lines[0])


if __name__ == "__main__":
    unittest.main()
