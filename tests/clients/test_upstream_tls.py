#!/usr/bin/python3
"""proxy_ssl_* and grpc_ssl_*: who the upstream is, and who it takes us for."""

import os
import shutil
import ssl
import tempfile
import unittest

import grpc

import harness
from grpc_support import GrpcTestCase
from harness import beyond_nginx, get, wait_until
from own_certificates import issue, pem
from tls_backend import TlsBackend

CONF = """
events { worker_connections 512; }
http {
    access_log logs/access.log;
    %(http)s
    server {
        listen 127.0.0.1:8080;
        %(server)s
        location / {
            proxy_http_version 1.1;
            proxy_set_header Connection "";
            %(location)s
            proxy_pass %(to)s;
        }
    }
}
"""


class UpstreamTls(GrpcTestCase):
    expected_errors = ("[crit]",)

    @classmethod
    def setUpClass(cls):
        cls.authority = issue("Test authority", authority=True)
        cls.pairs = {"good": issue("good.example", cls.authority), "client": issue("me", cls.authority),
                     "second": issue("second", cls.authority),
                     "other": issue("good.example")}
        cls.folder = tempfile.TemporaryDirectory()
        os.chmod(cls.folder.name, 0o755)
        cls.files = {"ca.crt": pem(cls.authority)[0]}
        for name, pair in cls.pairs.items():
            cls.files[name + ".crt"], cls.files[name + ".key"] = pem(pair)
        for name, text in cls.files.items():
            with open(f"{cls.folder.name}/{name}", "wb") as file:
                file.write(text)

    @classmethod
    def tearDownClass(cls):
        cls.folder.cleanup()

    def start(self, location="", certificate="good", to="https://127.0.0.1:9001", http="", server="",
              **backend):
        pair = tuple(f"{self.folder.name}/{certificate}.{kind}" for kind in ("crt", "key"))
        self.upstream = TlsBackend(pair, **backend)
        self.addCleanup(self.upstream.stop)
        conf = CONF % {"location": location, "to": to, "http": http, "server": server}
        self.weir = self.service(conf, {9001: self.upstream}, files=self.files)
        return get(self.weir.port())

    def check(self, answer, status=200):
        self.assertEqual(answer.status, status, self.weir.errors())
        if status == 200:
            self.assertEqual(answer.body, b"secret")

    def error(self, text):
        wait_until(lambda: text in self.weir.errors(), f"{text} in {self.weir.errors()}")

    def test_plain(self):
        self.check(self.start())
        self.assertEqual(self.upstream.names, [None])

    def test_no_certificate_is_verified_by_default(self):
        self.check(self.start(certificate="other"))

    def test_verified(self):
        self.check(self.start("proxy_ssl_verify on; proxy_ssl_trusted_certificate ca.crt; "
                              "proxy_ssl_name good.example;"))

    def test_wrong_name(self):
        self.check(self.start("proxy_ssl_verify on; proxy_ssl_trusted_certificate ca.crt; "
                              "proxy_ssl_name bad.example;"), 502)
        self.error('upstream SSL certificate does not match "bad.example"')

    def test_wrong_authority(self):
        self.check(self.start("proxy_ssl_verify on; proxy_ssl_trusted_certificate ca.crt; "
                              "proxy_ssl_name good.example;", certificate="other"), 502)
        self.error("upstream SSL certificate verify error")

    def test_server_name(self):
        self.check(self.start("proxy_ssl_server_name on; proxy_ssl_name $arg_none-good.example:80;"))
        self.assertEqual(self.upstream.names, ["-good.example"])

    def test_server_name_of_the_group(self):
        self.check(self.start("proxy_ssl_server_name on;", to="https://good.example",
                              http="upstream good.example { server 127.0.0.1:9001; }"))
        self.assertEqual(self.upstream.names, ["good.example"])

    def test_variables(self):
        self.check(self.start(to="$to", server="set $to https://127.0.0.1:9001;"))

    def test_own_certificate(self):
        self.check(self.start("proxy_ssl_certificate client.crt; proxy_ssl_certificate_key client.key;",
                              clients=f"{self.folder.name}/ca.crt"))
        subject = dict(pair[0] for pair in self.upstream.handshakes[0][2]["subject"])
        self.assertEqual(subject["commonName"], "me")

    def test_own_certificate_in_variables(self):
        self.check(self.start(f"set $who client; proxy_ssl_certificate {self.folder.name}/$who.crt; "
                              f"proxy_ssl_certificate_key {self.folder.name}/$who.key;",
                              clients=f"{self.folder.name}/ca.crt"))
        self.assertTrue(self.upstream.handshakes[0][2])

    def shown(self, cache):
        """Whose certificates are shown, when the file changes between two requests."""
        name = f"{self.folder.name}/{'kept' if cache else 'read'}"
        for kind in ("crt", "key"):
            shutil.copy(f"{self.folder.name}/client.{kind}", f"{name}.{kind}")
        self.check(self.start(f"set $who {os.path.basename(name)}; proxy_ssl_session_reuse off; {cache} "
                              "proxy_set_header Connection close; "
                              f"proxy_ssl_certificate {self.folder.name}/$who.crt; "
                              f"proxy_ssl_certificate_key {self.folder.name}/$who.key;",
                              http="upstream none { server 127.0.0.1:9001; }", server="keepalive_timeout 0;",
                              clients=f"{self.folder.name}/ca.crt"))
        for kind in ("crt", "key"):
            shutil.copy(f"{self.folder.name}/second.{kind}", f"{name}.{kind}")
        self.check(get(self.weir.port()))
        return [dict(pair[0] for pair in each[2]["subject"])["commonName"] for each in self.upstream.handshakes]

    def test_certificate_in_variables_is_read_each_time(self):
        self.assertEqual(self.shown(""), ["me", "second"])

    @beyond_nginx
    def test_certificate_cache(self):
        self.assertEqual(self.shown("proxy_ssl_certificate_cache max=10 valid=1h;"), ["me", "me"])

    def test_protocols_and_ciphers(self):
        self.check(self.start("proxy_ssl_protocols TLSv1.2; "
                              "proxy_ssl_ciphers ECDHE-ECDSA-CHACHA20-POLY1305;"))
        version, _, _, cipher = self.upstream.handshakes[0]
        self.assertEqual((version, cipher), ("TLSv1.2", "ECDHE-ECDSA-CHACHA20-POLY1305"))

    def test_conf_command(self):
        self.check(self.start("proxy_ssl_conf_command MaxProtocol TLSv1.2;"))
        self.assertEqual(self.upstream.handshakes[0][0], "TLSv1.2")

    def test_no_common_protocol(self):
        self.check(self.start("proxy_ssl_protocols TLSv1.2;",
                              minimum_version=ssl.TLSVersion.TLSv1_3), 502)
        self.error("SSL_do_handshake() failed")

    def reuse(self, directive):
        fields = [("Connection", "close")]
        self.check(self.start(f"{directive} proxy_ssl_protocols TLSv1.2; "
                              "proxy_set_header Connection close;"))
        for _ in range(3):
            self.check(get(self.weir.port(), fields=fields))
        return [handshake[1] for handshake in self.upstream.handshakes]

    def test_sessions_are_resumed(self):
        self.assertEqual(self.reuse(""), [False, True, True, True])

    def test_sessions_are_not_resumed(self):
        self.assertEqual(self.reuse("proxy_ssl_session_reuse off;"), [False] * 4)

    def test_what_comes_before_the_handshake_is_an_error(self):
        self.check(self.start(greeting=b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil"), 502)

    @harness.needs_http2
    def test_grpc(self):
        credentials = grpc.ssl_server_credentials([(self.files["good.key"], self.files["good.crt"])])
        backend = self.grpc_backend("secure", credentials=credentials)
        rules = ("grpc_ssl_verify on; grpc_ssl_trusted_certificate ca.crt; "
                 "grpc_ssl_name good.example; grpc_ssl_server_name on;")
        conf = (CONF % {"location": "", "to": "http://127.0.0.1:9", "http": "", "server": ""})
        conf = conf.replace("proxy_pass http://127.0.0.1:9;",
                            rules + "grpc_pass grpcs://127.0.0.1:9001;").replace(
                                "listen 127.0.0.1:8080", "listen 127.0.0.1:8080 http2")
        self.weir = self.service(conf, {9001: backend}, files=self.files)
        self.assertEqual(self.client(self.weir.port()).unary("Who"), b"secure")


if __name__ == "__main__":
    unittest.main()
