#!/usr/bin/python3
"""Backends are killed, stopped, made slow and brought back under load. While a healthy server is left, no request
that may be repeated fails, and the error log says in nginx's words what happened.

Nothing waits for a time: every step ends when the log, or a backend's answers, say what it is about.
"""

import http.client
import signal
import socket
import subprocess
import sys
import threading
import unittest

import harness
from harness import PATIENCE, ROOT, reserve_port, wait_until

CONF = """
worker_processes 2;
error_log logs/error.log warn;
events {}
http {
    access_log off;
    upstream app {
        zone app 256k;
        server 127.0.0.1:9001 fail_timeout=1s;
        server 127.0.0.1:9002 fail_timeout=1s;
        server 127.0.0.1:9003 fail_timeout=1s;
        server 127.0.0.1:9004 max_fails=0;
        keepalive 16;
    }
    server {
        listen 127.0.0.1:8080 backlog=1024;
        location / {
            proxy_pass http://app;
            proxy_http_version 1.1;
            proxy_set_header Connection "";
            proxy_connect_timeout 2s;
            proxy_read_timeout 2s;
            proxy_send_timeout 2s;
        }
    }
}
"""

STREAM = """
worker_processes 2;
events {}
stream {
    upstream app {
        zone app 256k;
        server 127.0.0.1:9001 fail_timeout=1s;
        server 127.0.0.1:9002 fail_timeout=1s;
        server 127.0.0.1:9003 fail_timeout=1s;
        server 127.0.0.1:9004 max_fails=0;
    }
    server {
        listen 127.0.0.1:8080 backlog=1024;
        proxy_pass app;
        proxy_connect_timeout 1s;
    }
}
"""

REFUSED = "connect() failed (111: Connection refused) while connecting to upstream"
LATE = "upstream timed out (110: Connection timed out) while reading response header from upstream"
CLOSED = "upstream prematurely closed connection while reading response header from upstream"


class Victim:
    """A backend in a process of its own, always at the same port."""

    def __init__(self, name):
        self.name = name
        self.held, self.port = reserve_port()
        self.process = None
        self.start()

    def start(self):
        self.process = subprocess.Popen([sys.executable, f"{ROOT}/tests/clients/chaos_backend.py", self.name, str(self.port)],
                                        stdout=subprocess.PIPE, stdin=subprocess.DEVNULL)
        self.process.stdout.readline()

    def kill(self):
        self.process.kill()
        self.process.wait()
        self.process.stdout.close()

    def freeze(self):
        self.process.send_signal(signal.SIGSTOP)

    def thaw(self):
        self.process.send_signal(signal.SIGCONT)

    def control(self, words):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE)
        connection.request("GET", f"/control?{words}")
        connection.getresponse().read()
        connection.close()

    def stop(self):
        if self.process.poll() is None:
            self.kill()
        self.held.close()


class Load:
    """Clients that ask without a pause, GET and PUT in turn, and keep what went wrong."""

    def __init__(self, port, clients=6):
        self.port = port
        self.ending = False
        self.failures = []
        self.answers = {}
        self.lock = threading.Lock()
        self.threads = [threading.Thread(target=self.run, args=(number,)) for number in range(clients)]
        for thread in self.threads:
            thread.start()

    def run(self, number):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE * 2)
        count = 0
        while not self.ending:
            count += 1
            method = "PUT" if count % 2 else "GET"
            body = f"body-{number}-{count}" if method == "PUT" else ""
            try:
                connection.request(method, f"/{number}/{count}", body=body or None)
                response = connection.getresponse()
                text = response.read().decode()
            except (OSError, http.client.HTTPException) as error:
                self.failures.append(f"{method} /{number}/{count}: {error!r}")
                connection.close()
                continue
            name, _, rest = text.partition(" ")
            if response.status != 200 or rest != f"{method} /{number}/{count} {body}":
                self.failures.append(f"{method} /{number}/{count}: {response.status} {text[:200]}")
            with self.lock:
                self.answers[name] = self.answers.get(name, 0) + 1
        connection.close()

    def of(self, name):
        with self.lock:
            return self.answers.get(name, 0)

    def all(self):
        with self.lock:
            return sum(self.answers.values())

    def end(self):
        self.ending = True
        for thread in self.threads:
            thread.join()


class ChaosCase(harness.TestCase):
    def victims(self):
        victims = [Victim(name) for name in ("one", "two", "three", "steady")]
        for victim in victims:
            self.addCleanup(victim.stop)
        return victims

    def count(self, weir, words, victim):
        return sum(words in line and f"127.0.0.1:{victim.port}" in line for line in weir.errors().splitlines())


class Http(ChaosCase):
    def test_no_request_fails(self):
        self.expected_errors = ("while connecting to upstream", "from upstream", "to upstream", "temporarily disabled")
        one, two, three, steady = self.victims()
        weir = self.service(CONF, dict(zip(range(9001, 9005), (one, two, three, steady))))
        load = Load(weir.port())
        self.addCleanup(load.end)

        def told(victim, words):
            before = self.count(weir, words, victim)
            return lambda: load.failures or self.count(weir, words, victim) > before

        def serves_again(*victims):
            for victim in victims:
                had = load.of(victim.name)
                wait_until(lambda: load.failures or load.of(victim.name) > had + 5, f"{victim.name} to serve")

        serves_again(one, two, three, steady)

        for name, victim, fault, cure, words in (
                ("killed", one, one.kill, one.start, REFUSED),
                ("stopped", two, two.freeze, two.thaw, LATE),
                ("slow", three, lambda: three.control("delay=10"), lambda: three.control("delay=0"), LATE),
                ("closes", one, lambda: one.control("close=1"), lambda: one.control("close=0"), CLOSED)):
            with self.subTest(name):
                happened = told(victim, words)
                fault()
                wait_until(happened, words)
                cure()
                serves_again(victim)
        with self.subTest("all but one, at once and again and again"):
            refused, late, slow = told(one, REFUSED), told(two, LATE), told(three, LATE)
            three.control("delay=10")
            two.freeze()
            for _ in range(3):
                one.kill()
                before = load.all()
                wait_until(lambda: load.failures or load.all() > before + 100, "requests meanwhile")
                one.start()
            one.kill()
            wait_until(lambda: refused() and late() and slow(), "the story in the log")
            one.start()
            two.thaw()
            three.control("delay=0")
            serves_again(one, two, three)
        load.end()
        self.assertEqual(load.failures, [])
        self.assertGreater(load.of("steady"), 0)
        if not harness.IS_ORACLE:
            self.assertIn("upstream server temporarily disabled", weir.errors())
        self.assertNotIn("no live upstreams", weir.errors())


class Stream(ChaosCase):
    def session(self, port):
        with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE) as client:
            client.sendall(b"GET /s HTTP/1.1\r\nConnection: close\r\n\r\n")
            received = b""
            while data := client.recv(4096):
                received += data
            return received.partition(b"\r\n\r\n")[2].split(b" ")[0].decode()

    def sessions(self, weir, count=60):
        """Names of the servers of that many sessions, six at a time."""
        names = []

        def run():
            for _ in range(count // 6):
                try:
                    names.append(self.session(weir.port()))
                except OSError as error:
                    names.append(repr(error))
        threads = [threading.Thread(target=run) for _ in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return names

    def test_a_session_finds_a_server(self):
        self.expected_errors = ("while connecting to upstream", "temporarily disabled")
        victims = self.victims()
        one, two, three, steady = victims
        weir = self.service(STREAM, dict(zip(range(9001, 9005), victims)))
        self.assertEqual(set(self.sessions(weir)), {"one", "two", "three", "steady"})
        with self.subTest("killed"):
            one.kill()
            names = self.sessions(weir)
            self.assertEqual(set(names), {"two", "three", "steady"})
            self.assertGreater(self.count(weir, REFUSED, one), 0)
        with self.subTest("a full queue"):
            # Nobody accepts, and the kernel has no room for more.
            full = socket.socket()
            self.addCleanup(full.close)
            full.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            full.bind(("127.0.0.1", one.port))
            full.listen(0)
            for _ in range(4):
                client = socket.socket()
                self.addCleanup(client.close)
                client.setblocking(False)
                client.connect_ex(("127.0.0.1", one.port))

            def timed_out():
                self.assertLessEqual(set(self.sessions(weir, 12)), {"two", "three", "steady"})
                return self.count(weir, "upstream timed out (110: Connection timed out) while connecting to upstream",
                                  one)
            wait_until(timed_out, "a connect that times out")
            full.close()
        with self.subTest("all but one"):
            two.kill()
            three.kill()
            self.assertEqual(set(self.sessions(weir)), {"steady"})
        with self.subTest("back again"):
            for victim in (one, two, three):
                victim.start()
            wait_until(lambda: {"one", "two", "three"} <= set(self.sessions(weir, 24)), "all servers")

    @harness.beyond_nginx
    def test_retries_in_their_budget(self):
        self.expected_errors = ("while connecting to upstream", "retry budget")
        text = """
worker_processes 2;
error_log logs/error.log warn;
events {}
stream {
    upstream app {
        zone app 256k;
        server 127.0.0.1:9001 max_fails=0;
        server 127.0.0.1:9002 max_fails=0;
        retry_budget 50% min=0r/s;
    }
    log_format told '$status $upstream_addr $upstream_retry_refused';
    access_log logs/told.log told;
    server { listen 127.0.0.1:8080; proxy_pass app; }
}
"""
        weir = self.service(text)
        for _ in range(100):
            with socket.create_connection(("127.0.0.1", weir.port()), timeout=PATIENCE) as client:
                self.assertEqual(client.recv(1), b"")
        lines = wait_until(lambda: (told := weir.read("logs/told.log").splitlines())[99:] and told, "the sessions")
        # Half of them (the sessions that found out that weir listens are a few more).
        again = sum("," in line and line.endswith(" -") for line in lines)
        self.assertEqual(again + sum("," not in line and line.endswith(" 1") for line in lines), len(lines), lines)
        self.assertAlmostEqual(again, len(lines) / 2, delta=1)
        self.assertIn("upstream retry budget is exhausted while connecting to upstream", weir.errors())


if __name__ == "__main__":
    unittest.main()
