#!/usr/bin/python3
"""Active health checks of http: health_check and match."""

import asyncio
import re
import socket
import threading
import unittest

import harness
from harness import beyond_nginx, get, reply, reserve_port, wait_until
from health_support import BAD, HealthCase


@beyond_nginx
class Http(HealthCase):
    def test_goes_down_and_comes_up(self):
        weir = self.start(http="proxy_set_header X-Check $upstream_addr; proxy_set_header Host $proxy_host;")
        self.wait_served(weir, {"one", "two"})
        self.two.health = BAD
        self.wait_log(weir, r'\[warn\].*: peer is unhealthy while checking status code, health check "" '
                            rf'of peer 127\.0\.0\.1:{self.two.port} in upstream "app"\n')
        self.assertEqual(self.served_by(weir), {"one"})
        self.assertRegex(weir.errors(), r'\[info\].*: unexpected status 500 while checking status code, '
                                        r'health check "" of peer')
        # All are ill: no live upstreams.
        self.one.health = BAD
        self.wait_served(weir, {502})
        self.assertIn("no live upstreams while connecting to upstream", weir.errors())
        self.two.health = reply("", "302 Found")
        self.wait_log(weir, r'\[notice\].*: peer is healthy while checking status code, health check "" of peer '
                            rf'127\.0\.0\.1:{self.two.port} in upstream "app"\n')
        self.assertEqual(self.served_by(weir), {"two"})
        # The request is the location's.
        asked = self.two.checks[0]
        self.assertEqual(asked.line, "GET /health HTTP/1.1")
        self.assertEqual(asked.all("Host"), ["app"])
        self.assertEqual(asked.all("Connection"), ["close"])
        self.assertEqual(asked.all("X-Check"), [f"127.0.0.1:{self.two.port}"])
        # Checks are no requests.
        self.assertNotIn("/health", weir.read("logs/access.log"))

    def test_refused_and_back(self):
        held, port = reserve_port()
        self.addCleanup(held.close)

        class Nobody:
            pass

        nobody = Nobody()
        nobody.port = port
        weir = self.start(backends={9001: self.one, 9002: nobody})
        self.wait_log(weir, r'\[error\].*: connect\(\) failed \(111: Connection refused\) while connecting to '
                            rf'upstream, health check "" of peer 127\.0\.0\.1:{port} in upstream "app"\n')
        self.wait_log(weir, r"\[warn\].*: peer is unhealthy while connecting to upstream, health check")
        self.assertEqual(self.served_by(weir), {"one"})
        listener = socket.socket()
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        held.close()
        listener.bind(("127.0.0.1", port))
        listener.listen()
        self.addCleanup(listener.close)

        def serve():
            while True:
                try:
                    client, _ = listener.accept()
                except OSError:
                    return
                with client:
                    client.recv(65536)
                    client.sendall(reply("back", close=True))

        threading.Thread(target=serve, daemon=True).start()
        self.wait_served(weir, {"one", "back"})

    def test_time_out_and_broken_answers(self):
        self.two.health = asyncio.Event()
        weir = self.start(location="proxy_read_timeout 200ms;")
        self.wait_log(weir, r"\[error\].*: upstream timed out \(110: Connection timed out\) while reading "
                            r'response header from upstream, health check "" of peer')
        self.wait_served(weir, {"one"})
        self.one.health = b"NOT HTTP\r\n\r\n"
        self.wait_log(weir, rf"\[error\].*upstream sent.*, health check \"\" of peer 127.0.0.1:{self.one.port}")
        self.one.health = b""
        self.wait_log(weir, r"\[error\].*upstream prematurely closed connection while reading response header "
                            r"from upstream, health check")
        self.wait_served(weir, {502})

    def test_match(self):
        match = """
            map $upstream_http_x_ready $ready { yes 1; default 0; }
            match good {
                status 200-299;
                header Content-Type = text/plain;
                header ! X-Bad;
                body ~ "all (fine|well)";
                require $ready;
            }"""

        def answer(status="200 OK", body="all fine", **fields):
            given = {"Content-Type": "text/plain", "X-Ready": "yes"}
            given.update({name.replace("_", "-"): value for name, value in fields.items()})
            return reply(body, status, given.items())

        self.one.health = self.two.health = answer()
        weir = self.start("interval=100ms uri=/health match=good", http=match)
        self.wait_served(weir, {"one", "two"})
        for bad, why in ((answer("302 Found"), "status code"), (answer(Content_Type="a/b"), "header"),
                         (answer(X_Bad="1"), "header"), (answer(body="so so"), "body"),
                         (answer(X_Ready="no"), "variables")):
            before = len(re.findall(rf"unhealthy while checking {why}, health check \"good\"", weir.errors()))
            self.two.health = bad
            self.wait_log(weir, rf"peer is unhealthy while checking {why}, health check \"good\" of", before + 1)
            self.assertEqual(self.served_by(weir), {"one"})
            self.two.health = answer("204 No Content", "") if why == "nothing" else answer()
            self.wait_served(weir, {"one", "two"})

    def test_fails_and_passes(self):
        weir = self.start("interval=50ms uri=/health fails=3 passes=2")
        self.wait_served(weir, {"one", "two"})
        for _ in range(3):
            # Two bad ones are not enough.
            count = len(self.two.checks)
            self.two.health = BAD
            wait_until(lambda: len(self.two.checks) > count, "a check")
            self.two.health = reply("fine")
            self.two.wait_checks(2)
        self.two.health = BAD
        self.wait_served(weir, {"one"})
        self.two.health = reply("fine")
        self.wait_served(weir, {"one", "two"})

    def test_mandatory(self):
        gate = self.one.health = self.two.health = asyncio.Event()
        weir = self.start("interval=100ms uri=/health mandatory")
        wait_until(lambda: self.one.checks and self.two.checks, "both checks")
        self.assertEqual(self.served_by(weir, 3), {502})
        harness.LOOP.loop.call_soon_threadsafe(gate.set)
        self.wait_served(weir, {"one", "two"})

    def test_a_check_with_its_own_port(self):
        other = self.checked("other")
        weir = self.start(f"interval=100ms uri=/health port={other.port}")
        other.wait_checks(2)
        self.assertEqual(self.one.checks, [])
        other.health = BAD
        self.wait_log(weir, rf"peer is unhealthy while .* of peer 127\.0\.0\.1:{self.one.port} in upstream "
                            rf'"app", port {other.port}\n')
        self.wait_served(weir, {502})

    def test_variables_without_a_client(self):
        # Every one that http has: their values are nobody's.
        names = """arg_x args binary_remote_addr body_bytes_sent bytes_sent connection connection_requests
            connection_time content_length content_type cookie_x document_root document_uri host hostname
            http_user_agent http_x https is_args limit_rate msec nginx_version pid pipe proxy_add_x_forwarded_for
            proxy_host proxy_port proxy_protocol_addr proxy_protocol_port proxy_protocol_server_addr
            proxy_protocol_tlv_alpn query_string realip_remote_addr realip_remote_port realpath_root remote_addr
            remote_port remote_user request request_body request_body_file request_completion request_filename
            request_id request_length request_method request_time request_uri scheme sent_http_x sent_trailer_x
            server_addr server_name server_port server_protocol ssl_cipher ssl_client_cert ssl_client_verify
            ssl_protocol ssl_server_name status tcpinfo_rtt time_iso8601 time_local upstream_addr
            upstream_bytes_received upstream_bytes_sent upstream_cache_status upstream_connect_time
            upstream_cookie_x upstream_header_time upstream_http_x upstream_response_length
            upstream_response_time upstream_status upstream_trailer_x uri""".split()
        known = [name for name in names if name not in self.unknown_variables(names)]
        self.assertGreater(len(known), 60)
        fields = "".join(f'proxy_set_header X-{name.replace("_", "-")} "[${name}]";' for name in known)
        require = "match m { status 200; require $upstream_status $uri; }"
        weir = self.start("interval=100ms match=m uri=/health?a=b mandatory", http=require, location=fields)
        self.wait_served(weir, {"one", "two"})
        asked = self.one.checks[0]
        self.assertEqual(asked.get("X-request"), "[GET /health?a=b HTTP/1.1]")
        self.assertEqual(asked.get("X-uri"), "[/health]")
        self.assertEqual(asked.get("X-args"), "[a=b]")
        self.assertEqual(asked.get("X-remote-addr"), "[]")

    def unknown_variables(self, names):
        """Those that this build does not have."""
        values = " ".join("$" + name for name in names)
        service = harness.Service(f'events {{}} http {{ server {{ location / {{ return 200 "{values}"; }} }} }}',
                                  start=False)
        result = service.run("-t")
        service.stop(check=False)
        return re.findall(r'unknown "(\w+)" variable', result.stderr)

    def test_backup(self):
        three = self.checked("three")
        weir = self.start(upstream="server 127.0.0.1:9003 backup;",
                          backends={9001: self.one, 9002: self.two, 9003: three})
        three.wait_checks(1)
        self.one.health = self.two.health = BAD
        self.wait_served(weir, {"three"})
        three.health = BAD
        self.wait_served(weir, {502})
        self.two.health = reply("fine")
        self.wait_served(weir, {"two"})

    def test_kept_connections(self):
        weir = self.start("interval=30ms uri=/health keepalive_time=1h")
        self.one.wait_checks(10)
        connections = self.one.connections
        self.one.wait_checks(10)
        self.assertEqual(self.one.connections, connections)
        self.assertEqual(self.one.checks[-1].all("Connection"), [])
        # A peer that closes what is kept is not ill for that.
        self.two.health = reply("fine", close=False)

        async def end_all():
            for writer in list(self.two._writers):
                writer.transport.abort()

        for _ in range(5):
            harness.run(end_all())
            self.two.wait_checks(2)
        self.assertNotIn("unhealthy", weir.errors())

    def test_long_answers_are_cut(self):
        async def endless(request, reader, writer):
            if not request.target.startswith("/health"):
                writer.write(reply("endless"))
                return True
            writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
            # The mark comes after what is looked at.
            sent = 0
            while sent < 64 << 20:
                writer.write((b"x" if sent < 256 << 10 else b"END") * 65536)
                sent += 65536
                await writer.drain()
            return False

        two = self.backend("endless", endless)
        weir = self.start("interval=100ms uri=/health match=m", http="match m { body !~ END; }",
                          backends={9001: two, 9002: two})
        two.wait_requests(6)
        self.assertEqual(self.served_by(weir), {"endless"})
        self.assertNotIn("unhealthy", weir.errors())

    def test_no_more_at_once_than_fit(self):
        held = []
        gate = asyncio.Event()

        async def answer(request, _reader, writer):
            if request.target == "/health":
                held.append(request)
                await gate.wait()
            writer.write(reply("x"))
            return True

        backend = self.backend("many", answer)
        conf = self.conf("interval=1h mandatory uri=/health").replace("events {}", "events { worker_connections 64; }")
        conf = conf.replace("server 127.0.0.1:9001; server 127.0.0.1:9002;",
                            "".join(f"server 127.0.0.1:9001 weight={i + 1};" for i in range(40)))
        weir = self.service(conf.replace("worker_processes 2", "worker_processes 1"), {9001: backend})
        wait_until(lambda: len(held) >= 16, "the first checks")
        self.assertEqual(get(weir.port(), "/version").status, 200)
        self.assertEqual(len(held), 16)
        harness.LOOP.loop.call_soon_threadsafe(gate.set)
        wait_until(lambda: len(held) == 40, "all checks")
        self.wait_log(weir, "peer is healthy", 40)

    def test_tls(self):
        backend = self.tls_backend()
        conf = self.conf("interval=100ms mandatory").replace("http://app", "https://app")
        weir = self.service(conf, {9001: backend, 9002: self.one})
        self.wait_log(weir, rf"peer is healthy while .* of peer 127\.0\.0\.1:{backend.port}")
        self.wait_log(weir, r"while SSL handshaking to upstream, health check \"\" of peer "
                            rf"127\.0\.0\.1:{self.one.port}")
        self.assertEqual(get(weir.port(), "/").status, 200)


if __name__ == "__main__":
    unittest.main()
