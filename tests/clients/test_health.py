#!/usr/bin/python3
"""Active health checks: health_check and match, of http (also gRPC) and stream (TCP and UDP)."""

import asyncio
import os
import re
import signal
import socket
import tempfile
import threading
import time
import unittest

import harness
from grpc_support import GrpcBackend, GrpcTestCase
from harness import beyond_nginx, get, reply, reserve_port, wait_until
from own_certificates import issue, pem
from test_resolve import Backends, NameServer
from test_upstream_tls import TlsBackend

CONF = """
worker_processes %(workers)s;
error_log logs/error.log info;
events {}
http {
    access_log logs/access.log;
    proxy_connect_timeout 5s;
    proxy_read_timeout 5s;
    upstream app { zone app 128k; server 127.0.0.1:9001; server 127.0.0.1:9002; %(upstream)s }
    %(http)s
    server {
        listen 127.0.0.1:8080;
        location = /version { return 200 "%(version)s"; }
        location / {
            add_header X-Peer $upstream_addr;
            %(location)s
            proxy_pass http://app;
            health_check %(check)s;
        }
    }
}
"""

STREAM = """
worker_processes 2;
error_log logs/error.log info;
events {}
stream {
    proxy_connect_timeout 5s;
    upstream app { zone app 128k; server 127.0.0.1:9001; server 127.0.0.1:9002; }
    %(stream)s
    server {
        listen 127.0.0.1:8080 %(listen)s;
        %(server)s
        proxy_pass app;
        health_check %(check)s;
    }
}
"""


class Checked(harness.Backend):
    """Answers checks (of /health) with `health` and counts them apart."""

    def __init__(self, name, health=b""):
        self.health = health or reply("fine")
        self.checks = []
        super().__init__(name, self._answer)

    async def _answer(self, request, reader, writer):
        if not request.target.startswith("/health"):
            writer.write(reply(self.name))
            return True
        self.checks.append(request)
        health = self.health
        if isinstance(health, asyncio.Event):
            await health.wait()
            health = reply("fine")
        writer.write(health)
        return bool(health)

    def wait_checks(self, more=1):
        count = len(self.checks) + more
        wait_until(lambda: len(self.checks) >= count, f"{count} checks of {self.name}")


BAD = reply("ill", "500 Internal Server Error")


class HealthCase(harness.TestCase):
    def checked(self, name, health=b""):
        backend = Checked(name, health)
        self.addCleanup(backend.stop)
        return backend

    def setUp(self):
        self.expected_errors = ("locked by",)
        self.one = self.checked("one")
        self.two = self.checked("two")

    def conf(self, check="interval=100ms uri=/health", workers=2, version=1, **parts):
        values = {"upstream": "", "http": "", "location": "", "check": check, "workers": workers,
                  "version": version}
        values.update(parts)
        return CONF % values

    def start(self, *arguments, backends=None, **more):
        return self.service(self.conf(*arguments, **more),
                            backends or {9001: self.one, 9002: self.two})

    def served_by(self, service, count=12):
        """Which backends serve requests; a number: a status other than 200."""
        answers = [get(service.port(), "/") for _ in range(count)]
        return {a.body.decode() if a.status == 200 else a.status for a in answers}

    def tls_backend(self):
        with tempfile.TemporaryDirectory() as folder:
            for name, text in zip(("crt", "key"), pem(issue("good.example"))):
                with open(f"{folder}/{name}", "wb") as file:
                    file.write(text)
            backend = TlsBackend((f"{folder}/crt", f"{folder}/key"))
        self.addCleanup(backend.stop)
        return backend

    def wait_served(self, service, wanted):
        wait_until(lambda: self.served_by(service) == wanted, f"{wanted} to serve")

    def wait_log(self, service, pattern, count=1):
        try:
            wait_until(lambda: len(re.findall(pattern, service.errors())) >= count, f"{count} of {pattern}")
        except AssertionError as error:
            raise AssertionError(f"{error}, in {service.errors()[-3000:]}") from None


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


@beyond_nginx
class Workers(HealthCase):
    def pids(self, weir, what):
        return [int(pid) for pid in re.findall(rf"\] (\d+)#\d+: {what}", weir.errors())]

    def test_one_worker_checks_and_another_goes_on(self):
        self.expected_errors = ("exited on signal 9", "locked by")
        weir = self.start("interval=200ms uri=/health", workers=4)
        wait_until(lambda: len(weir.children()) == 4, "four workers")
        self.one.wait_checks(2)
        began, count = time.monotonic(), len(self.one.checks)
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


class HealthyGrpc(GrpcBackend):
    def __init__(self, name):
        self.status = b"\x08\x01"
        self.asked = []
        super().__init__(name)

    def service(self, details):
        handler = super().service(details)
        return handler if self.status is not None else None  # UNIMPLEMENTED

    def check(self, request, context):
        self.asked.append(request)
        return self.status


@beyond_nginx
class Grpc(GrpcTestCase, HealthCase):
    def start_grpc(self, parameters=""):
        self.first, self.second = HealthyGrpc("first"), HealthyGrpc("second")
        self.addCleanup(self.first.stop)
        self.addCleanup(self.second.stop)
        conf = self.conf(f"interval=100ms mandatory type=grpc {parameters}")
        conf = conf.replace("proxy_pass http://app", "grpc_pass app").replace(
            "listen 127.0.0.1:8080;", "listen 127.0.0.1:8080; http2 on;")
        return self.service(conf, {9001: self.first, 9002: self.second})

    def wait_ill(self, weir, backend, count=1):
        self.wait_log(weir, r"peer is unhealthy while checking gRPC status, health check \"\" of peer "
                            rf"127\.0\.0\.1:{backend.port}", count)

    def test_serving_status(self):
        weir = self.start_grpc("grpc_service=weir.Test")
        self.wait_log(weir, "peer is healthy while checking gRPC status", 2)
        self.assertEqual(self.first.asked[0], b"\x0a\x09weir.Test")
        self.second.status = b"\x08\x02"
        self.wait_ill(weir, self.second)
        self.assertIn("unexpected gRPC serving status 2 while", weir.errors())
        self.first.status = None
        self.wait_ill(weir, self.first)
        self.wait_log(weir, "unexpected gRPC status 12 while")
        self.second.status = b"\x08\x01"
        self.wait_log(weir, "peer is healthy while checking gRPC status", 3)

    def test_unimplemented_may_be_healthy(self):
        weir = self.start_grpc("grpc_status=12")
        self.wait_log(weir, "peer is healthy", 2)
        self.first.status = None
        calls = len(self.first.calls)
        wait_until(lambda: len(self.first.calls) > calls + 2, "more checks")
        self.assertNotIn("unhealthy", weir.errors())
        self.first.status = b""
        self.wait_ill(weir, self.first)


class TcpServer:
    """Answers each connection by `talk(socket)`; counts them."""

    def __init__(self, talk):
        self.talk = talk
        self.count = 0
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            try:
                client, _ = self.listener.accept()
            except OSError:
                return
            self.count += 1
            threading.Thread(target=self.serve, args=(client,), daemon=True).start()

    def serve(self, client):
        with client:
            try:
                self.talk(client)
            except OSError:
                pass

    def stop(self):
        if self.listener.fileno() >= 0:
            self.listener.shutdown(socket.SHUT_RDWR)
            self.listener.close()


class UdpServer:
    def __init__(self, answer):
        self.answer = answer
        self.seen = []
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind(("127.0.0.1", 0))
        self.port = self.socket.getsockname()[1]
        threading.Thread(target=self.serve, daemon=True).start()

    def serve(self):
        while True:
            try:
                data, peer = self.socket.recvfrom(65536)
            except OSError:
                return
            if not data:
                return
            self.seen.append(data)
            if self.answer:
                self.socket.sendto(self.answer, peer)

    def stop(self):
        if self.socket.fileno() < 0:
            return
        # recvfrom() does not notice a close.
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
            other.sendto(b"", ("127.0.0.1", self.port))
        self.socket.close()


@beyond_nginx
class Stream(HealthCase):
    def start_stream(self, one, two, check="interval=100ms", **parts):
        values = {"stream": "", "listen": "", "server": "", "check": check}
        values.update(parts)
        return self.service(STREAM % values, {9001: one, 9002: two})

    def tcp(self, talk):
        server = TcpServer(talk)
        self.addCleanup(server.stop)
        return server

    def udp(self, answer=b""):
        server = UdpServer(answer)
        self.addCleanup(server.stop)
        return server

    def asked(self, service):
        with socket.create_connection(("127.0.0.1", service.port()), timeout=harness.PATIENCE) as client:
            try:
                client.sendall(b"who")
                return client.recv(100)
            except ConnectionResetError:
                return b""

    @staticmethod
    def says(name):
        def talk(client):
            if client.recv(100):
                client.sendall(name)

        return talk

    def test_connect(self):
        one, two = self.tcp(self.says(b"one")), self.tcp(self.says(b"two"))
        weir = self.start_stream(one, two)
        wait_until(lambda: {self.asked(weir) for _ in range(4)} == {b"one", b"two"}, "both")
        two.stop()
        self.wait_log(weir, r"\[warn\].*: peer is unhealthy while connecting to upstream, health check \"\" of peer "
                            rf'127\.0\.0\.1:{two.port} in upstream "app"\n')
        self.assertEqual({self.asked(weir) for _ in range(4)}, {b"one"})
        one.stop()
        wait_until(lambda: self.asked(weir) == b"", "no live upstreams")
        self.wait_log(weir, "no live upstreams while connecting to upstream")

    def test_send_and_expect(self):
        answers = {"one": b"+PO\x00NG\r\n", "two": b"+PO\x00NG\r\n"}
        seen = []

        def named(name):
            def talk(client):
                question = client.recv(100)
                seen.append(question)
                if question == b"PI\x80NG":
                    # In two pieces.
                    client.sendall(answers[name][:3])
                    client.sendall(answers[name][3:])
                    client.recv(100)
                elif question:
                    client.sendall(name.encode())

            return talk

        one, two = self.tcp(named("one")), self.tcp(named("two"))
        weir = self.start_stream(
            one, two, "interval=100ms match=ping mandatory",
            stream=r'health_check_timeout 300ms; match ping { send "PI\x80NG"; expect "PO\x00NG"; }')
        wait_until(lambda: {self.asked(weir) for _ in range(4)} == {b"one", b"two"}, "both")
        answers["two"] = b"-ERR\r\n"
        self.wait_log(weir, r"upstream timed out \(110: Connection timed out\) while reading from upstream, "
                            rf'health check "ping" of peer 127\.0\.0\.1:{two.port}')
        self.wait_log(weir, r'peer is unhealthy while reading from upstream, health check "ping"')
        self.assertEqual({self.asked(weir) for _ in range(4)}, {b"one"})
        # Only so many bytes are looked at.
        answers["two"] = b"x" * 40000 + b"PO\x00NG"
        self.wait_log(weir, r'unexpected data while checking data, health check "ping"')
        answers["two"] = b"+PO\x00NG\r\n"
        wait_until(lambda: {self.asked(weir) for _ in range(4)} == {b"one", b"two"}, "both again")
        self.assertIn("peer is healthy while checking data", weir.errors())

    def test_proxy_protocol(self):
        heads = []

        def talk(client):
            data = b""
            while b"\r\n" not in data:
                more = client.recv(100)
                if not more:
                    return
                data += more
            heads.append(data)
            client.sendall(b"ready")

        one, two = self.tcp(talk), self.tcp(talk)
        self.start_stream(one, two, "interval=100ms match=m mandatory",
                          stream="match m { expect ~ ^rea; }", server="proxy_protocol on;")
        wait_until(lambda: len(heads) >= 4, "heads")
        self.assertRegex(heads[0], rb"^PROXY TCP4 127\.0\.0\.1 127\.0\.0\.1 \d+ \d+\r\n$")

    def test_tls(self):
        one, two = self.tls_backend(), self.tcp(self.says(b"what?"))
        weir = self.start_stream(one, two, "interval=100ms match=m mandatory", server="proxy_ssl on;",
                                 stream=r'match m { send "GET / HTTP/1.0\r\n\r\n"; expect secret; }')
        self.wait_log(weir, rf"peer is healthy while checking data, .* of peer 127\.0\.0\.1:{one.port}")
        self.wait_log(weir, rf"peer is unhealthy while SSL handshaking to upstream, .* of peer 127\.0\.0\.1:{two.port}")

    def test_datagrams(self):
        one, two = self.udp(), self.udp()
        weir = self.start_stream(one, two, "interval=50ms udp mandatory", listen="udp",
                                 stream="health_check_timeout 200ms;")
        self.wait_log(weir, "peer is healthy while reading from upstream", 2)
        self.assertEqual(one.seen[0], b"nginx health check")
        two.stop()
        self.wait_log(weir, r"recv\(\) failed \(111: Connection refused\) while reading from upstream, health check")
        self.wait_log(weir, rf"peer is unhealthy while reading from upstream, .* of peer 127\.0\.0\.1:{two.port}")

    def test_datagrams_with_an_answer(self):
        one, two = self.udp(b"\x00\x01 yes"), self.udp(b"\x00\x01 yes")
        weir = self.start_stream(
            one, two, "interval=50ms udp match=dns", listen="udp",
            stream=r'health_check_timeout 300ms; match dns { send "\x00\x01"; expect ~* "\x00\x01 YES"; }')
        wait_until(lambda: len(one.seen) > 3 and len(two.seen) > 3, "checks")
        self.assertEqual(one.seen[0], b"\x00\x01")
        self.assertNotIn("unhealthy", weir.errors())
        two.answer = b"no"
        self.wait_log(weir, r"unexpected data while checking data, health check \"dns\"")
        self.wait_log(weir, r"peer is unhealthy while checking data, health check \"dns\"")
        two.answer = b""
        self.wait_log(weir, r"upstream timed out \(110: Connection timed out\) while reading from upstream")


@beyond_nginx
class Example(HealthCase):
    def test_health_checks_conf(self):
        def server(name):
            async def answer(request, _reader, writer):
                ready = request.target == "/ready" and request.get("Host") == "site.example.com"
                fields = [("Content-Type", "application/json")] if ready else []
                writer.write(reply(self.states[name] if ready else name, fields=fields))
                return True

            return self.backend(name, answer)

        self.states = {name: '{"ready": true}' for name in ("one", "two", "three")}

        def pong(client):
            question = client.recv(100)
            if question:
                client.sendall(b"+PONG\r\n" if question == b"PING\r\n" else b"cache")

        caches = [TcpServer(pong), TcpServer(pong)]
        for cache in caches:
            self.addCleanup(cache.stop)
        weir = self.service(harness.example("health-checks.conf"),
                            {9001: server("one"), 9002: server("two"), 9003: server("three"),
                             9004: caches[0], 9005: caches[1]})
        self.wait_served(weir, {"one", "two"})
        self.states["one"] = '{"ready": false}'
        self.wait_log(weir, r'\[warn\].*: peer is unhealthy while checking body, health check "ready" of peer')
        self.assertEqual(self.served_by(weir), {"two"})
        wait_until(lambda: all(cache.count > 1 for cache in caches), "checks of the caches")
        with socket.create_connection(("127.0.0.1", weir.port(8081)), timeout=harness.PATIENCE) as client:
            client.sendall(b"get")
            self.assertEqual(client.recv(100), b"cache")


if __name__ == "__main__":
    unittest.main()
