#!/usr/bin/python3
"""The examples that serve plain HTTP, with curl and raw connections as clients."""

import asyncio
import socket
import unittest

import harness
from harness import Connection, curl, echo, example, get, run, wait_until

UPGRADE = [("Upgrade", "websocket"), ("Connection", "Upgrade"), ("Sec-WebSocket-Version", "13"),
           ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ==")]


class Headers(harness.TestCase):
    def setUp(self):
        self.upstream = self.backend("origin")
        self.weir = self.service(example("http-headers.conf"), {9001: self.upstream})
        self.url = f"http://127.0.0.1:{self.weir.port(8080)}"

    def test_host_and_client_address(self):
        answer = curl(f"{self.url}/a/b?c=d")
        self.assertEqual((answer.status, answer.body), (200, b"origin\n"))
        request = self.upstream.last()
        self.assertEqual(request.target, "/a/b?c=d")
        self.assertEqual(request.all("Host"), [f"127.0.0.1:{self.upstream.port}"])
        self.assertEqual(request.all("X-Real-IP"), ["127.0.0.1"])
        self.assertEqual(request.all("X-Forwarded-For"), ["127.0.0.1"])

    def test_forwarded_for_is_appended_to(self):
        curl("-H", "X-Forwarded-For: 10.1.2.3, 10.4.5.6", self.url)
        self.assertEqual(self.upstream.last().all("X-Forwarded-For"),
                         ["10.1.2.3, 10.4.5.6, 127.0.0.1"])

    def test_client_cannot_set_the_real_ip(self):
        curl("-H", "X-Real-IP: 10.1.2.3", self.url)
        self.assertEqual(self.upstream.last().all("X-Real-IP"), ["127.0.0.1"])

    def test_bodies_of_all_sizes(self):
        for size in (0, 1, 8191, 8192, 300_000):
            body = bytes(index % 251 for index in range(size))
            self.weir.write("body", body)
            answer = curl("-H", "Expect:", "--data-binary", f"@{self.weir.path('body')}", self.url)
            self.assertEqual(answer.status, 200)
            self.assertEqual(self.upstream.last().body, body)

    def test_expect_continue_and_chunked(self):
        self.weir.write("body", b"chunk" * 5000)
        answer = curl("-T", self.weir.path("body"), "-H", "Transfer-Encoding: chunked",
                      "-H", "Expect: 100-continue", f"{self.url}/put")
        self.assertEqual(answer.body, b"origin\n")
        self.assertEqual(self.upstream.last().body, b"chunk" * 5000)
        self.assertEqual(self.upstream.last().method, "PUT")

    def test_keep_alive_and_pipelining(self):
        with Connection(self.weir.port(8080)) as client:
            request = "GET /{} HTTP/1.1\r\nHost: a\r\n\r\n"
            client.send("".join(request.format(number) for number in range(50)))
            for _ in range(50):
                self.assertEqual(client.answer().body, b"origin\n")
        targets = [request.target for request in self.upstream.requests]
        self.assertEqual(targets, [f"/{number}" for number in range(50)])

    def test_backend_that_is_down_is_502(self):
        self.upstream.stop()
        self.assertEqual(curl(self.url).status, 502)


class Limits(harness.TestCase):
    def setUp(self):
        self.expected_errors = ("limiting requests", "limiting connections")

    def statuses(self, weir, client, count):
        with Connection(weir.port(8080)) as connection:
            return [connection.get(fields=[("X-Forwarded-For", client)]).status for _ in range(count)]

    def test_rates_are_of_each_client_and_not_of_our_own(self):
        weir = self.service(example("limits.conf"), {9001: self.backend()})
        for client in ("192.0.2.1", "192.0.2.2, 127.0.0.1"):
            self.assertEqual(self.statuses(weir, client, 6)[:4], [200] * 4)
            self.assertIn(429, self.statuses(weir, client, 6))
        self.assertEqual(self.statuses(weir, "10.1.2.3", 30), [200] * 30)

    def test_connections(self):
        gate = asyncio.Event()

        async def answer(_request, _reader, writer):
            await gate.wait()
            writer.write(harness.reply("late"))

        upstream = self.backend(answer=answer)
        weir = self.service(example("limits.conf"), {9001: upstream})
        held = [Connection(weir.port(8080)) for _ in range(2)]
        for connection in held:
            connection.send("GET / HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: 192.0.2.9\r\n\r\n")
        wait_until(lambda: len(upstream.requests) == 2, "both requests")
        self.assertEqual(self.statuses(weir, "192.0.2.9", 1), [429])
        harness.LOOP.loop.call_soon_threadsafe(gate.set)
        for connection in held:
            self.assertEqual(connection.answer().status, 200)
            connection.close()
        wait_until(lambda: self.statuses(weir, "192.0.2.9", 1) == [200], "the connections' end")


class Balancing(harness.TestCase):
    def setUp(self):
        self.upstreams = [self.backend(name) for name in ("one", "two", "three")]
        self.weir = self.service(example("balancing.conf"),
                                 dict(zip((9001, 9002, 9003), self.upstreams)))

    def chosen(self, target, count, user=None):
        names = []
        for number in range(count):
            fields = [("Cookie", f"user={user or number}")]
            names.append(get(self.weir.port(8080), target, fields=fields).body.decode().strip())
        return names

    def test_a_user_keeps_the_server_and_others_stay_when_one_leaves(self):
        self.expected_errors = ("connect() failed", "temporarily disabled")
        before = self.chosen("/", 60)
        self.assertEqual(set(before), {"one", "two", "three"})
        self.assertEqual(self.chosen("/", 60), before)
        self.assertEqual(len(set(self.chosen("/", 5, "same"))), 1)
        self.upstreams[1].stop()
        after = self.chosen("/", 60)
        for was, now in zip(before, after):
            if was == "two":
                self.assertIn(now, ("one", "three"))
            else:
                self.assertEqual(now, was)

    def test_least_busy_by_weight(self):
        names = self.chosen("/work", 30)
        # A request may come before the one before it was counted as over.
        self.assertEqual(names.count("one") + names.count("two"), 30)
        self.assertTrue(7 <= names.count("one") <= 13, names)

    def test_shares(self):
        self.assertTrue(set(self.chosen("/try", 5)) <= {"one", "two", "three"})


class LargeBodies(harness.TestCase):
    def test_large_answers_arrive_whole(self):
        sizes = {"/0": 0, "/1": 1, "/32k": 32768, "/1m": 1 << 20, "/20m": 20 << 20}
        pattern = bytes(range(256)) * 4096

        async def answer(request, _reader, writer):
            size = sizes[request.target]
            body = (pattern * (size // len(pattern) + 1))[:size]
            writer.write(harness.reply(body))

        weir = self.service(example("http-headers.conf"), {9001: self.backend(answer=answer)})
        for target, size in sizes.items():
            got = curl(f"http://127.0.0.1:{weir.port(8080)}{target}").body
            self.assertEqual(len(got), size)
            self.assertEqual(got, (pattern * (size // len(pattern) + 1))[:size])


class Failover(harness.TestCase):
    def make(self, first=None, second=None, backup=None):
        self.servers = [self.backend(name, answer=answer)
                        for name, answer in (("a", first), ("b", second), ("backup", backup))]
        ports = dict(zip((9001, 9002, 9003), self.servers))
        self.weir = self.service(example("failover-health.conf"), ports)
        return self.weir.port(8080)

    @staticmethod
    def status(line):
        async def answer(_request, _reader, writer):
            writer.write(harness.reply(line, line))

        return answer

    def counts(self):
        return [len(server.requests) for server in self.servers]

    def test_health_is_answered_here_and_not_logged(self):
        port = self.make()
        answer = curl(f"http://127.0.0.1:{port}/health")
        self.assertEqual((answer.status, answer.body), (200, b"healthy\n"))
        self.assertEqual(answer.fields["content-type"], "text/plain")
        self.assertEqual(curl(f"http://127.0.0.1:{port}/ws").status, 200)
        wait_until(lambda: "GET /ws " in self.weir.read("logs/access.log"), "the logged request")
        self.assertNotIn("/health", self.weir.read("logs/access.log"))
        self.assertEqual(sum(self.counts()), 1)

    def test_backup_is_not_asked_while_others_answer(self):
        port = self.make()
        for _ in range(6):
            self.assertEqual(get(port, "/ws").status, 200)
        self.assertEqual(self.counts(), [3, 3, 0])

    def test_tunnel_goes_past_a_dead_server(self):
        port = self.make()
        self.servers[0].stop()
        for _ in range(3):
            self.assertTrue(echo(self.tunnel(port, "/ws")))
        self.assertEqual(self.servers[1].tunnels, 3)

    def test_backup_when_all_others_are_dead(self):
        port = self.make()
        self.servers[0].stop()
        self.servers[1].stop()
        self.assertTrue(echo(self.tunnel(port, "/ws")))
        self.assertEqual(self.servers[2].tunnels, 1)

    def test_server_is_left_alone_after_three_failures(self):
        port = self.make(first=self.status("500 Internal Server Error"))
        for _ in range(12):
            self.assertEqual(get(port, "/ws").body, b"b\n")
        self.assertEqual(self.counts()[0], 3)

    def test_listed_statuses_try_the_next(self):
        for line in ("500 Internal Server Error", "502 Bad Gateway", "503 Service Unavailable"):
            port = self.make(first=self.status(line), second=self.status(line))
            answer = get(port, "/ws")
            self.assertEqual((answer.status, answer.body), (200, b"backup\n"))
            self.assertEqual(self.counts(), [1, 1, 1])

    def test_other_statuses_are_passed_on(self):
        for line in ("404 Not Found", "504 Gateway Timeout", "403 Forbidden"):
            port = self.make(first=self.status(line))
            answer = get(port, "/ws")
            self.assertEqual((answer.status, answer.body), (int(line[:3]), line.encode()))

    def test_last_listed_status_reaches_the_client(self):
        bad = self.status("503 Service Unavailable")
        port = self.make(bad, bad, bad)
        answer = get(port, "/ws")
        self.assertEqual((answer.status, answer.body), (503, b"503 Service Unavailable"))
        self.assertEqual(self.counts(), [1, 1, 1])

    def test_broken_answers_try_the_next(self):
        async def garbage(_request, _reader, writer):
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 5\0\r\nno\r\n\r\n")
            return False

        async def hang_up(_request, _reader, _writer):
            return False

        port = self.make(hang_up, garbage)
        self.assertEqual(get(port, "/ws").body, b"backup\n")
        self.assertEqual(self.counts(), [1, 1, 1])

    def test_post_is_not_repeated_after_it_was_sent(self):
        async def hang_up(_request, _reader, _writer):
            return False

        port = self.make(first=hang_up)
        self.assertEqual(get(port, "/ws", method="POST", body=b"once").status, 502)
        self.assertEqual(self.counts(), [1, 0, 0])


class Static(harness.TestCase):
    def setUp(self):
        self.servers = {9001: self.backend("a"), 9002: self.backend("b")}
        self.files = {"html/index.html": "<p>chat</p>", "html/style.css": "p{}",
                      "html/big.bin": bytes(range(256)) * 20000}
        self.weir = self.service(example("static-and-api.conf"), self.servers, files=self.files)
        self.url = f"http://127.0.0.1:{self.weir.port(8080)}"

    def test_files(self):
        answer = curl(f"{self.url}/")
        self.assertEqual((answer.status, answer.body), (200, b"<p>chat</p>"))
        self.assertEqual(answer.fields["content-type"], "text/html")
        self.assertEqual(curl(f"{self.url}/style.css").fields["content-type"], "text/css")
        self.assertEqual(curl(f"{self.url}/big.bin").body, self.files["html/big.bin"])
        self.assertEqual(curl(f"{self.url}/missing").status, 404)
        self.assertEqual(curl("--path-as-is", f"{self.url}/../../etc/passwd").status, 400)

    def test_unchanged_file_is_not_sent_again(self):
        first = curl(f"{self.url}/style.css")
        again = curl("-H", f"If-None-Match: {first.fields['etag']}", f"{self.url}/style.css")
        self.assertEqual((again.status, again.body), (304, b""))
        since = curl("-H", f"If-Modified-Since: {first.fields['last-modified']}",
                     f"{self.url}/style.css")
        self.assertEqual(since.status, 304)

    def test_api_keeps_its_path_and_names_the_client(self):
        self.assertEqual(curl(f"{self.url}/api/rooms?x=%20y", "-H", "Host: chat.example.com").status,
                         200)
        request = next(server for server in self.servers.values() if server.requests).last()
        self.assertEqual(request.target, "/api/rooms?x=%20y")
        self.assertEqual(request.get("Host"), "chat.example.com")
        self.assertEqual(request.get("X-Forwarded-For"), "127.0.0.1")

    def test_socket_io(self):
        self.assertTrue(echo(self.tunnel(self.weir.port(8080), "/socket.io/?EIO=4")))
        request = next(server for server in self.servers.values() if server.requests).last()
        self.assertEqual(request.get("X-Forwarded-Proto"), "http")


class Unbuffered(harness.TestCase):
    def setUp(self):
        self.steps = asyncio.Queue()
        steps = self.steps

        async def trickle(_request, _reader, writer):
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n"
                         b"Connection: close\r\n\r\n")
            while True:
                piece = await steps.get()
                if piece is None:
                    return False
                writer.write(piece)
                await writer.drain()

        backends = {9001: self.backend(answer=trickle), 9002: self.backend(answer=trickle)}
        self.weir = self.service(example("unbuffered-stream.conf"), backends,
                                 files={"html/index.html": "stock"})
        self.port = self.weir.port(8080)

    def give(self, piece):
        async def put():
            self.steps.put_nowait(piece)

        run(put())

    def test_bytes_reach_the_client_as_they_come(self):
        with Connection(self.port) as client:
            client.send("GET /realtime HTTP/1.0\r\nHost: a\r\n\r\n")
            self.assertIn(b"text/event-stream", client.read_until(b"\r\n\r\n"))
            for number in range(5):
                piece = f"data: {number}\n\n".encode()
                self.give(piece)
                self.assertEqual(client.read(len(piece)), piece)
            self.give(None)
            self.assertEqual(client.rest(), b"")

    def test_chunked_for_newer_clients(self):
        with Connection(self.port) as client:
            client.send("GET /realtime HTTP/1.1\r\nHost: a\r\n\r\n")
            self.assertIn(b"chunked", client.read_until(b"\r\n\r\n"))
            self.give(b"tick")
            self.assertEqual(client.read(9), b"4\r\ntick\r\n")
            self.give(None)
            self.assertEqual(client.read(5), b"0\r\n\r\n")

    def test_client_that_leaves_ends_the_backend_request(self):
        with Connection(self.port) as client:
            client.send("GET /realtime HTTP/1.1\r\nHost: a\r\n\r\n")
            client.read_until(b"\r\n\r\n")
            client.socket.shutdown(socket.SHUT_RDWR)
        backends = self.weir.backends.values()
        wait_until(lambda: [self.give(b"x" * 1000),
                            sum(backend.open_connections() for backend in backends) == 0][1],
                   "the backend's connection to end")

    def test_websocket_and_files(self):
        self.assertTrue(echo(self.tunnel(self.port, "/realtime")))
        self.assertEqual(get(self.port, "/").body, b"stock")


class EveryExample(harness.TestCase):
    def test_every_example_passes_its_check(self):
        import glob
        names = glob.glob(f"{harness.ROOT}/conf.examples/*.conf")
        self.assertGreater(len(names), 10)
        for name in names:
            service = harness.Service(example(name.rsplit("/", 1)[1]), start=False)
            self.addCleanup(service.stop)
            harness.put_certificates(service)
            result = service.run("-t")
            self.assertEqual(result.returncode, 0, f"{name}: {result.stderr}")
            self.assertIn("syntax is ok", result.stderr)
            self.assertIn("test is successful", result.stderr)


if __name__ == "__main__":
    unittest.main()
