#!/usr/bin/python3
"""Reload in place: workers stay, what is open stays open, and what is new is used."""

import asyncio
import os
import re
import resource
import shutil
import signal
import socket
import subprocess
import threading
import time
import unittest

import harness
from harness import Connection, beyond_nginx, echo, get, run, wait_until

CONF = """
worker_processes WORKERS;
events {}
http {
    access_log logs/access.log;
    upstream app {
        server 127.0.0.1:9001;
        keepalive 8;
    }
    server {
        listen 127.0.0.1:8080;
        keepalive_requests 100000;
        location = /version { return 200 "VERSION"; }
        location = /pid { return 200 "$pid"; }
        location / {
            proxy_pass http://app;
            proxy_http_version 1.1;
            proxy_set_header Connection "";
        }
        location /ws {
            proxy_pass http://app;
            proxy_http_version 1.1;
            proxy_set_header Upgrade $http_upgrade;
            proxy_set_header Connection upgrade;
        }
    }
    MORE
}
"""


def conf(version="1", more="", workers=1):
    text = CONF.replace("VERSION", str(version)).replace("MORE", more)
    return text.replace("WORKERS", str(workers))


def listens(port):
    with socket.socket() as client:
        return client.connect_ex(("127.0.0.1", port)) == 0


def many_servers(count):
    """Each with ten locations."""
    return "server_names_hash_max_size 65536;\n" + "".join(
        f"server {{ listen 127.0.0.1:8080; server_name s{number}.example.com; "
        + "".join(f"location /p{place} {{ return 200 a; }} " for place in range(10)) + "}\n"
        for number in range(count))


class Reload(harness.TestCase):
    def setUp(self):
        self.upstream = self.backend("app", answer=self.answer())
        self.weir = self.service(conf(), {9001: self.upstream})
        self.port = self.weir.port()

    def answer(self):
        return None

    def version(self, client=None):
        return (client.get("/version") if client else get(self.port, "/version")).body.decode()

    def test_new_configuration_is_used(self):
        self.assertEqual(self.version(), "1")
        for number in range(2, 5):
            self.weir.reload(conf(number))
            self.assertEqual(self.version(), str(number))

    def test_open_tunnels_survive_ten_reloads(self):
        tunnels = []
        for number in range(10):
            tunnels.append(self.tunnel(self.port, "/ws"))
            self.weir.reload(conf(number + 2))
            for tunnel in tunnels:
                self.assertTrue(echo(tunnel, f"after reload {number}"))
        self.assertEqual(self.version(), "11")

    @beyond_nginx
    def test_workers_stay(self):
        before = self.weir.children()
        for number in range(3):
            self.weir.reload(conf(number + 2))
        self.assertEqual(self.weir.children(), before)

    @beyond_nginx
    def test_workers_stay_with_limits_of_their_own(self):
        """An unchanged limit needs no right that containers lack."""
        limit = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        settings = f"worker_rlimit_nofile {limit}; worker_priority 0;"
        weir = self.service(settings + conf(1), {9001: self.upstream})
        before = weir.children()
        for number in range(3):
            self.assertEqual(weir.reload(settings + conf(number + 2)).stderr, "")
        self.assertEqual(weir.children(), before)

    @beyond_nginx
    def test_keep_alive_connection_survives_and_sees_the_new_configuration(self):
        with Connection(self.port) as client:
            for number in range(1, 11):
                self.assertEqual(self.version(client), str(number))
                self.weir.reload(conf(number + 1))
            self.assertEqual(self.version(client), "11")

    @beyond_nginx
    def test_upstream_connections_survive(self):
        with Connection(self.port) as client:
            self.assertEqual(client.get("/").status, 200)
            for number in range(5):
                self.weir.reload(conf(number + 2))
                self.assertEqual(client.get("/").status, 200)
        self.assertEqual(self.upstream.connections, 1)

    @beyond_nginx
    def test_verdict_is_told_also_when_only_the_running_service_can_know(self):
        self.expected_errors = ('unknown directive "retrun"',)
        result = self.weir.reload(conf(2))
        self.assertEqual(result.returncode, 0)
        self.weir.configure(conf(3).replace("return 200", "retrun 200"))
        result = self.weir.run("-s", "reload")
        self.assertEqual(result.returncode, 1)

    def test_bad_configuration_leaves_the_running_one_untouched(self):
        self.expected_errors = ('unknown directive "bad_directive"',)
        before = self.weir.children()
        tunnel = self.tunnel(self.port, "/ws")
        with Connection(self.port) as client:
            self.assertEqual(self.version(client), "1")
            self.weir.configure(conf(2, "bad_directive on;"))
            result = self.weir.run("-s", "reload")
            self.assertNotEqual(result.returncode, 0)
            line = result.stderr.splitlines()[0]
            self.assertRegex(line, r'^nginx: \[emerg\] unknown directive "bad_directive" in '
                                   + re.escape(self.weir.path("weir.conf")) + r":\d+$")
            self.assertEqual(self.version(client), "1")
        self.assertTrue(echo(tunnel))
        self.assertEqual(self.weir.children(), before)

    def test_bad_configuration_by_signal_is_logged(self):
        self.expected_errors = ('unknown directive "bad_directive"',)
        before = self.weir.children()
        self.weir.configure(conf(2, "bad_directive on;"))
        self.weir.signal(signal.SIGHUP)
        wait_until(lambda: 'unknown directive "bad_directive"' in self.weir.errors(), "the reason")
        self.assertEqual(self.version(), "1")
        self.assertEqual(self.weir.children(), before)

    def test_hup_reloads(self):
        self.weir.configure(conf(2))
        self.weir.signal(signal.SIGHUP)
        wait_until(lambda: self.version() == "2", "the new configuration")

    def test_listeners_come_and_go(self):
        more = "server { listen 127.0.0.1:8081; return 200 second; }"
        self.weir.reload(conf(2, more))
        second = self.weir.port(8081)
        self.assertEqual(get(second).body, b"second")
        with Connection(second) as client:
            self.assertEqual(client.get("/").status, 200)
            self.weir.reload(conf(3))
            self.assertTrue(client.ended(), "an idle connection of a closed listener ends")
        wait_until(lambda: refused(second), "the closed listener to refuse")
        self.assertEqual(self.version(), "3")

    def test_address_in_use_leaves_the_running_one_untouched(self):
        self.expected_errors = ("Address already in use", "still could not bind")
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            taken.listen()
            address = f"127.0.0.1:{taken.getsockname()[1]}"
            self.weir.write("weir.conf", self.weir.read("weir.conf").replace(
                "return 200 \"1\"", "return 200 \"2\"") .rstrip()[:-1]
                + f"server {{ listen {address}; }} }}\n")
            self.weir.signal(signal.SIGHUP)
            wait_until(lambda: "Address already in use" in self.weir.errors(), "the reason")
        self.assertEqual(self.version(), "1")

    @unittest.skipUnless(shutil.which("ss"), "needs ss")
    @beyond_nginx
    def test_refused_options_of_a_socket_are_not_set(self):
        self.expected_errors = ("Address already in use", "still could not bind")

        def backlog():
            lines = subprocess.run(["ss", "-ltnH", f"sport = :{self.port}"], check=True,
                                   capture_output=True, text=True).stdout.splitlines()
            return [line.split()[2] for line in lines]

        text = conf(2).replace("listen 127.0.0.1:8080;", "listen 127.0.0.1:8080 backlog=7;")
        before = backlog()
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            taken.listen()
            port = taken.getsockname()[1]
            self.weir.configure(text)
            self.weir.write("weir.conf", self.weir.read("weir.conf").rstrip()[:-1]
                            + f"server {{ listen 127.0.0.1:{port}; }} }}\n")
            self.assertEqual(self.weir.run("-s", "reload").returncode, 1)
        self.assertEqual(backlog(), before)
        self.weir.reload(text)
        self.assertEqual(backlog(), ["7"])

    @beyond_nginx
    def test_address_in_use_is_told_once_and_stalls_nobody(self):
        self.expected_errors = ("Address already in use", "still could not bind", "exited on signal 9")
        for options in ("", "master_process off;"):
            with self.subTest(options), socket.socket() as taken:
                weir = self.service(conf(), {9001: self.upstream}, options=options)
                taken.bind(("127.0.0.1", 0))
                taken.listen()
                weir.write("weir.conf", weir.read("weir.conf").rstrip()[:-1]
                           + f"server {{ listen 127.0.0.1:{taken.getsockname()[1]}; }} }}\n")
                result = []
                thread = threading.Thread(target=lambda: result.append(weir.run("-s", "reload")))
                thread.start()
                wait_until(lambda: "Address already in use" in weir.errors(), "the first attempt")
                if not options:
                    os.kill(weir.children()[0], signal.SIGKILL)
                slowest = 0
                while thread.is_alive():
                    begin = time.monotonic()
                    self.assertEqual(get(weir.port(), "/version").body, b"1")
                    slowest = max(slowest, time.monotonic() - begin)
                thread.join()
                self.assertLess(slowest, 1)
                self.assertEqual(result[0].returncode, 1)
                self.assertEqual(weir.errors().count("Address already in use"), 5)
                self.assertEqual(result[0].stderr.count("Address already in use"), 1, result[0].stderr)
                self.assertEqual(result[0].stderr.count("still could not bind()"), 1)

    @beyond_nginx
    def test_address_that_becomes_free_is_taken(self):
        self.expected_errors = ("Address already in use",)
        for options in ("", "master_process off;"):
            with self.subTest(options), socket.socket() as taken:
                weir = self.service(conf(), {9001: self.upstream}, options=options)
                taken.bind(("127.0.0.1", 0))
                taken.listen()
                port = taken.getsockname()[1]
                weir.write("weir.conf", weir.read("weir.conf").rstrip()[:-1]
                           + f"server {{ listen 127.0.0.1:{port}; return 200 new; }} }}\n")
                result = []
                thread = threading.Thread(target=lambda: result.append(weir.run("-s", "reload")))
                thread.start()
                wait_until(lambda: "Address already in use" in weir.errors(), "the first attempt")
                taken.close()
                thread.join()
                self.assertEqual(result[0].returncode, 0, result[0].stderr)
                self.assertEqual(get(port).body, b"new")

    @beyond_nginx
    def test_fewer_workers_drain(self):
        self.weir.reload(conf(2, workers=3))
        wait_until(lambda: len(self.weir.children()) == 3, "three workers")
        tunnels = [self.tunnel(self.port, "/ws") for _ in range(9)]
        self.weir.reload(conf(3, workers=1))
        for tunnel in tunnels:
            self.assertTrue(echo(tunnel))
            harness.close_tunnel(tunnel)
        wait_until(lambda: len(self.weir.children()) == 1, "one worker")
        self.assertEqual(self.version(), "3")

    def test_more_workers(self):
        self.weir.reload(conf(2, workers=3))
        wait_until(lambda: len(self.weir.serving()) == 3, "three workers")
        self.assertEqual(self.version(), "2")

    def test_new_log_file_is_used(self):
        text = conf(2).replace("logs/access.log", "logs/other.log")
        self.weir.reload(text)
        get(self.port, "/version?other")
        wait_until(lambda: "other" in self.weir.read("logs/other.log"), "the line in the new log")
        self.assertNotIn("other", self.weir.read("logs/access.log"))

    @beyond_nginx
    def test_log_files_are_closed_with_the_last_configuration_that_names_them(self):
        for options in ("", "master_process off;"):
            with self.subTest(options):
                weir = self.service(conf(1), {9001: self.upstream}, options=options)
                worker = weir.children()[0] if not options else weir.pid

                def is_open(name):
                    links = set()
                    for number in os.listdir(f"/proc/{worker}/fd"):
                        try:
                            links.add(os.readlink(f"/proc/{worker}/fd/{number}"))
                        except FileNotFoundError:
                            pass
                    return weir.path(f"logs/{name}.log") in links

                tunnel = self.tunnel(weir.port(), "/ws")
                weir.reload(conf(2).replace("logs/access.log", "logs/second.log"))
                wait_until(lambda: is_open("second"), "the new log to be open")
                weir.reload(conf(3).replace("logs/access.log", "logs/third.log"))
                wait_until(lambda: not is_open("second"), "the log without users to be closed")
                self.assertTrue(is_open("access"))
                self.assertTrue(is_open("third"))
                harness.close_tunnel(tunnel)
                wait_until(lambda: not is_open("access"), "the tunnel's log to be closed")
                self.assertIn("GET /ws", weir.read("logs/access.log"))

    @beyond_nginx
    def test_no_memory_for_the_new_configuration_leaves_the_running_one_untouched(self):
        if "sanitize" in harness.BINARY:
            self.skipTest("sanitizers need what they need")
        self.expected_errors = ("no memory for the new", "cannot use the new configuration",
                                "pthread_create() failed", "exited on signal 9")
        weir = self.service(conf(1, more=many_servers(1000)), {9001: self.upstream})
        first = weir.children()
        # The next worker inherits it: enough for one configuration, not for two.
        limits = resource.prlimit(weir.pid, resource.RLIMIT_DATA)
        resource.prlimit(weir.pid, resource.RLIMIT_DATA, (20 << 20, limits[1]))
        os.kill(first[0], signal.SIGKILL)
        workers = wait_until(lambda: [pid for pid in weir.serving() if pid not in first],
                             "the next worker")
        resource.prlimit(weir.pid, resource.RLIMIT_DATA, limits)
        tunnel = self.tunnel(weir.port(), "/ws")
        weir.configure(conf(2, more=many_servers(1500)))
        result = weir.run("-s", "reload")
        self.assertEqual(result.returncode, 1, result.stderr)
        self.assertIn("cannot use the new configuration", result.stderr)
        self.assertEqual(weir.children(), workers)
        self.assertTrue(echo(tunnel))
        self.assertEqual(get(weir.port(), "/version").body, b"1")
        harness.close_tunnel(tunnel)

    @beyond_nginx
    def test_one_process_that_quits_does_not_reload(self):
        weir = self.service(conf(1), {9001: self.upstream}, options="master_process off;")
        tunnel = self.tunnel(weir.port(), "/ws")
        weir.signal(signal.SIGQUIT)
        wait_until(lambda: not listens(weir.port()), "the end to begin")
        weir.configure(conf(2))
        result = weir.run("-s", "reload")
        self.assertEqual(result.returncode, 1, result.stderr)
        self.assertIn("the service stops", result.stderr)
        self.assertNotIn("[alert]", weir.errors())
        self.assertTrue(echo(tunnel))
        harness.close_tunnel(tunnel)

    def test_no_request_fails_while_reloading(self):
        stop = threading.Event()
        failures = []
        counts = []

        def client():
            count = 0
            while not stop.is_set():
                try:
                    if get(self.port, "/").status != 200:
                        failures.append("status")
                except (OSError, AssertionError) as error:
                    failures.append(repr(error))
                count += 1
            counts.append(count)

        threads = [threading.Thread(target=client) for _ in range(4)]
        for thread in threads:
            thread.start()
        for number in range(10):
            self.weir.reload(conf(number + 2))
        stop.set()
        for thread in threads:
            thread.join()
        self.assertEqual(failures, [])
        self.assertGreater(min(counts), 0)

    @beyond_nginx
    def test_ten_reloads_with_tunnels_cost_no_memory(self):
        """Nor does it matter how large the configuration is."""
        for servers in (300, 3000):
            with self.subTest(servers=servers):
                filler = many_servers(servers)
                self.weir.reload(conf(2, filler))
                self.tunnel(self.port, "/ws")
                self.weir.reload(conf(3, filler))
                before = self.weir.private_memory()
                for number in range(10):
                    self.assertTrue(echo(self.tunnel(self.port, "/ws")))
                    self.weir.reload(conf(number + 4, filler))
                grown = self.weir.private_memory() - before
                self.assertEqual(len(self.weir.children()), 1)
                if "sanitize" not in harness.BINARY:
                    self.assertLess(grown, 1 << 20)


class Large(harness.TestCase):
    """A configuration that takes a while to compile."""

    @beyond_nginx
    def test_traffic_does_not_stall_while_it_compiles(self):
        weir = self.service(conf(1), {9001: self.backend()})
        weir.configure(conf(2, many_servers(3000)))
        stop = threading.Event()
        slowest = [0.0]
        failures = []

        def client():
            with Connection(weir.port()) as connection:
                while not stop.is_set():
                    begin = time.monotonic()
                    if connection.get("/version").status != 200:
                        failures.append("status")
                    slowest[0] = max(slowest[0], time.monotonic() - begin)

        thread = threading.Thread(target=client)
        thread.start()
        begin = time.monotonic()
        try:
            result = weir.run("-s", "reload", patience=120)
            took = time.monotonic() - begin
        finally:
            stop.set()
            thread.join()
        self.assertEqual((result.returncode, failures), (0, []), result.stderr)
        self.assertEqual(get(weir.port(), "/version").body, b"2")
        if "sanitize" not in harness.BINARY:
            self.assertLess(slowest[0], max(0.25, took / 2), f"the reload took {took:.2f} s")


class Replaced(harness.TestCase):
    """What cannot be changed in a running worker replaces it, politely."""

    def test_change_of_user_drains_the_old_workers(self):
        if os.geteuid() != 0:
            self.skipTest("needs root")
        weir = self.service(conf(1), {9001: self.backend()})
        old = wait_until(weir.children, "the worker")
        tunnel = self.tunnel(weir.port(), "/ws")
        weir.reload("user daemon daemon;" + conf(2))
        wait_until(lambda: [pid for pid in weir.children() if pid not in old], "a new worker")
        wait_until(lambda: get(weir.port(), "/version").body == b"2", "the new configuration")
        self.assertTrue(echo(tunnel), "the tunnel lives on in the old worker")
        self.assertTrue(set(old) <= set(weir.children()))
        harness.close_tunnel(tunnel)
        wait_until(lambda: not set(old) & set(weir.children()), "the old worker to leave")

    def test_reopened_logs_come_to_workers_that_leave(self):
        """By name, though the new configuration has others in their place."""
        if os.geteuid() != 0:
            self.skipTest("needs root")
        weir = self.service(conf(1), {9001: self.backend()})
        old = wait_until(weir.children, "the worker")
        tunnel = self.tunnel(weir.port(), "/ws")
        weir.reload("user daemon daemon;" + conf(2)
                    .replace("logs/access.log", "logs/other.log")
                    .replace("location = /pid {", "location = /pid { access_log logs/access.log;"))
        os.rename(weir.path("logs/access.log"), weir.path("logs/access.log.1"))
        weir.signal(signal.SIGUSR1)
        wait_until(lambda: os.path.exists(weir.path("logs/access.log")), "the new file")

        def has_new_file():
            links = [os.path.realpath(f"/proc/{old[0]}/fd/{name}")
                     for name in os.listdir(f"/proc/{old[0]}/fd")]
            return weir.path("logs/access.log") in links

        wait_until(has_new_file, "the old worker to have the new file")
        harness.close_tunnel(tunnel)
        wait_until(lambda: not set(old) & set(weir.children()), "the old worker to leave")
        self.assertIn("GET /ws", weir.read("logs/access.log"))
        self.assertNotIn("GET /ws", weir.read("logs/other.log"))

    def test_shutdown_timeout_ends_what_does_not_end(self):
        if os.geteuid() != 0:
            self.skipTest("needs root")
        text = "worker_shutdown_timeout 500ms;" + conf(1)
        weir = self.service(text, {9001: self.backend()})
        old = wait_until(weir.children, "the worker")
        tunnel = self.tunnel(weir.port(), "/ws")
        weir.reload("user daemon daemon;" + text.replace('"1"', '"2"'))
        run(tunnel.wait_closed())
        wait_until(lambda: not set(old) & set(weir.children()), "the old worker to leave")
        self.assertEqual(get(weir.port(), "/version").body, b"2")


class UnderWay(harness.TestCase):
    """A request holds the configuration it began with."""

    def setUp(self):
        self.event = asyncio.Event()
        event = self.event

        async def answer(_request, _reader, writer):
            await event.wait()
            writer.write(harness.reply("late"))

        self.upstream = self.backend("app", answer=answer)
        self.text = conf(1).replace("location / {", "location / { add_header X-Version VERSION;")
        self.weir = self.service(self.text.replace("VERSION", "1"), {9001: self.upstream})

    def let_go(self):
        async def go():
            self.event.set()

        run(go())

    def test_long_request_ends_on_the_old_one_and_the_next_uses_the_new(self):
        with Connection(self.weir.port()) as client:
            client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n")
            self.upstream.wait_requests(1)
            self.weir.reload(self.text.replace("VERSION", "2"))
            self.let_go()
            answer = client.answer()
            self.assertEqual((answer.status, answer.fields["x-version"]), (200, "1"))
            if not harness.IS_ORACLE:
                self.assertEqual(client.get("/").fields["x-version"], "2")
        self.assertEqual(get(self.weir.port(), "/").fields["x-version"], "2")


class Survival(harness.TestCase):
    def test_worker_killed_after_a_reload_comes_back_with_the_new_configuration(self):
        self.expected_errors = ("exited on signal 9",)
        weir = self.service(conf(1), {9001: self.backend()})
        weir.reload(conf(2))
        worker = wait_until(weir.serving, "the worker")[0]
        os.kill(worker, signal.SIGKILL)
        wait_until(lambda: [pid for pid in weir.serving() if pid != worker], "a new worker")
        self.assertEqual(get(weir.port(), "/version").body, b"2")

    def test_stop_and_quit_after_reloads(self):
        for command in ("stop", "quit"):
            weir = self.service(conf(1), {9001: self.backend()}, daemon=True)
            weir.reload(conf(2))
            self.assertEqual(weir.run("-s", command).returncode, 0)
            self.assertEqual(weir.wait_end(), 0)
            weir.pid = None


def refused(port):
    import socket
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) != 0


if __name__ == "__main__":
    unittest.main()
