#!/usr/bin/python3
"""The master and its workers: command line, signals, forking again, reopening logs."""

import asyncio
import os
import re
import signal
import socket
import unittest

import harness
from harness import Connection, beyond_nginx, echo, get, open_tunnel, reply, run, wait_until
from own_certificates import issue, pem

PLAIN = """
worker_processes 2;
events {}
http {
    access_log logs/access.log;
    server {
        listen 127.0.0.1:8080;
        location / { return 200 "pid $pid\\n"; }
        location /slow { proxy_pass http://127.0.0.1:9001; }
        location /ws {
            proxy_pass http://127.0.0.1:9001;
            proxy_http_version 1.1;
            proxy_set_header Upgrade $http_upgrade;
            proxy_set_header Connection upgrade;
        }
    }
}
"""


class CommandLine(harness.TestCase):
    def setUp(self):
        self.weir = harness.Service(PLAIN, {9001: self.backend()}, start=False)
        self.addCleanup(lambda: self.weir.stop(expected_errors=("Address already in use", "still could")))

    def test_check_says_nothing_when_quiet(self):
        result = self.weir.run("-t", "-q")
        self.assertEqual((result.returncode, result.stdout, result.stderr), (0, "", ""))

    def test_check(self):
        result = self.weir.run("-t")
        path = self.weir.path("weir.conf")
        self.assertEqual(result.returncode, 0)
        self.assertEqual(result.stderr, f"nginx: the configuration file {path} syntax is ok\n"
                                        f"nginx: configuration file {path} test is successful\n")

    def test_dump_prints_every_file(self):
        self.weir.write("more.conf", "# more\n")
        self.weir.write("weir.conf", self.weir.read("weir.conf") + "include more.conf;\n")
        result = self.weir.run("-T")
        self.assertEqual(result.returncode, 0)
        names = re.findall(r"^# configuration file (.*):$", result.stdout, flags=re.M)
        self.assertEqual(names, [self.weir.path("weir.conf"), self.weir.path("more.conf")])
        self.assertIn(self.weir.read("weir.conf"), result.stdout)

    def test_version(self):
        short = self.weir.run("-v").stderr
        self.assertTrue(short.startswith("nginx version: nginx/"), short)
        long = self.weir.run("-V").stderr
        self.assertIn("configure arguments: ", long)
        self.assertIn("--with-http_auth_request_module", long)
        if not harness.IS_ORACLE:
            self.assertRegex(short, r"^nginx version: nginx/1\.31\.4 \(weir/\d+\.\d+\.\d+\)\n$")

    def test_help_names_the_options(self):
        text = self.weir.run("-h").stderr
        for option in ("-t", "-T", "-q", "-s signal", "-p prefix", "-e filename", "-c filename", "-g "):
            self.assertIn(option, text)

    def test_bad_option(self):
        result = self.weir.run("-x")
        self.assertEqual(result.returncode, 1)
        self.assertEqual(result.stderr.splitlines()[0], 'nginx: invalid option: "x"')

    def test_signal_without_a_service(self):
        result = self.weir.run("-s", "stop")
        self.assertEqual(result.returncode, 1)
        self.assertIn('open() "', result.stderr)
        self.assertIn("failed (2: No such file or directory)", result.stderr)

    def test_unknown_signal(self):
        result = self.weir.run("-s", "sleep")
        self.assertEqual(result.returncode, 1)
        self.assertEqual(result.stderr.splitlines()[0], 'nginx: invalid option: "-s sleep"')

    def test_port_in_use_is_told(self):
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            taken.listen()
            address = f"127.0.0.1:{taken.getsockname()[1]}"
            self.weir.write("weir.conf", f"events {{}}\nhttp {{ server {{ listen {address}; }} }}\n")
            # A check binds, but does not mind that somebody is there: perhaps the running service.
            self.assertEqual(self.weir.run("-t").returncode, 0)
            result = self.weir.run()
        self.assertEqual(result.returncode, 1)
        self.assertIn(f"bind() to {address} failed (98: Address already in use)", result.stderr)


class Signals(harness.TestCase):
    def make(self, **more):
        self.upstream = self.backend(**more.pop("backend", {}))
        return self.service(PLAIN, {9001: self.upstream}, **more)

    def test_daemon_writes_its_pid_and_takes_it_away(self):
        weir = self.make(daemon=True)
        self.assertEqual(get(weir.port()).status, 200)
        self.assertEqual(weir.run("-s", "stop").returncode, 0)
        self.assertEqual(weir.wait_end(), 0)
        weir.pid = None
        self.assertFalse(os.path.exists(weir.path("logs/weir.pid")))

    def test_requests_are_served_by_workers(self):
        weir = self.make()
        wait_until(lambda: len(weir.children()) == 2, "two workers")
        answer = get(weir.port()).body
        self.assertIn(int(answer.split()[1]), weir.children())

    def test_killed_worker_is_forked_again(self):
        self.expected_errors = ("exited on signal 9",)
        weir = self.make()
        for _ in range(3):
            workers = wait_until(lambda: len(weir.children()) == 2 and weir.children(), "two workers")
            os.kill(workers[0], signal.SIGKILL)
            wait_until(lambda old=workers: len(set(weir.children()) - {old[0]}) == 2, "a new worker")
            self.assertNotIn(workers[0], weir.children())
            self.assertEqual(get(weir.port()).status, 200)

    @beyond_nginx
    def test_worker_that_is_told_to_end_while_it_starts_ends_in_order(self):
        weir = self.make()
        seen = set()
        while len(seen) < 30:
            for worker in weir.children():
                seen.add(worker)
                try:
                    os.kill(worker, signal.SIGTERM)
                except ProcessLookupError:
                    pass
        self.assertNotIn("exited on signal", weir.errors())

    def test_term_and_int_end_at_once(self):
        for number in (signal.SIGTERM, signal.SIGINT):
            weir = self.make()
            tunnel = self.tunnel(weir.port(), "/ws")
            weir.signal(number)
            self.assertEqual(weir.wait_end(), 0)
            run(tunnel.wait_closed())

    def slow(self):
        import asyncio
        event = asyncio.Event()

        async def answer(_request, _reader, writer):
            await event.wait()
            writer.write(harness.reply("late"))

        async def go():
            event.set()

        return answer, lambda: run(go())

    def test_quit_finishes_what_is_under_way(self):
        answer, let_go = self.slow()
        weir = self.make(backend={"answer": answer})
        with Connection(weir.port()) as client:
            client.send("GET /slow HTTP/1.1\r\nHost: a\r\n\r\n")
            self.upstream.wait_requests(1)
            weir.signal(signal.SIGQUIT)
            wait_until(lambda: not listening(weir.port()), "the listener to close")
            let_go()
            answered = client.answer()
            self.assertEqual((answered.status, answered.body), (200, b"late"))
            self.assertEqual(answered.fields["connection"], "close")
            self.assertTrue(client.ended())
        self.assertEqual(weir.wait_end(), 0)

    def test_quit_ends_idle_connections(self):
        weir = self.make()
        with Connection(weir.port()) as client:
            self.assertEqual(client.get("/").status, 200)
            self.assertEqual(weir.run("-s", "quit").returncode, 0)
            self.assertTrue(client.ended())
        self.assertEqual(weir.wait_end(), 0)

    def test_usr1_and_reopen_write_to_new_files(self):
        weir = self.make()
        for number, reopen in enumerate((lambda: weir.signal(signal.SIGUSR1),
                                         lambda: weir.run("-s", "reopen"))):
            get(weir.port(), f"/before{number}")
            wait_until(lambda: f"/before{number}" in weir.read("logs/access.log"), "the first line")
            os.rename(weir.path("logs/access.log"), weir.path(f"logs/access.log.{number}"))
            reopen()
            wait_until(lambda: os.path.exists(weir.path("logs/access.log")), "the new file")

            # Workers reopen one after another: the old file still takes a line from a late one.
            def written():
                get(weir.port(), f"/after{number}")
                return f"/after{number}" in weir.read("logs/access.log")

            wait_until(written, "a line in the new file")
            self.assertIn(f"/before{number}", weir.read(f"logs/access.log.{number}"))

    def test_winch_ends_the_workers_and_hup_brings_new_ones(self):
        weir = self.make(daemon=True)
        before = wait_until(weir.children, "workers")
        with Connection(weir.port()) as idle:
            self.assertEqual(idle.get("/").status, 200)
            weir.signal(signal.SIGWINCH)
            self.assertTrue(idle.ended())
        wait_until(lambda: not weir.children(), "the workers to end")
        self.assertTrue(weir.alive())
        weir.signal(signal.SIGHUP)
        after = wait_until(lambda: len(weir.children()) == 2 and weir.children(), "new workers")
        self.assertFalse(set(before) & set(after))
        self.assertEqual(get(weir.port()).status, 200)

    def test_master_process_off(self):
        weir = self.make(options="master_process off;")
        self.assertEqual(get(weir.port()).body, f"pid {weir.pid}\n".encode())
        self.assertEqual(weir.children(), [])
        self.assertTrue(echo(self.tunnel(weir.port(), "/ws")))

    def test_unprivileged_user(self):
        if os.geteuid() != 0:
            self.skipTest("needs root")
        weir = self.make(options="user nobody nogroup;")
        for pid in wait_until(weir.children, "workers"):
            wait_until(lambda pid=pid: status_field(pid, "Uid").split()[1] == "65534",
                       "the worker to become nobody")
        self.assertEqual(status_field(weir.pid, "Uid").split()[1], "0")

    def test_dropped_tunnels_leave_nothing_behind(self):
        weir = self.make()
        tunnels = [open_tunnel(weir.port(), "/ws") for _ in range(50)]
        for tunnel in tunnels:
            harness.abort_tunnel(tunnel)
        wait_until(lambda: self.upstream.open_connections() == 0, "the backend's connections to end")

    @beyond_nginx
    def test_idle_connections_hold_no_buffers(self):
        weir = self.make(options="")
        connections = [Connection(weir.port()) for _ in range(400)]
        for connection in connections[:200]:
            self.assertEqual(connection.get("/").status, 200)
        before = weir.private_memory()
        for connection in connections[200:]:
            self.assertEqual(connection.get("/").status, 200)
        grown = weir.private_memory() - before
        for connection in connections:
            connection.close()
        if "sanitize" not in harness.BINARY:
            self.assertLess(grown, 200 * 1500)


def listening(port):
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def status_field(pid, name):
    with open(f"/proc/{pid}/status", encoding="ascii") as file:
        return next(line.split(":", 1)[1].strip() for line in file if line.startswith(name + ":"))


class Memory(harness.TestCase):
    """What a burst needed is given back when it is over."""

    COUNT = 200
    CONF = """
    events { worker_connections 1024; }
    http {
        access_log off;
        server {
            listen 127.0.0.1:8081 ssl;
            ssl_certificate pair.crt;
            ssl_certificate_key pair.key;
            location / { proxy_pass http://127.0.0.1:9001; }
        }
        server {
            listen 127.0.0.1:8080;
            location / { proxy_pass https://127.0.0.1:8081; }
        }
    }
    """

    @beyond_nginx
    def test_burst_of_tls(self):
        certificate, key = pem(issue("one"))
        waiting = []
        all_came = asyncio.Event()

        async def together(request, _reader, writer):
            if request.target == "/together":
                waiting.append(request)
                if len(waiting) == self.COUNT:
                    all_came.set()
                await all_came.wait()
            writer.write(reply("secret"))

        weir = self.service(self.CONF, {9001: self.backend("secret", together)},
                            files={"pair.crt": certificate, "pair.key": key})
        self.assertEqual(get(weir.port()).body, b"secret")
        before = weir.private_memory()
        clients = [Connection(weir.port()) for _ in range(self.COUNT)]
        for client in clients:
            client.send(b"GET /together HTTP/1.1\r\nHost: a\r\n\r\n")
        for client in clients:
            self.assertEqual(client.answer().body, b"secret")
        during = weir.private_memory()
        for client in clients:
            client.close()
        if "sanitize" in harness.BINARY:
            return
        self.assertGreater(during, before + (4 << 20))
        wait_until(lambda: weir.private_memory() < before + (during - before) // 2,
                   "the memory to be given back", patience=20)


if __name__ == "__main__":
    unittest.main()
