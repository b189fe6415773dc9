#!/usr/bin/python3
"""The examples that make WebSocket tunnels, with Python's websockets as client."""

import asyncio
import re
import unittest

import harness
import websockets
from harness import Connection, curl, echo, example, get, run, wait_until

UPGRADE = [("Upgrade", "websocket"), ("Connection", "Upgrade"), ("Sec-WebSocket-Version", "13"),
           ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ==")]


class Location(harness.TestCase):
    def setUp(self):
        self.upstream = self.backend("chat")
        self.weir = self.service(example("websocket-location.conf"), {9001: self.upstream})
        self.port = self.weir.port(8080)

    def test_messages_pass_through_the_tunnel(self):
        tunnel = self.tunnel(self.port, "/chat/room?name=1")
        for message in ("hello", "", "ä" * 1000, b"\0\1\2", "x" * 500_000):
            self.assertTrue(echo(tunnel, message))
        request = self.upstream.last()
        self.assertEqual(request.target, "/chat/room?name=1")
        self.assertEqual(request.get("Upgrade"), "websocket")
        self.assertEqual(request.get("Connection"), "upgrade")
        self.assertEqual(request.get("Host"), "backend")

    def test_many_messages_in_flight(self):
        tunnel = self.tunnel(self.port, "/chat/")

        async def pump():
            async def write():
                for number in range(2000):
                    await tunnel.send(f"{number} " + "m" * (number % 300))

            writer = asyncio.ensure_future(write())
            got = [await tunnel.recv() for _ in range(2000)]
            await writer
            return got

        got = run(pump())
        self.assertEqual([int(message.split()[0]) for message in got], list(range(2000)))

    def test_hop_by_hop_headers_are_not_passed_on_unless_set(self):
        with Connection(self.port) as client:
            answer = client.get("/plain/", fields=UPGRADE)
        self.assertEqual(answer.status, 200)
        request = self.upstream.last()
        self.assertIsNone(request.get("Upgrade"))
        self.assertNotIn("upgrade", (request.get("Connection") or "").lower())
        self.assertEqual(request.get("Sec-WebSocket-Version"), "13")

    def test_handshake_that_is_not_answered_with_101_stays_http(self):
        async def refused():
            with self.assertRaises(websockets.InvalidStatusCode) as caught:
                await harness.websocket(self.port, "/plain/")
            return caught.exception.status_code

        self.assertEqual(run(refused()), 200)

    def test_other_requests_still_work_in_the_websocket_location(self):
        answer = get(self.port, "/chat/")
        self.assertEqual((answer.status, answer.body), (200, b"chat\n"))
        self.assertIsNone(self.upstream.last().get("Upgrade"))

    def test_closing_handshake_reaches_the_other_side(self):
        tunnel = self.tunnel(self.port, "/chat/")
        self.assertTrue(echo(tunnel))
        run(tunnel.close(code=4001, reason="bye"))
        self.assertEqual(tunnel.close_code, 4001)
        wait_until(lambda: self.upstream.open_connections() == 0, "the backend's side to close")

    def test_client_that_vanishes_ends_the_backend_side(self):
        tunnel = self.tunnel(self.port, "/chat/")
        self.assertTrue(echo(tunnel))
        harness.abort_tunnel(tunnel)
        wait_until(lambda: self.upstream.open_connections() == 0, "the backend's side to close")

    def test_backend_that_vanishes_ends_the_client_side(self):
        tunnel = self.tunnel(self.port, "/chat/")
        self.assertTrue(echo(tunnel))
        self.upstream.stop()
        run(tunnel.wait_closed())
        self.assertEqual(tunnel.close_code, 1006)

    def test_frame_sent_with_the_handshake_is_not_lost(self):
        frame = b"\x81\x85\0\0\0\0early"
        head = ["GET /chat/ HTTP/1.1", "Host: a"] + [f"{name}: {value}" for name, value in UPGRADE]
        with Connection(self.port) as client:
            client.send("\r\n".join(head).encode() + b"\r\n\r\n" + frame)
            self.assertEqual(client.answer().status, 101)
            self.assertEqual(client.read(7), b"\x81\x05early")


class Map(harness.TestCase):
    def setUp(self):
        self.upstream = self.backend("app")
        self.weir = self.service(example("websocket-map.conf"), {9001: self.upstream})
        self.port = self.weir.port(8080)

    def test_websocket(self):
        self.assertTrue(echo(self.tunnel(self.port, "/ws/")))
        self.assertEqual(self.upstream.last().get("Connection"), "upgrade")
        self.assertEqual(self.upstream.last().get("Host"), "127.0.0.1")

    def test_plain_http_closes_the_backend_connection(self):
        answer = curl(f"http://127.0.0.1:{self.port}/page")
        self.assertEqual((answer.status, answer.body), (200, b"app\n"))
        self.assertEqual(self.upstream.last().get("Connection"), "close")
        self.assertIsNone(self.upstream.last().get("Upgrade"))

    def test_both_on_one_service_at_once(self):
        tunnels = [self.tunnel(self.port) for _ in range(20)]
        with Connection(self.port) as client:
            for tunnel in tunnels:
                self.assertEqual(client.get("/").status, 200)
                self.assertTrue(echo(tunnel))


class ThreeDirectives(harness.TestCase):
    def setUp(self):
        self.upstream = self.backend()
        self.weir = self.service(example("websocket-three-directives.conf"), {9001: self.upstream})
        self.port = self.weir.port(8080)

    def test_inherited(self):
        self.assertTrue(echo(self.tunnel(self.port, "/ws/")))

    def test_own_header_drops_the_inherited(self):
        with Connection(self.port) as client:
            self.assertEqual(client.get("/own/", fields=UPGRADE).status, 200)
        self.assertIsNone(self.upstream.last().get("Upgrade"))
        self.assertEqual(self.upstream.last().get("X-Own"), "yes")


class Simple(harness.TestCase):
    def test_host_and_address_reach_the_backend(self):
        upstream = self.backend()
        weir = self.service(example("websocket-simple.conf"), {9001: upstream})
        tunnel = self.tunnel(weir.port(8080), "/", host="chat.example.com")
        self.assertTrue(echo(tunnel))
        self.assertEqual(upstream.last().all("Host")[0], "chat.example.com")
        self.assertEqual(upstream.last().get("X-Real-IP"), "127.0.0.1")


class Timeouts(harness.TestCase):
    def make(self, timeout):
        self.upstream = self.backend()
        text = example("websocket-timeouts.conf").replace("600s", timeout)
        text = "error_log logs/error.log info;\n" + text
        self.weir = self.service(text, {9001: self.upstream})
        return self.weir.port(8080)

    def test_silent_tunnel_is_closed_after_the_read_timeout(self):
        port = self.make("1s")
        tunnel = self.tunnel(port, "/ws")
        self.assertTrue(echo(tunnel))

        async def until_closed():
            begin = asyncio.get_running_loop().time()
            await tunnel.wait_closed()
            return asyncio.get_running_loop().time() - begin

        silent = run(until_closed())
        self.assertGreater(silent, 0.8)
        self.assertLess(silent, 5)
        self.assertEqual(tunnel.close_code, 1006)
        wait_until(lambda: "upstream timed out" in self.weir.errors(), "the reason in the error log")

    def test_pings_keep_it_open(self):
        port = self.make("1s")
        tunnel = self.tunnel(port, "/ws", ping_interval=0.3, ping_timeout=harness.PATIENCE)

        async def stays_open(seconds):
            try:
                await asyncio.wait_for(tunnel.wait_closed(), seconds)
            except asyncio.TimeoutError:
                return True
            return False

        self.assertTrue(run(stays_open(2.5)))
        self.assertTrue(echo(tunnel))

    def test_long_timeout_is_not_the_default_and_not_shorter(self):
        port = self.make("600s")
        tunnel = self.tunnel(port, "/ws")
        self.assertTrue(echo(tunnel))
        self.assertEqual(self.upstream.last().get("X-Forwarded-For"), "127.0.0.1")
        self.assertEqual(self.upstream.last().get("X-Real-IP"), "127.0.0.1")

    def test_backend_that_does_not_answer_the_handshake_times_out(self):
        async def silent(_request, _reader, _writer):
            await asyncio.Event().wait()

        upstream = self.backend(answer=silent, websocket=False)
        text = example("websocket-timeouts.conf").replace("600s", "300ms")
        weir = self.service(text, {9001: upstream})
        with Connection(weir.port(8080)) as client:
            self.assertEqual(client.get("/ws", fields=UPGRADE).status, 504)


class CommonMistakes(harness.TestCase):
    def test_each_location_makes_tunnels(self):
        upstream = self.backend()
        weir = self.service(example("websocket-common-mistakes.conf"), {9001: upstream})
        self.assertTrue(echo(self.tunnel(weir.port(8080), "/")))
        self.assertTrue(echo(self.tunnel(weir.port(8080), "/named/")))
        self.assertEqual(upstream.last().get("X-Real-IP"), "127.0.0.1")


class Upstream(harness.TestCase):
    def test_tunnels_go_round_the_servers(self):
        backends = {9001: self.backend("a"), 9002: self.backend("b")}
        weir = self.service(example("websocket-upstream.conf"), backends)
        for _ in range(6):
            self.assertTrue(echo(self.tunnel(weir.port(8080), "/websocket")))
        self.assertEqual([backend.tunnels for backend in backends.values()], [3, 3])


class AccessLog(harness.TestCase):
    def test_one_line_for_a_finished_tunnel(self):
        upstream = self.backend()
        weir = self.service(example("access-log-websocket.conf"), {9001: upstream})
        tunnel = self.tunnel(weir.port(8080), "/ws?id=7", user_agent_header="a client",
                             extra_headers={"Referer": "http://from/"})
        self.assertTrue(echo(tunnel, "x" * 1000))
        self.assertEqual(weir.read("logs/websocket.log"), "")
        run(tunnel.close())
        line = wait_until(lambda: weir.read("logs/websocket.log"), "the line of the tunnel")
        match = re.fullmatch(
            r'127\.0\.0\.1 - - \[\d\d/\w{3}/\d{4}:\d\d:\d\d:\d\d [+-]\d{4}\] '
            r'"GET /ws\?id=7 HTTP/1\.1" 101 (\d+) "http://from/" "a client" '
            r'rt=(\d+\.\d{3}) ut="(\d+\.\d{3})" upgrade="websocket" connection="Upgrade"\n', line)
        self.assertIsNotNone(match, line)
        self.assertGreaterEqual(int(match.group(1)), 1004)
        self.assertEqual(weir.read("logs/access.log"), "")

    def test_refused_handshakes_are_logged_with_their_status(self):
        async def refuse(_request, _reader, writer):
            writer.write(harness.reply("no", "403 Forbidden"))

        upstream = self.backend(answer=refuse, websocket=False)
        weir = self.service(example("access-log-websocket.conf"), {9001: upstream})
        with Connection(weir.port(8080)) as client:
            self.assertEqual(client.get("/ws", fields=UPGRADE).status, 403)
        line = wait_until(lambda: weir.read("logs/websocket.log"), "the line")
        self.assertIn('"GET /ws HTTP/1.1" 403 2 "-" "-" rt=', line)


class AuthRequest(harness.TestCase):
    def setUp(self):
        async def verify(request, _reader, writer):
            allowed = "token=good" in (request.get("X-Original-URI") or "")
            writer.write(harness.reply("", "204 No Content" if allowed else "403 Forbidden"))

        self.collaboration = self.backend("collaboration")
        self.auth = self.backend("auth", answer=verify, websocket=False)
        self.weir = self.service(example("auth-request-websocket.conf"),
                                 {9001: self.collaboration, 9002: self.auth},
                                 files={"html/index.html": "documents"})
        self.port = self.weir.port(8080)

    def test_allowed_handshake_becomes_a_tunnel(self):
        target = "/collaborate?token=good&userId=u1&docId=d2"
        self.assertTrue(echo(self.tunnel(self.port, target)))
        asked = self.auth.last()
        self.assertEqual(asked.line.split(" ")[:2], ["GET", "/verify"])
        self.assertEqual(asked.get("X-Original-URI"), target)
        request = self.collaboration.last()
        self.assertEqual(request.get("X-User-ID"), "u1")
        self.assertEqual(request.get("X-Document-ID"), "d2")

    def test_refused_handshake_does_not_reach_the_backend(self):
        async def refused():
            with self.assertRaises(websockets.InvalidStatusCode) as caught:
                await harness.websocket(self.port, "/collaborate?token=bad")
            return caught.exception.status_code

        self.assertEqual(run(refused()), 403)
        self.assertEqual(self.collaboration.requests, [])

    def test_body_goes_to_the_backend_and_not_to_the_subrequest(self):
        answer = get(self.port, "/collaborate?token=good", method="POST", body=b"b" * 20000)
        self.assertEqual(answer.status, 200)
        self.assertEqual(self.auth.last().body, b"")
        self.assertIsNone(self.auth.last().get("Content-Length"))
        self.assertEqual(self.collaboration.last().body, b"b" * 20000)

    def test_location_is_internal_and_files_are_free(self):
        self.assertEqual(get(self.port, "/auth").status, 404)
        self.assertEqual(get(self.port, "/").body, b"documents")


class WholeMain(harness.TestCase):
    def test_tunnel(self):
        weir = self.service(example("whole-main.conf"), {9001: self.backend()})
        self.assertTrue(echo(self.tunnel(weir.port(8080), "/chat/")))
        self.assertEqual(get(weir.port(8080), "/elsewhere").status, 404)


if __name__ == "__main__":
    unittest.main()
