#!/usr/bin/python3
"""Servers with `resolve`: their addresses are followed while they change."""

import socket
import threading
import unittest

import harness
from harness import beyond_nginx, get, wait_until

CONF = """
worker_processes 2;
events {}
http {
    access_log off;
    RESOLVER
    upstream app { zone app 128k; server backend.test:9001 resolve; MORE }
    server {
        listen 127.0.0.1:8080;
        location = /version { return 200 "VERSION"; }
        location / { proxy_pass http://app; proxy_connect_timeout 2s; }
    }
}
"""


class NameServer:
    """Answers A questions from `names`; None: no such name; absent: silence. TTL 1."""

    def __init__(self, names):
        self.names = names
        self.asked = 0
        self.log = []
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind(("127.0.0.1", 0))
        self.port = self.socket.getsockname()[1]
        threading.Thread(target=self.serve, daemon=True).start()

    def serve(self):
        while True:
            try:
                query, peer = self.socket.recvfrom(4096)
            except OSError:
                return
            answer = self.answer(query)
            if answer:
                self.socket.sendto(answer, peer)

    def answer(self, query):
        labels, at = [], 12
        while query[at]:
            labels.append(query[at + 1:at + 1 + query[at]].decode().lower())
            at += query[at] + 1
        kind = query[at + 1:at + 3]
        question = query[12:at + 5]
        name = ".".join(labels)
        self.asked += 1
        self.log.append(name)
        if name not in self.names:
            return None
        addresses = self.names[name]
        if addresses is None:
            return query[:2] + b"\x81\x83" + b"\0\1\0\0\0\0\0\0" + question
        found = addresses if kind == b"\0\1" else []
        answer = query[:2] + b"\x81\x80" + b"\0\1" + len(found).to_bytes(2, "big") + b"\0\0\0\0" + question
        for address in found:
            answer += b"\xc0\x0c\0\1\0\1\0\0\0\1\0\4" + socket.inet_aton(address)
        return answer

    def close(self):
        self.socket.close()


class Backends:
    """The same port on several addresses; each answers with its own."""

    def __init__(self, addresses):
        self.sockets = {}
        port = 0
        for address in addresses:
            listener = socket.create_server((address, port))
            port = listener.getsockname()[1]
            self.sockets[address] = listener
            threading.Thread(target=self.serve, args=(address, listener), daemon=True).start()
        self.port = port

    def serve(self, address, listener):
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return
            with client:
                client.recv(65536)
                body = address.encode()
                client.sendall(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%s"
                               % (len(body), body))

    def close(self):
        for listener in self.sockets.values():
            listener.close()


@beyond_nginx
class Resolve(harness.TestCase):
    def setUp(self):
        self.names = NameServer({})
        self.addCleanup(self.names.close)
        self.backends = Backends(["127.0.0.2", "127.0.0.3", "127.0.0.4"])
        self.addCleanup(self.backends.close)

    def conf(self, version=1, more=""):
        text = CONF.replace("RESOLVER", f"resolver 127.0.0.1:{self.names.port} ipv6=off; resolver_timeout 1s;")
        text = text.replace("9001", str(self.backends.port))
        return text.replace("VERSION", str(version)).replace("MORE", more)

    def start(self, **more):
        return self.service(self.conf(**more), {self.names.port: self.names})

    def bodies(self, weir, count=24):
        return {get(weir.port(), "/").body.decode() for _ in range(count)}

    def test_addresses_come_change_and_go(self):
        self.expected_errors = ("could not be resolved", "no live upstreams")
        self.names.names["backend.test"] = ["127.0.0.2", "127.0.0.3"]
        weir = self.start()
        wait_until(lambda: get(weir.port(), "/").status == 200, "the first answer")
        wait_until(lambda: self.bodies(weir) == {"127.0.0.2", "127.0.0.3"}, "both addresses")
        self.names.names["backend.test"] = ["127.0.0.3", "127.0.0.4"]
        wait_until(lambda: self.bodies(weir) == {"127.0.0.3", "127.0.0.4"}, "the new addresses")
        weir.reload(self.conf(2))
        self.assertEqual(get(weir.port(), "/version").body, b"2")
        self.assertEqual(self.bodies(weir), {"127.0.0.3", "127.0.0.4"})
        # An error of the name server leaves what is known; a name that is gone has no addresses.
        del self.names.names["backend.test"]
        asked = self.names.asked
        wait_until(lambda: self.names.asked > asked + 2, "questions without answers")
        self.assertEqual(self.bodies(weir), {"127.0.0.3", "127.0.0.4"})
        self.names.names["backend.test"] = None
        wait_until(lambda: get(weir.port(), "/").status == 502, "no addresses")

    def test_a_name_that_is_not_used_any_more_is_not_asked_for(self):
        self.names.names["backend.test"] = ["127.0.0.2"]
        weir = self.start()
        wait_until(lambda: get(weir.port(), "/").status == 200, "the address")
        weir.reload(self.conf(2).replace("backend.test", "127.0.0.3").replace(" resolve;", ";"))
        self.assertEqual(self.bodies(weir, 5), {"127.0.0.3"})
        # The answer was good for a second: a question of before may be under way, no other follows.
        weir.reload(self.conf(3).replace("backend.test", "other.test"))
        self.names.names["other.test"] = ["127.0.0.4"]
        wait_until(lambda: get(weir.port(), "/").body == b"127.0.0.4", "the other name")
        before = len(self.names.log)
        wait_until(lambda: len(self.names.log) > before + 4, "further questions")
        self.assertNotIn("backend.test", self.names.log[before:])

    def test_a_name_that_is_not_known_at_start_does_not_stop_it(self):
        self.expected_errors = ("could not be resolved", "no live upstreams")
        self.names.names["backend.test"] = None
        weir = self.start()
        self.assertEqual(get(weir.port(), "/").status, 502)
        self.names.names["backend.test"] = ["127.0.0.4"]
        wait_until(lambda: get(weir.port(), "/").status == 200, "the address")
        self.assertIn("backend.test could not be resolved (3: Host not found)", weir.errors())

    def test_other_servers_serve_meanwhile(self):
        self.expected_errors = ("could not be resolved",)
        self.names.names["backend.test"] = None
        weir = self.start(more=f"server 127.0.0.3:{self.backends.port};")
        self.assertEqual(self.bodies(weir, 5), {"127.0.0.3"})
        self.names.names["backend.test"] = ["127.0.0.2"]
        wait_until(lambda: self.bodies(weir) == {"127.0.0.2", "127.0.0.3"}, "both servers")


if __name__ == "__main__":
    unittest.main()
