#!/usr/bin/python3
"""Servers with `resolve`: their addresses are followed while they change."""

import os
import re
import subprocess
import tempfile
import unittest

import harness
from harness import beyond_nginx, get, wait_until
from name_server import Backends, NameServer

CONF = """
worker_processes 2;
events {}
http {
    access_log off;
    RESOLVER
    upstream app { zone app 128k; server backend.test:9001 resolve; MORE }
    server {
        listen 127.0.0.1:8080;
        location = /version { return 200 "VERSION"; }
        location / { proxy_pass http://app; proxy_connect_timeout 2s; }
    }
}
"""


@beyond_nginx
class Resolve(harness.TestCase):
    def setUp(self):
        self.names = NameServer({})
        self.addCleanup(self.names.close)
        self.backends = Backends(["127.0.0.2", "127.0.0.3", "127.0.0.4"])
        self.addCleanup(self.backends.close)

    def conf(self, version=1, more=""):
        text = CONF.replace("RESOLVER", f"resolver 127.0.0.1:{self.names.port} ipv6=off; resolver_timeout 1s;")
        text = text.replace("9001", str(self.backends.port))
        return text.replace("VERSION", str(version)).replace("MORE", more)

    def start(self, **more):
        return self.service(self.conf(**more), {self.names.port: self.names})

    def bodies(self, weir, count=24):
        return {get(weir.port(), "/").body.decode() for _ in range(count)}

    def test_addresses_come_change_and_go(self):
        self.expected_errors = ("could not be resolved", "no live upstreams")
        self.names.names["backend.test"] = ["127.0.0.2", "127.0.0.3"]
        weir = self.start()
        wait_until(lambda: get(weir.port(), "/").status == 200, "the first answer")
        wait_until(lambda: self.bodies(weir) == {"127.0.0.2", "127.0.0.3"}, "both addresses")
        self.names.names["backend.test"] = ["127.0.0.3", "127.0.0.4"]
        wait_until(lambda: self.bodies(weir) == {"127.0.0.3", "127.0.0.4"}, "the new addresses")
        weir.reload(self.conf(2))
        self.assertEqual(get(weir.port(), "/version").body, b"2")
        self.assertEqual(self.bodies(weir), {"127.0.0.3", "127.0.0.4"})
        # An error of the name server leaves what is known; a name that is gone has no addresses.
        del self.names.names["backend.test"]
        asked = self.names.asked
        wait_until(lambda: self.names.asked > asked + 2, "questions without answers")
        self.assertEqual(self.bodies(weir), {"127.0.0.3", "127.0.0.4"})
        self.names.names["backend.test"] = None
        wait_until(lambda: get(weir.port(), "/").status == 502, "no addresses")

    def test_a_name_that_is_not_used_any_more_is_not_asked_for(self):
        self.names.names["backend.test"] = ["127.0.0.2"]
        weir = self.start()
        wait_until(lambda: get(weir.port(), "/").status == 200, "the address")
        weir.reload(self.conf(2).replace("backend.test", "127.0.0.3").replace(" resolve;", ";"))
        self.assertEqual(self.bodies(weir, 5), {"127.0.0.3"})
        # The answer was good for a second: a question of before may be under way, no other follows.
        weir.reload(self.conf(3).replace("backend.test", "other.test"))
        self.names.names["other.test"] = ["127.0.0.4"]
        wait_until(lambda: get(weir.port(), "/").body == b"127.0.0.4", "the other name")
        before = len(self.names.log)
        wait_until(lambda: len(self.names.log) > before + 4, "further questions")
        self.assertNotIn("backend.test", self.names.log[before:])

    def test_a_name_that_is_not_known_at_start_does_not_stop_it(self):
        self.expected_errors = ("could not be resolved", "no live upstreams")
        self.names.names["backend.test"] = None
        weir = self.start()
        self.assertEqual(get(weir.port(), "/").status, 502)
        self.names.names["backend.test"] = ["127.0.0.4"]
        wait_until(lambda: get(weir.port(), "/").status == 200, "the address")
        wait_until(lambda: "backend.test could not be resolved (3: Host not found)" in weir.errors(), "the line")

    def test_other_servers_serve_meanwhile(self):
        self.expected_errors = ("could not be resolved",)
        self.names.names["backend.test"] = None
        weir = self.start(more=f"server 127.0.0.3:{self.backends.port};")
        self.assertEqual(self.bodies(weir, 5), {"127.0.0.3"})
        self.names.names["backend.test"] = ["127.0.0.2"]
        wait_until(lambda: self.bodies(weir) == {"127.0.0.2", "127.0.0.3"}, "both servers")


SERVICE = """
worker_processes 2;
events {}
http {
    access_log off;
    resolver 127.0.0.1:NAMES ipv6=off valid=1s;
    resolver_timeout 1s;
    upstream app { zone app 128k; server app.test service=http resolve max_fails=0; }
    server { listen 127.0.0.1:8080; location / { proxy_pass http://app; proxy_connect_timeout 2s; } }
}
stream {
    resolver 127.0.0.1:NAMES ipv6=off valid=1s;
    resolver_timeout 1s;
    upstream app { zone stream_app 128k; server test service=_http._tcp.app resolve max_fails=0; }
    server { listen 127.0.0.1:8081; proxy_pass app; proxy_connect_timeout 2s; }
}
"""


@beyond_nginx
class Services(harness.TestCase):
    def test_records_choose_the_servers(self):
        self.expected_errors = ("could not be resolved", "no live upstreams", "Connection refused")
        names = NameServer({"one.test": ["127.0.0.2"], "two.test": ["127.0.0.3"], "three.test": ["127.0.0.4"]})
        self.addCleanup(names.close)
        one, two, three = Backends(["127.0.0.2"]), Backends(["127.0.0.3"]), Backends(["127.0.0.4"])
        for backends in (one, two, three):
            self.addCleanup(backends.close)
        names.services["_http._tcp.app.test"] = [
            (10, 3, one.port, "one.test"), (10, 1, two.port, "two.test"), (20, 1, three.port, "three.test")]
        weir = self.service(SERVICE.replace("127.0.0.1:NAMES", "127.0.0.1:9053"), {9053: names})
        for port in (8080, 8081):
            def bodies(count=24, port=port):
                return [get(weir.port(port), "/").body.decode() for _ in range(count)]

            def ready(expected, bodies=bodies):
                try:
                    return set(bodies(8)) == expected
                except OSError:
                    return False  # stream: no server, no answer
            with self.subTest(port=port, what="the first priority, by weight"):
                wait_until(lambda: ready({"127.0.0.2", "127.0.0.3"}), "the servers")
                found = bodies(40)
                self.assertGreater(found.count("127.0.0.2"), 2 * found.count("127.0.0.3"))
        with self.subTest("the second when nobody of the first is there"):
            one.close()
            two.close()
            for port in (8080, 8081):
                wait_until(lambda: get(weir.port(port), "/").body == b"127.0.0.4", "the backup")
        with self.subTest("records go and come"):
            names.services["_http._tcp.app.test"] = [(1, 1, three.port, "three.test")]
            for port in (8080, 8081):
                wait_until(lambda: get(weir.port(port), "/").body == b"127.0.0.4", "the only one")
            del names.services["_http._tcp.app.test"]
            names.names["_http._tcp.app.test"] = None
            wait_until(lambda: get(weir.port(), "/").status == 502, "no server")
            wait_until(lambda: "service http of app.test could not be resolved (3: Host not found)" in weir.errors()
                       and "service _http._tcp.app of test could not be resolved (3: Host not found)" in weir.errors(),
                       "the lines")
            names.services["_http._tcp.app.test"] = [(1, 1, three.port, "three.test")]
            wait_until(lambda: get(weir.port(), "/").body == b"127.0.0.4", "the server")


@beyond_nginx
class Example(harness.TestCase):
    """conf.examples/changing-names.conf"""

    def test_names_and_retries(self):
        self.expected_errors = ("could not be resolved", "no live upstreams", "prematurely closed", "retry budget")
        names = NameServer({"app.example.com": ["127.0.0.2", "127.0.0.4"], "one.example.com": ["127.0.0.3"]})
        self.addCleanup(names.close)
        app, service = Backends(["127.0.0.2", "127.0.0.4"]), Backends(["127.0.0.3"])
        self.addCleanup(app.close)
        self.addCleanup(service.close)
        names.services["_http._tcp.service.example.com"] = [(1, 1, service.port, "one.example.com")]
        text = harness.example("changing-names.conf").replace("events {}", "error_log logs/error.log warn; events {}")
        text = text.replace("app.example.com:9001", f"app.example.com:{app.port} max_fails=0")
        weir = self.service(text, {9053: names})
        for expected in (b"127.0.0.2", b"127.0.0.4"):
            wait_until(lambda: get(weir.port(), "/").body == expected, "both addresses")
        wait_until(lambda: get(weir.port(), "/service/").body == b"127.0.0.3", "the service's server")
        # An outage: the servers take connections and close them.
        asked = app.served
        app.served, app.broken = 0, True
        self.assertEqual({get(weir.port(), "/").status for _ in range(400)}, {502})
        # A fifth of the requests of ten seconds, those before among them, and fifty.
        self.assertLessEqual(app.served - 400, (400 + asked) / 5 + 50)
        self.assertGreater(app.served, 400)
        self.assertIn("upstream retry budget is exhausted", weir.errors())

        def refused():
            lines = weir.read("logs/retries.log").splitlines()
            return sum(line.endswith(" 502 1") for line in lines) == 800 - app.served
        wait_until(refused, "the lines of the log")


def may_mount():
    return os.geteuid() == 0 and subprocess.run(["unshare", "-m", "true"], check=False).returncode == 0


OWN_SYSTEM = """#!/bin/sh
exec unshare -m sh -c 'mount --bind FOLDER/hosts /etc/hosts; mount --bind FOLDER/resolv.conf /etc/resolv.conf;
exec "$@"' sh BINARY "$@"
"""


@beyond_nginx
@unittest.skipUnless(may_mount(), "needs root: a hosts file of its own")
class System(harness.TestCase):
    """weir sees other files in the place of /etc/hosts and /etc/resolv.conf."""

    def setUp(self):
        self.folder = tempfile.mkdtemp(prefix="weir-test-")
        self.write("hosts", "")
        self.write("resolv.conf", "nameserver 127.0.0.1\n")
        script = f"{self.folder}/weir"
        self.write("weir", OWN_SYSTEM.replace("FOLDER", self.folder).replace("BINARY", harness.BINARY))
        os.chmod(script, 0o755)
        self.addCleanup(setattr, harness, "BINARY", harness.BINARY)
        harness.BINARY = script
        self.backends = Backends(["127.0.0.2", "127.0.0.3"])
        self.addCleanup(self.backends.close)

    def write(self, name, text):
        # In its place: a mount is of this very file.
        with open(f"{self.folder}/{name}", "w", encoding="ascii") as file:
            file.write(text)

    UNRESOLVED = """
worker_processes 2;
error_log logs/error.log notice;
events {}
http {
    access_log off;
    upstream app { server late.test:PORT; }
    server {
        listen 127.0.0.1:8080;
        location = /version { return 200 "VERSION"; }
        location / { proxy_pass http://app; }
        location /direct { proxy_pass http://late.test:PORT; }
    }
    upstream_start_unresolved on;
}
stream {
    upstream_start_unresolved on;
    upstream app { server late.test:PORT; }
    server { listen 127.0.0.1:8081; proxy_pass app; }
    server { listen 127.0.0.1:8082; proxy_pass late.test:PORT; }
}
"""

    def test_a_start_without_a_name(self):
        self.expected_errors = ("could not be resolved", "no live upstreams", "host not found", "[emerg]")
        text = self.UNRESOLVED.replace("PORT", str(self.backends.port))
        strict = self.service(text.replace("unresolved on", "unresolved off"), start=False)
        verdict = strict.run("-t")
        self.assertEqual(verdict.returncode, 1)
        self.assertRegex(verdict.stderr, r'\[emerg\] host not found in upstream "late\.test:\d+" in \S+:7\n')
        weir = self.service(text.replace("VERSION", "1"))
        self.assertIn(f'host not found in upstream "late.test:{self.backends.port}"', weir.read("logs/stderr"))
        self.assertEqual(get(weir.port(), "/").status, 502)
        self.assertEqual(get(weir.port(), "/direct").status, 502)
        self.assertIn("no live upstreams", weir.errors())
        wait_until(lambda: re.search(r"\[error\].*late\.test could not be resolved \(", weir.errors()), "the line")
        self.write("hosts", "127.0.0.2 late.test\n")

        def served():
            return all(get(weir.port(port), target).body == b"127.0.0.2"
                       for port, target in ((8080, "/"), (8080, "/direct"), (8081, "/"), (8082, "/"))
                       for _ in range(6))
        wait_until(served, "the name")
        self.assertRegex(weir.errors(), r"\[notice\].*late\.test was resolved to 127\.0\.0\.2")
        # What is known stays when a reload does not find the name.
        self.write("hosts", "")
        weir.reload(text.replace("VERSION", "2"))
        self.assertEqual(get(weir.port(), "/version").body, b"2")
        self.assertTrue(served())

    def test_the_name_servers_of_the_system(self):
        first = NameServer({"app.test": ["127.0.0.2"]}, ("127.45.1.1", 53))
        second = NameServer({"app.test": ["127.0.0.3"]}, ("127.45.1.2", 53))
        self.addCleanup(first.close)
        self.addCleanup(second.close)
        self.write("resolv.conf", "nameserver 127.45.1.1\n")
        text = """
worker_processes 1;
events {}
http {
    access_log off;
    resolver ipv6=off;
    upstream app { zone app 128k; server app.test:PORT resolve; }
    server {
        listen 127.0.0.1:8080;
        location / { proxy_pass http://app; }
        location /variable { set $name app.test; proxy_pass http://$name:PORT; }
    }
}
"""
        weir = self.service(text.replace("PORT", str(self.backends.port)))
        for target in ("/", "/variable"):
            wait_until(lambda: get(weir.port(), target).body == b"127.0.0.2", "the first server's answer")
        self.write("resolv.conf", "# another network\nnameserver 127.45.1.2\n")
        for target in ("/", "/variable"):
            wait_until(lambda: get(weir.port(), target).body == b"127.0.0.3", "the second server's answer")


if __name__ == "__main__":
    unittest.main()
