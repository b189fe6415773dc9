#!/usr/bin/python3
"""TLS with real clients: curl, openssl s_client, Python's websockets."""

import asyncio
import os
import re
import shutil
import ssl
import subprocess
import tempfile
import unittest

import harness
import websockets
from harness import example, run, wait_until

CERTS = harness.certificates_folder()


def curl(port, path="/", name="localhost", *options, scheme="https"):
    """(exit code, status, body); the name is looked up nowhere."""
    done = subprocess.run(
        ["curl", "-s", "--cacert", f"{CERTS}/ca.pem", "--max-time", str(harness.PATIENCE), "--noproxy", "*",
         "--resolve", f"{name}:{port}:127.0.0.1", "-w", "\n%{http_code}", *options,
         f"{scheme}://{name}:{port}{path}"], capture_output=True, text=True, check=False)
    body, _, status = done.stdout.rpartition("\n")
    return done.returncode, int(status or 0), body


def s_client(port, *options, name="localhost", data="Q\n"):
    done = subprocess.run(
        ["openssl", "s_client", "-connect", f"127.0.0.1:{port}", "-CAfile", f"{CERTS}/ca.pem",
         *(["-servername", name] if name else ["-noservername"]), *options],
        input=data, capture_output=True, text=True, timeout=harness.PATIENCE, check=False)
    return done.stdout + done.stderr


ASK = "GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"

LOCALHOST = "ssl_certificate certs/localhost.pem; ssl_certificate_key certs/localhost.key;"
HELLO = r'location / { return 200 "hello\n"; }'


def server(settings, certificate=LOCALHOST):
    """A configuration of one server with this in it."""
    return f"""
worker_processes 2;
events {{ }}
http {{
    access_log off;
    server {{
        listen 127.0.0.1:8443 ssl;
        {certificate}
        {settings}
    }}
}}
"""


def own(name):
    """Options of curl for a client's certificate."""
    return "--cert", f"{CERTS}/{name}.pem", "--key", f"{CERTS}/{name}.key"


def trusting():
    return ssl.create_default_context(cafile=f"{CERTS}/ca.pem")


def secure_websocket(port, path="/chat"):
    return websockets.connect(f"wss://localhost:{port}{path}", ssl=trusting(), host="127.0.0.1",
                              server_hostname="localhost", max_size=None)


def resumed(port, version, *options, again=1, between=None, early=""):
    """What s_client says in a first handshake and in `again` later ones with its session; `between` happens
    after the first, `early` is sent before the later ones end."""
    with tempfile.NamedTemporaryFile() as session, tempfile.NamedTemporaryFile() as request:
        request.write(early.encode())
        request.flush()
        said = [s_client(port, version, "-sess_out", session.name, "-ign_eof", *options, data=ASK)]
        if between:
            between()
        before = ["-early_data", request.name] if early else []
        for _ in range(again):
            said.append(s_client(port, version, "-sess_in", session.name, *before, "-ign_eof", *options,
                                 data="" if early else ASK))
    return said


class Tls(harness.TestCase):
    def serve(self, text, backends=None, options=""):
        weir = self.service(text, backends or {}, start=False, options=options)
        harness.put_certificates(weir)
        weir.start()
        return weir

    def responder(self, name):
        """An OCSP responder that always gives the response in this file."""
        with open(f"{CERTS}/{name}", "rb") as file:
            response = harness.reply(file.read(), fields=[("Content-Type", "application/ocsp-response")], close=True)

        async def respond(_request, _reader, writer):
            writer.write(response)
            return False

        return self.backend("responder", answer=respond)


class Example(Tls):
    def setUp(self):
        self.upstream = self.backend("chat")
        self.weir = self.serve(example("tls.conf"), {9001: self.upstream})
        self.port = self.weir.port(8443)

    def test_curl_gets_through(self):
        self.assertEqual(curl(self.port, "/a"), (0, 200, "chat\n"))
        self.assertEqual(self.upstream.last().get("X-Forwarded-Proto"), "https")

    def test_names_choose_certificates(self):
        code, status, body = curl(self.port, "/", "two.example.com")
        self.assertEqual((code, status), (0, 200))
        self.assertTrue(body.startswith("two.example.com TLSv1."), body)
        self.assertIn("CN = two.example.com", s_client(self.port, name="two.example.com"))

    def test_unknown_names_are_rejected(self):
        self.assertIn("unrecognized name", s_client(self.port, name="nobody.test"))
        self.assertIn("unrecognized name", s_client(self.port, name=None))

    def test_both_kinds_of_key(self):
        rsa = s_client(self.port, "-tls1_2", "-cipher", "ECDHE-RSA-AES128-GCM-SHA256")
        ec = s_client(self.port, "-tls1_2", "-cipher", "ECDHE-ECDSA-AES128-GCM-SHA256")
        self.assertIn("Cipher is ECDHE-RSA-AES128-GCM-SHA256", rsa)
        self.assertIn("Cipher is ECDHE-ECDSA-AES128-GCM-SHA256", ec)

    def test_plain_text_is_redirected(self):
        self.assertEqual(curl(self.port, "/x?y", scheme="http")[1], 301)
        done = curl(self.weir.port(8080), "/x?y", "localhost", "-D", "-", scheme="http")
        self.assertIn("Location: https://localhost/x?y", done[2])

    def test_alpn(self):
        self.assertIn("ALPN protocol: http/1.1", s_client(self.port, "-alpn", "http/1.1"))

    def test_large_answers_and_bodies(self):
        body = os.urandom(3_000_000)

        async def echo(request, _reader, writer):
            writer.write(harness.reply(request.body))

        self.upstream.answer = echo
        with tempfile.NamedTemporaryFile() as file:
            file.write(body)
            file.flush()
            done = subprocess.run(
                ["curl", "-sk", "--noproxy", "*", "--resolve", f"localhost:{self.port}:127.0.0.1", "--data-binary",
                 f"@{file.name}", "-H", "Expect:", f"https://localhost:{self.port}/small"],
                capture_output=True, check=False)
        self.assertIn(b"413", done.stdout)  # the default limit counts decrypted bytes

    def test_secure_websocket(self):
        async def talk():
            async with secure_websocket(self.port) as tunnel:
                for message in ("hello", b"\0\1", "x" * 300_000):
                    await tunnel.send(message)
                    assert await tunnel.recv() == message
                await asyncio.gather(*(tunnel.send(str(n)) for n in range(200)))
                return [await tunnel.recv() for _ in range(200)]

        self.assertEqual(run(talk()), [str(n) for n in range(200)])

    def test_a_tunnel_lives_through_a_reload(self):
        async def open_tunnel():
            return await secure_websocket(self.port)

        async def say(tunnel, text):
            await tunnel.send(text)
            return await tunnel.recv()

        tunnel = run(open_tunnel())
        self.assertEqual(run(say(tunnel, "before")), "before")
        self.weir.reload()
        self.assertEqual(run(say(tunnel, "after")), "after")
        run(tunnel.close())


def talk(port, path, *messages):
    """What a secure WebSocket answers."""
    async def converse():
        async with secure_websocket(port, path) as tunnel:
            answers = []
            for message in messages:
                await tunnel.send(message)
                answers.append(await tunnel.recv())
            return answers

    return run(converse())


class SecureWebSocket(Tls):
    def test_the_backend_sees_who_and_how(self):
        upstream = self.backend("chat")
        weir = self.serve(example("websocket-tls.conf"), {9001: upstream})
        self.assertEqual(talk(weir.port(8443), "/ws", "hello", b"\0" * 70_000), ["hello", b"\0" * 70_000])
        request = upstream.last()
        self.assertEqual(request.get("X-Forwarded-Proto"), "https")
        self.assertEqual(request.get("X-Forwarded-For"), "127.0.0.1")
        self.assertEqual(request.get("Connection"), "upgrade")
        self.assertEqual(request.get("Host"), "localhost")


@harness.beyond_nginx  # "http2 on" came with 1.25
class ChatRoom(Tls):
    def setUp(self):
        self.backends = {port: self.backend("chat") for port in (9001, 9002, 9003)}
        self.weir = self.serve(example("chat-room-tls.conf"), self.backends)
        self.weir.write("html/index.html", "welcome\n")
        self.port = self.weir.port(8443)

    def test_pages_api_and_socket_in_one_server(self):
        for version, number in (("--http1.1", "1.1"), ("--http2", "2")):
            done = curl(self.port, "/", "localhost", version, "-w", "%{http_version}\n%{http_code}")
            self.assertEqual(done, (0, 200, f"welcome\n{number}"))
            self.assertEqual(curl(self.port, "/api/x", "localhost", version), (0, 200, "chat\n"))
        self.assertEqual(talk(self.port, "/socket.io/?transport=websocket", "a", "b"), ["a", "b"])

    def test_a_client_stays_with_its_backend(self):
        for _ in range(6):
            curl(self.port, "/api/")
        counts = sorted(len(backend.requests) for backend in self.backends.values())
        self.assertEqual(counts, [0, 0, 6])


class Resumption(Tls):
    def start(self, cache, tickets):
        return self.serve(server(f"ssl_session_cache {cache}; ssl_session_tickets {tickets}; {HELLO}"))

    def reuse(self, weir, rounds=8):
        """How many of several later handshakes resumed the session of the first."""
        return sum("Reused, " in said for said in resumed(weir.port(8443), "-tls1_2", again=rounds)[1:])

    def test_shared_cache(self):
        self.assertEqual(self.reuse(self.start("shared:SSL:1m", "off")), 8)

    def test_tickets_of_key_files_are_renewed(self):
        """In TLS 1.3 each time, so that no client shows one twice."""
        weir = self.serve(server(f"ssl_session_ticket_key certs/ticket.key; ssl_protocols TLSv1.2 TLSv1.3; {HELLO}"))
        for version, renewed in (("-tls1_3", 1), ("-tls1_2", 0)):
            _, again = resumed(weir.port(8443), version, "-msg")
            self.assertIn("Reused", again)
            self.assertEqual(len(re.findall("<<< .*NewSessionTicket", again)), renewed)

    def test_tickets_of_all_workers(self):
        self.assertEqual(self.reuse(self.start("none", "on")), 8)

    def test_nothing_is_kept(self):
        self.assertEqual(self.reuse(self.start("off", "off"), 3), 0)

    @harness.beyond_nginx
    def test_tickets_and_sessions_outlive_a_reload(self):
        for cache, tickets in (("shared:SSL:1m", "off"), ("none", "on")):
            weir = self.start(cache, tickets)
            self.assertIn("Reused, ", resumed(weir.port(8443), "-tls1_2", between=weir.reload)[1])


class Farewell(Tls):
    def test_a_client_that_said_all_gets_its_answer(self):
        asked, said = asyncio.Event(), asyncio.Event()

        async def slow(_request, _reader, writer):
            asked.set()
            await said.wait()
            writer.write(harness.reply("late"))

        settings = "location / { proxy_pass http://127.0.0.1:9001; } location /later { return 204; }"
        # One worker, see below.
        weir = self.serve(server(settings).replace("worker_processes 2", "worker_processes 1"),
                          {9001: self.backend("slow", answer=slow)})
        came, out = ssl.MemoryBIO(), ssl.MemoryBIO()
        context = trusting()
        client = context.wrap_bio(came, out, server_hostname="localhost")

        async def converse():
            reader, writer = await asyncio.open_connection("127.0.0.1", weir.port(8443))

            async def until_done(step):
                while True:
                    try:
                        result = step()
                        writer.write(out.read())
                        return result
                    except ssl.SSLWantReadError:
                        writer.write(out.read())
                        came.write(await reader.read(65536))

            await until_done(client.do_handshake)
            await until_done(lambda: client.write(b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"))
            await asked.wait()
            try:
                client.unwrap()  # says farewell, and waits for the other's
            except ssl.SSLWantReadError:
                pass
            writer.write(out.read())
            # The one worker answers a client that came later: it has seen the farewell.
            later = await asyncio.open_connection("127.0.0.1", weir.port(8443), ssl=context, server_hostname="localhost")
            later[1].write(b"GET /later HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
            self.assertIn(b" 204 ", await later[0].read())
            said.set()
            return len(await reader.read())

        self.assertGreater(run(converse()), 100)  # more than a farewell


class EarlyData(Tls):
    def test_a_request_in_early_data(self):
        weir = self.serve(server(r"""
        ssl_protocols TLSv1.2 TLSv1.3;
        ssl_early_data on;
        location / { return 200 "early=$ssl_early_data reused=$ssl_session_reused\n"; }"""))
        first, again = resumed(weir.port(8443), "-tls1_3", "-msg", early=ASK)
        self.assertIn("early= reused=.", first)
        self.assertIn("Early data was accepted", again)
        self.assertIn("early=1 reused=r", again)
        # Also where the answer leaves before the client's Finished.
        self.assertRegex(again, "<<< TLS 1.3, Alert .*close_notify")


class ClientCertificates(Tls):
    def setUp(self):
        self.weir = self.serve(example("tls-client-certificates.conf"))
        self.open = self.weir.port(8443)
        self.closed = self.weir.port(8444)

    def ask(self, port, path, certificate=None):
        return curl(port, path, "localhost", *(own(certificate) if certificate else ()))[1:]

    def test_a_good_one(self):
        self.assertEqual(self.ask(self.open, "/private", "client"), (200, "CN=client,O=weir\n"))
        self.assertEqual(self.ask(self.closed, "/", "client"), (200, "welcome CN=client,O=weir\n"))

    def test_none(self):
        self.assertEqual(self.ask(self.open, "/status"), (200, "NONE\n"))
        self.assertEqual(self.ask(self.open, "/private")[0], 403)
        status, body = self.ask(self.closed, "/")
        self.assertEqual(status, 400)
        self.assertIn("No required SSL certificate was sent", body)

    def test_bad_ones(self):
        for name in ("expired", "revoked", "stranger"):
            status, body = self.ask(self.closed, "/", name)
            self.assertEqual(status, 400, name)
            self.assertIn("The SSL certificate error", body)

    @harness.beyond_nginx
    def test_those_of_another_server_without_a_name(self):
        weir = self.serve("""
events { }
http {
    ssl_certificate certs/localhost.pem;
    ssl_certificate_key certs/localhost.key;
    ssl_verify_client on;
    server {
        listen 127.0.0.1:8443 ssl;
        server_name first.test;
        ssl_client_certificate certs/ca.pem;
        location / { return 200 first; }
    }
    server {
        listen 127.0.0.1:8443 ssl;
        server_name same.test;
        ssl_client_certificate certs/ca.pem;
        location / { return 200 same; }
    }
    server {
        listen 127.0.0.1:8443 ssl;
        server_name other.test;
        ssl_client_certificate certs/stranger.pem;
        location / { return 200 other; }
    }
    server {
        listen 127.0.0.1:8443 ssl;
        server_name copied.test;
        ssl_client_certificate certs/../certs/ca.pem;
        location / { return 200 copied; }
    }
}
""")
        port = weir.port(8443)

        def ask(host):
            return curl(port, "/", "127.0.0.1", "-k", *own("client"), "-H", f"Host: {host}")[1:]

        self.assertEqual(ask("first.test"), (200, "first"))
        self.assertEqual(ask("same.test"), (200, "same"))
        self.assertEqual(ask("copied.test"), (200, "copied"))  # the content counts, not the name
        self.assertEqual(ask("other.test")[0], 421)


class Stapling(Tls):
    def test_from_a_file(self):
        weir = self.serve(server("ssl_stapling on; ssl_stapling_file certs/staple.der;"))
        said = s_client(weir.port(8443), "-status")
        self.assertIn("OCSP Response Status: successful", said)
        self.assertIn("Cert Status: good", said)

    def test_asked_for(self):
        responder = self.responder("staple.der")
        weir = self.serve(server("""
        ssl_stapling on;
        ssl_stapling_verify on;
        ssl_stapling_responder http://127.0.0.1:9001/ocsp;
        ssl_trusted_certificate certs/ca.pem;"""), {9001: responder})
        port = weir.port(8443)
        # Each worker asks for itself.
        self.assertIn("no response sent", s_client(port, "-status"))
        wait_until(lambda: "Cert Status: good" in s_client(port, "-status"), "a response to staple")
        self.assertRegex(responder.requests[0].target, r"^/ocsp/\S{50,}$")


class Ocsp(Tls):
    CHECKED = """
        ssl_client_certificate certs/ca.pem;
        ssl_verify_client on;
        ssl_ocsp on;
        ssl_ocsp_responder http://127.0.0.1:9001/;
"""

    def test_clients_are_asked_about(self):
        responder = self.responder("client.der")
        weir = self.serve(server(self.CHECKED + r"""
        ssl_ocsp_cache shared:OCSP:1m;
        location / { return 200 "$ssl_client_verify\n"; }"""), {9001: responder})

        def ask(name):
            return curl(weir.port(8443), "/", "localhost", *own(name))[1:]

        self.assertEqual(ask("client"), (200, "SUCCESS\n"))
        self.assertEqual(ask("client"), (200, "SUCCESS\n"))
        self.assertEqual(len(responder.requests), 1)  # the second answer was remembered
        status, body = ask("revoked")
        self.assertEqual(status, 400)
        self.assertIn("The SSL certificate error", body)

    def test_clients_are_asked_about_before_their_early_data_is_read(self):
        responder = self.responder("client.der")
        weir = self.serve(server(self.CHECKED + r"""
        ssl_protocols TLSv1.2 TLSv1.3;
        ssl_early_data on;
        location / { return 200 "early=$ssl_early_data $ssl_client_verify\n"; }"""), {9001: responder})
        first, again = resumed(weir.port(8443), "-tls1_3", "-cert", f"{CERTS}/client.pem",
                               "-key", f"{CERTS}/client.key", early=ASK)
        self.assertIn("early= SUCCESS", first)
        # (nginx has the rest of the handshake by then.)
        self.assertIn("early= SUCCESS" if harness.IS_ORACLE else "early=1 SUCCESS", again)
        self.assertEqual(len(responder.requests), 2)


class Keys(Tls):
    def start(self, certificate):
        return self.serve(server(HELLO, certificate))

    def test_a_passphrase(self):
        weir = self.start("ssl_certificate certs/localhost.pem; "
                          "ssl_certificate_key certs/encrypted.key; ssl_password_file certs/passwords;")
        self.assertEqual(curl(weir.port(8443)), (0, 200, "hello\n"))
        weir.reload()
        self.assertEqual(curl(weir.port(8443)), (0, 200, "hello\n"))

    def test_names_with_variables(self):
        weir = self.start("ssl_certificate certs/$ssl_server_name.pem; "
                          "ssl_certificate_key certs/$ssl_server_name.key; " +
                          ("" if harness.IS_ORACLE else "ssl_certificate_cache max=10;"))
        for _ in range(2):
            self.assertEqual(curl(weir.port(8443)), (0, 200, "hello\n"))
        self.assertNotEqual(curl(weir.port(8443), "/", "other.test")[0], 0)
        self.assertIn('cannot load certificate "', weir.errors())

    def test_data(self):
        with open(f"{CERTS}/localhost.pem", encoding="ascii") as file:
            certificate = file.read()
        with open(f"{CERTS}/localhost.key", encoding="ascii") as file:
            key = file.read()
        weir = self.start(f'ssl_certificate "data:{certificate}"; ssl_certificate_key "data:{key}";')
        self.assertEqual(curl(weir.port(8443)), (0, 200, "hello\n"))

    @harness.beyond_nginx
    def test_a_new_certificate_ends_idle_connections(self):
        weir = self.start(LOCALHOST)
        port = weir.port(8443)
        context = trusting()

        async def connect():
            reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context, server_hostname="localhost")
            writer.write(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
            await reader.readuntil(b"hello\n")
            return reader, writer

        kept = run(connect())
        weir.reload()
        shutil.copy(f"{CERTS}/rsa.pem", weir.path("certs/localhost.pem"))
        shutil.copy(f"{CERTS}/rsa.key", weir.path("certs/localhost.key"))

        async def again(pair):
            pair[1].write(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
            return await pair[0].readuntil(b"hello\n")

        self.assertTrue(run(again(kept)))  # the same policy: it stays
        weir.reload()
        self.assertEqual(run(kept[0].read()), b"")
        self.assertEqual(curl(port), (0, 200, "hello\n"))


if __name__ == "__main__":
    unittest.main()
