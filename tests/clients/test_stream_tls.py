#!/usr/bin/python3
"""TLS in the stream block: ended here, and begun towards the upstream."""

import ssl
import threading
import time
import unittest

import harness
from harness import beyond_nginx, wait_until
from stream_support import StreamCase, make_certificates, noise, receive, receive_all, return_all

TLS = """
events { worker_connections 1024; }
stream {
    error_log logs/error.log info;
    log_format tls '$ssl_protocol "$ssl_server_name" "$ssl_alpn_protocol" $ssl_client_verify $server_name $status';
    access_log logs/stream.log tls;
    ssl_certificate %(folder)s/one.pem;
    ssl_certificate_key %(folder)s/one.key;
    ssl_handshake_timeout 1s;
    server {
        listen 127.0.0.1:8080 ssl;
        server_name one.example;
        ssl_alpn h2 echo;
        proxy_pass 127.0.0.1:9001;
        proxy_half_close on;
    }
    server {
        listen 127.0.0.1:8080 ssl;
        server_name two.example;
        ssl_certificate %(folder)s/two.pem;
        ssl_certificate_key %(folder)s/two.key;
        return "second $ssl_server_name";
    }
    server {
        listen 127.0.0.1:8082 ssl;
        ssl_client_certificate %(folder)s/ca.pem;
        ssl_verify_client on;
        return "$ssl_client_verify $ssl_client_s_dn";
    }
    server {
        listen 127.0.0.1:8083 ssl proxy_protocol;
        ssl_preread on;
        return "$proxy_protocol_addr $ssl_protocol [$ssl_preread_protocol]";
    }
    server {
        listen 127.0.0.1:8084;
        proxy_pass 127.0.0.1:9002;
        proxy_ssl on;
        proxy_ssl_verify on;
        proxy_ssl_trusted_certificate %(folder)s/ca.pem;
        proxy_ssl_name one.example;
        proxy_ssl_server_name on;
    }
    server {
        listen 127.0.0.1:8085;
        proxy_pass 127.0.0.1:9002;
        proxy_ssl on;
        proxy_ssl_verify on;
        proxy_ssl_trusted_certificate %(folder)s/ca.pem;
        proxy_ssl_name other.example;
    }
    map $ssl_server_name $file {
        one.example one;
        two.example two;
        default missing;
    }
    server {
        listen 127.0.0.1:8086 ssl;
        ssl_certificate %(folder)s/$file.pem;
        ssl_certificate_key %(folder)s/$file.key;
        %(cache)s
        return "$ssl_server_name $file";
    }
}
"""


class Tls(StreamCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = make_certificates("weir-tls-")

    def setUp(self):
        self.names = []
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(f"{self.folder}/one.pem", f"{self.folder}/one.key")
        context.sni_callback = lambda _sock, name, _context: self.names.append(name)

        def secure(sock):
            with context.wrap_socket(sock, server_side=True) as tls:
                while data := tls.recv(65536):
                    tls.sendall(data)

        cache = "" if harness.IS_ORACLE else "ssl_certificate_cache max=10;"
        backends = {9001: self.tcp(return_all), 9002: self.tcp(secure)}
        self.weir = self.service(TLS % {"folder": self.folder, "cache": cache}, backends)

    def client(self, **more):
        context = ssl.create_default_context(cafile=f"{self.folder}/ca.pem")
        if more.get("certificate"):
            context.load_cert_chain(f"{self.folder}/client.pem", f"{self.folder}/client.key")
        if more.get("alpn"):
            context.set_alpn_protocols(more["alpn"])
        return context

    def shake(self, port, name, before=b"", **more):
        raw = self.connect(self.weir.port(port))
        raw.sendall(before)
        tls = self.client(**more).wrap_socket(raw, server_hostname=name)
        self.addCleanup(tls.close)
        return tls

    def test_ended_here(self):
        client = self.shake(8080, "one.example", alpn=["echo"])
        self.assertEqual(client.selected_alpn_protocol(), "echo")
        data = noise(3_000_000)
        sender = threading.Thread(target=lambda: client.sendall(data))
        sender.start()
        self.assertEqual(receive(client, len(data)), data)
        sender.join()
        client.close()
        wait_until(lambda: 'one.example" "echo" NONE one.example 200' in self.weir.read("logs/stream.log"), "a line")

    @beyond_nginx
    def test_server_by_name(self):
        self.assertEqual(receive_all(self.shake(8080, "two.example")), b"second two.example")

    def test_certificates_with_variables(self):
        for name in ("one", "two", "one"):
            self.assertEqual(receive_all(self.shake(8086, f"{name}.example")), f"{name}.example {name}".encode())
        with self.assertRaises((ssl.SSLError, ConnectionError)):
            self.shake(8086, "other.example")
        wait_until(lambda: f'cannot load certificate "{self.folder}/missing.pem"' in self.weir.errors(), "a line")
        self.assertRegex(self.weir.errors(), 'missing.pem".* while SSL handshaking, client: ')

    def test_no_common_protocol(self):
        with self.assertRaises(ssl.SSLError):
            self.shake(8080, "one.example", alpn=["none"])

    def test_client_certificate(self):
        self.assertEqual(receive_all(self.shake(8082, "one.example", certificate=True)), b"SUCCESS CN=client.example")
        refused = self.shake(8082, "one.example")
        with self.assertRaises((ssl.SSLError, ConnectionError, AssertionError)):
            self.assertNotEqual(receive_all(refused), b"")
        wait_until(lambda: "client sent no required SSL certificate while SSL handshaking" in self.weir.errors(), "a line")

    def test_proxy_protocol_before_tls(self):
        client = self.shake(8083, "one.example", b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n")
        client.sendall(b"no hello")  # the preread is of what is inside
        answer = receive_all(client).decode()
        self.assertRegex(answer, r"192.0.2.1 TLSv1.[23] \[\]")

    def test_silent_client(self):
        begun = time.monotonic()
        client = self.connect(self.weir.port(8080))
        self.assertEqual(client.recv(1), b"")
        self.assertGreater(time.monotonic() - begun, 0.9)

    def test_to_upstream(self):
        client = self.connect(self.weir.port(8084))
        data = noise(2_000_000)
        sender = threading.Thread(target=lambda: client.sendall(data))
        sender.start()
        self.assertEqual(receive(client, len(data)), data)
        sender.join()
        self.assertIn("one.example", self.names)

    def test_upstream_with_another_name(self):
        client = self.connect(self.weir.port(8085))
        self.assertEqual(client.recv(1), b"")
        wait_until(lambda: "upstream SSL certificate does not match" in self.weir.errors(), "a line")


if __name__ == "__main__":
    unittest.main()
