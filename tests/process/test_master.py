#!/usr/bin/python3
"""What workers get from the master, what reloads change in them, and what is left at the end."""

import asyncio
import collections
import concurrent.futures
import os
import signal
import socket
import stat
import sys
import threading
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "clients"))

import harness
from harness import get, wait_until

HTTP = 'events {}\nhttp {\naccess_log off; server { listen 127.0.0.1:8080; return 200 "ok"; }\n}\n'
PASS = "location / { proxy_pass http://127.0.0.1:9000; }"
as_root = unittest.skipIf(os.geteuid() != 0, "needs root")


def status_of(pid):
    with open(f"/proc/{pid}/status", encoding="ascii") as file:
        return dict(line.rstrip("\n").split(":\t", 1) for line in file if ":\t" in line)


def limits_of(pid):
    with open(f"/proc/{pid}/limits", encoding="ascii") as file:
        return {line[:26].strip(): line[26:].split()[:2] for line in file}


def over_unix(path):
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(harness.PATIENCE)
        client.connect(path)
        client.sendall(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        answer = b""
        while chunk := client.recv(65536):
            answer += chunk
        return answer


class Workers(harness.TestCase):
    def one(self, before="", **more):
        weir = self.service(before + HTTP, **more)
        return weir, wait_until(lambda: len(weir.children()) == 1 and weir.children()[0], "a worker")

    @as_root
    def test_user_and_group(self):
        weir, worker = self.one("user daemon bin;\n")
        get(weir.port())
        facts = status_of(worker)
        self.assertEqual(facts["Uid"].split(), ["1"] * 4)
        self.assertEqual(facts["Gid"].split(), ["2"] * 4)
        self.assertNotIn("0", facts["Groups"].split())
        self.assertEqual(int(facts["CapEff"], 16), 0)
        self.assertEqual(os.stat(weir.path("temp/body")).st_uid, 1)

    @as_root
    def test_capability_for_foreign_addresses(self):
        """`proxy_bind … transparent`, in http or stream: workers keep one capability, and no other."""
        stream = "stream { server { listen 127.0.0.1:8081; proxy_pass 127.0.0.1:9; proxy_bind $remote_addr transparent; } }\n"
        weir, worker = self.one("user daemon bin;\n")
        get(weir.port())
        self.assertEqual(int(status_of(worker)["CapEff"], 16), 0)

        def capabilities(pid):
            try:
                return int(status_of(pid)["CapEff"], 16)
            except OSError:
                return None  # gone

        def wait_for(wanted):  # workers that go are told so after those that come serve
            wait_until(lambda: {capabilities(pid) for pid in weir.children()} == {wanted}, "the workers")

        weir.reload("user daemon bin;\n" + HTTP + stream)
        wait_for(1 << 13)
        http = HTTP.replace("server {", "proxy_bind $remote_addr transparent; server {", 1)
        weir.reload("user daemon bin;\n" + http)
        wait_for(1 << 13)
        weir.reload("user daemon bin;\n" + HTTP)
        wait_for(0)

    def test_folder_limits_and_affinity(self):
        weir, worker = self.one("working_directory /tmp;\nworker_rlimit_nofile 300;\n"
                                "worker_rlimit_core 1m;\nworker_cpu_affinity 1;\n")
        get(weir.port())
        self.assertEqual(os.readlink(f"/proc/{worker}/cwd"), "/tmp")
        self.assertEqual(limits_of(worker)["Max open files"], ["300", "300"])
        self.assertEqual(limits_of(worker)["Max core file size"], ["1048576", "1048576"])
        self.assertEqual(os.sched_getaffinity(worker), {0})

    @as_root
    def test_priority_is_changed_in_place(self):
        # Less of it, and the limit stays: changing more takes privileges that containers lack, and
        # then workers are replaced.
        limit = "worker_rlimit_nofile 400;\n"
        weir, worker = self.one("worker_priority 3;\n" + limit)
        get(weir.port())
        self.assertEqual(os.getpriority(os.PRIO_PROCESS, worker), 3)
        weir.reload("worker_priority 7;\n" + limit + HTTP)
        self.assertEqual(weir.serving(), [worker])
        self.assertEqual(os.getpriority(os.PRIO_PROCESS, worker), 7)
        self.assertEqual(limits_of(worker)["Max open files"], ["400", "400"])

    def test_worker_that_cannot_work_is_not_forked_for_ever(self):
        self.expected_errors = ("chdir(", "exited with fatal code 2")
        weir = harness.Service("working_directory /no/such/folder;\n" + HTTP, start=False)
        self.addCleanup(lambda: weir.stop(expected_errors=self.expected_errors))
        weir.process = harness.subprocess.Popen(weir.command(), stdin=harness.subprocess.DEVNULL,
                                                stderr=harness.subprocess.DEVNULL)
        weir.pid = weir.process.pid
        wait_until(lambda: "cannot be respawned" in weir.errors(), "the master to notice")
        self.assertEqual(weir.wait_end(), 0)
        self.assertEqual(weir.errors().count("exited with fatal code 2"), 1)

    def test_signals_that_come_while_a_worker_ends(self):
        # One that dies of a signal leaves an alert, which fails the test.
        for _ in range(20):
            weir = harness.Service(HTTP)
            try:
                worker = weir.children()[0]
                weir.signal(signal.SIGTERM)
                try:
                    while True:
                        os.kill(worker, signal.SIGTERM)
                except ProcessLookupError:
                    pass
                self.assertEqual(weir.wait_end(), 0)
            finally:
                weir.stop()

    def test_titles(self):
        weir, worker = self.one()
        get(weir.port())
        self.assertTrue(harness.title(weir.pid).startswith(b"nginx: master process "))
        wait_until(lambda: harness.title(worker).rstrip(b"\0") == b"nginx: worker process", "the title")


class Listeners(harness.TestCase):
    def test_unix_socket_file(self):
        text = "events {}\nhttp {\naccess_log off; server { listen unix:%s; return 200 ok; }\n}\n"
        weir = harness.Service("", start=False)
        self.addCleanup(weir.stop)
        path = weir.path("a.sock")
        weir.configure(text % path)
        weir.start()
        wait_until(lambda: os.path.exists(path), "the socket")
        self.assertEqual(stat.S_IMODE(os.stat(path).st_mode), 0o666)
        self.assertIn(b"200 OK", over_unix(path))
        weir.reload(text % path)
        self.assertIn(b"200 OK", over_unix(path))
        other = weir.path("b.sock")
        weir.reload(text % other)
        self.assertFalse(os.path.exists(path))
        self.assertIn(b"200 OK", over_unix(other))
        weir.signal(signal.SIGTERM)
        self.assertEqual(weir.wait_end(), 0)
        self.assertFalse(os.path.exists(other))

    def test_one_socket_a_worker(self):
        text = ("worker_processes %d;\n" + HTTP).replace("8080;", "8080 reuseport;")
        weir = self.service(text % 2)
        for workers in (2, 3, 1, 2):
            weir.reload(text % workers)
            # A socket that nobody accepts on would swallow some of these.
            for _ in range(30):
                self.assertEqual(get(weir.port()).body, b"ok")

    @harness.beyond_nginx  # which resets what waits at the sockets of those that leave
    def test_no_connection_is_lost_when_sockets_go(self):
        text = ("worker_processes %d;\n" + HTTP).replace("8080;", "8080 reuseport;")
        weir = self.service(text % 3)
        over = threading.Event()
        bodies = collections.Counter()

        def ask():
            while not over.is_set():
                bodies[get(weir.port()).body] += 1

        with concurrent.futures.ThreadPoolExecutor(3) as pool:
            asking = [pool.submit(ask) for _ in range(3)]
            try:
                for workers in (1, 3, 2, 1):
                    weir.reload(text % workers)
                wait_until(lambda: len(weir.children()) == 1, "the end of the others")
            finally:
                over.set()
            for one in asking:
                one.result()
        self.assertEqual(list(bodies), [b"ok"])

    def test_sockets_of_their_own_come_and_go(self):
        shared = "worker_processes 2;\n" + HTTP
        own = shared.replace("8080;", "8080 reuseport;")
        weir = self.service(shared)
        for text in (own, shared, own):
            weir.reload(text)
            for _ in range(20):
                self.assertEqual(get(weir.port()).body, b"ok")


class Connections(harness.TestCase):
    TEXT = ("worker_processes 1;\nevents { worker_connections 16; }\nhttp {\naccess_log off; "
            "keepalive_timeout 60s; server { listen 127.0.0.1:8080; return 200 ok; }\n}\n")

    @harness.beyond_nginx  # which counts its listening sockets and pipes as well
    def test_idle_ones_make_room(self):
        weir = self.service("error_log logs/error.log warn;\n" + self.TEXT)
        kept = []
        self.addCleanup(lambda: [connection.close() for connection in kept])
        kept += [harness.Connection(weir.port()) for _ in range(14)]
        for connection in kept:
            self.assertEqual(connection.get().body, b"ok")
        for _ in range(5):
            with harness.Connection(weir.port()) as other:
                self.assertEqual(other.get().body, b"ok")
                kept.append(harness.Connection(weir.port()))
                self.assertEqual(kept[-1].get().body, b"ok")
        self.assertIn("16 worker_connections are not enough, reusing connections", weir.errors())
        # Those went first that had been idle for longest.
        self.assertTrue(kept[0].ended())
        self.assertEqual(kept[-1].get().body, b"ok")

    @harness.beyond_nginx
    def test_no_room_at_all(self):
        self.expected_errors = ("16 worker_connections are not enough",)
        go_on = asyncio.Event()

        async def answer(_request, _reader, writer):
            await go_on.wait()
            writer.write(harness.reply("ok"))
            return False

        backend = harness.Backend(answer=answer)
        self.addCleanup(backend.stop)
        weir = self.service(self.TEXT.replace("return 200 ok;", PASS),
                            backends={9000: backend})
        busy = [harness.Connection(weir.port()) for _ in range(8)]
        self.addCleanup(lambda: [connection.close() for connection in busy])
        for count, connection in enumerate(busy):
            connection.send("GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            backend.wait_requests(count + 1)
        with harness.Connection(weir.port()) as refused:
            self.assertTrue(refused.ended())
        self.assertIn("[alert]", weir.errors())
        harness.LOOP.loop.call_soon_threadsafe(go_on.set)
        for connection in busy:
            self.assertEqual(connection.answer().body, b"ok")
        self.assertEqual(get(weir.port()).body, b"ok")


class Logs(harness.TestCase):
    TEXT = ("worker_processes 1;\nevents {}\nhttp {\naccess_log logs/%s.log; server { "
            "listen 127.0.0.1:8080; location / { return 200 ok; } location /ws { "
            "proxy_pass http://127.0.0.1:9000; proxy_set_header Upgrade $http_upgrade; "
            "proxy_set_header Connection upgrade; } }\n}\n")

    def open_logs(self, weir):
        pid = weir.serving()[0]
        names = [os.readlink(f"/proc/{pid}/fd/{fd}") for fd in os.listdir(f"/proc/{pid}/fd")]
        return {os.path.basename(name) for name in names if name.endswith(".log")}

    @harness.beyond_nginx
    def test_files_that_are_not_used_any_more_are_closed(self):
        backend = harness.Backend()
        self.addCleanup(backend.stop)
        weir = self.service(self.TEXT % "a", backends={9000: backend})
        self.assertEqual(get(weir.port()).body, b"ok")
        weir.reload(self.TEXT % "b")
        wait_until(lambda: self.open_logs(weir) == {"error.log", "b.log"}, "a.log to be closed")
        with harness.Connection(weir.port()) as tunnel:
            tunnel.send("GET /ws HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\n"
                        "Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
                        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n")
            self.assertIn(b"101", tunnel.socket.recv(4096))
            weir.reload(self.TEXT % "c")
            self.assertEqual(get(weir.port()).body, b"ok")
            self.assertEqual(self.open_logs(weir), {"error.log", "b.log", "c.log"})
        # The tunnel's line goes where it began.
        wait_until(lambda: " 101 " in weir.read("logs/b.log"), "the line of the tunnel")
        wait_until(lambda: self.open_logs(weir) == {"error.log", "c.log"}, "b.log to be closed")

    def test_requests_are_logged_when_the_time_to_shut_down_is_over(self):
        async def answer(_request, reader, _writer):
            await reader.read()
            return False

        backend = harness.Backend(answer=answer)
        self.addCleanup(backend.stop)
        weir = self.service("worker_shutdown_timeout 100ms;\n" + self.TEXT % "a",
                            backends={9000: backend})
        with harness.Connection(weir.port()) as client:
            client.send("GET /ws HTTP/1.1\r\nHost: x\r\n\r\n")
            backend.wait_requests(1)
            weir.signal(signal.SIGQUIT)
            self.assertTrue(client.ended())
            self.assertEqual(weir.wait_end(), 0)
        self.assertRegex(weir.read("logs/a.log"), '"GET /ws HTTP/1.1" (000|400|499) 0 ')

    @harness.beyond_nginx
    def test_tunnels_end_and_are_logged_when_the_service_is_told_to_stop(self):
        backend = harness.Backend()
        self.addCleanup(backend.stop)
        weir = self.service(self.TEXT % "a", backends={9000: backend})
        with harness.Connection(weir.port()) as tunnel:
            tunnel.send("GET /ws HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\n"
                        "Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
                        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n")
            self.assertIn(b"101", tunnel.socket.recv(4096))
            weir.signal(signal.SIGTERM)
            self.assertEqual(weir.wait_end(), 0)
        self.assertIn(" 101 ", weir.read("logs/a.log"))


class Files(harness.TestCase):
    @harness.beyond_nginx
    def test_files_that_are_not_in_memory_are_read_on_another_thread(self):
        weir = self.service("worker_processes 1;\nevents {}\nhttp {\naccess_log off; root html; "
                            "sendfile off; output_buffers 3 16k; aio threads; "
                            "server { listen 127.0.0.1:8080; }\n}\n")
        content = os.urandom(3_000_000)
        weir.write("html/big", content)
        worker = weir.children()[0]
        threads = len(os.listdir(f"/proc/{worker}/task"))
        with open(weir.path("html/big"), "rb") as file:
            os.fsync(file.fileno())
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        self.assertEqual(get(weir.port(), "/big").body, content)
        self.assertGreater(len(os.listdir(f"/proc/{worker}/task")), threads)
        answer = get(weir.port(), "/big", fields=[("Range", "bytes=1000000-1999999")])
        self.assertEqual(answer.body, content[1000000:2000000])
        # A client that leaves in the middle of a read.
        for _ in range(20):
            with open(weir.path("html/big"), "rb") as file:
                os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
            with harness.Connection(weir.port()) as client:
                client.send("GET /big HTTP/1.1\r\nHost: x\r\n\r\n")
                client.read(1)
        self.assertEqual(get(weir.port(), "/big").body, content)

    def test_pid_file_moves(self):
        weir = harness.Service("", start=False)
        self.addCleanup(weir.stop)
        command = weir.command
        weir.command = lambda *more: [word.replace("pid logs/weir.pid;", "") for word in command(*more)]
        weir.configure(f"pid {weir.path('logs/weir.pid')};\n" + HTTP)
        weir.start()
        wait_until(lambda: weir.read("logs/weir.pid").strip() == str(weir.pid), "the pid file")
        weir.configure(f"pid {weir.path('logs/new.pid')};\n" + HTTP)
        weir.signal(signal.SIGHUP)
        wait_until(lambda: os.path.exists(weir.path("logs/new.pid.control")), "the new control socket")
        self.assertEqual(weir.read("logs/new.pid").strip(), str(weir.pid))
        self.assertFalse(os.path.exists(weir.path("logs/weir.pid")))
        self.assertFalse(os.path.exists(weir.path("logs/weir.pid.control")))
        self.assertEqual(weir.run("-s", "reload").returncode, 0)
        self.assertEqual(weir.run("-s", "stop").returncode, 0)
        self.assertEqual(weir.wait_end(), 0)
        self.assertEqual([name for name in os.listdir(weir.path("logs")) if ".pid" in name], [])

    def test_only_the_owner_reaches_the_control_socket(self):
        weir = self.service(HTTP)
        path = wait_until(lambda: os.path.exists(weir.path("logs/weir.pid.control"))
                          and weir.path("logs/weir.pid.control"), "the control socket")
        self.assertEqual(stat.S_IMODE(os.stat(path).st_mode), 0o600)
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as client:
            client.connect(path)
            client.send(b"something else")
            self.assertEqual(client.recv(100), b"")


if __name__ == "__main__":
    unittest.main()
