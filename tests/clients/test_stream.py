#!/usr/bin/python3
"""TCP and UDP through the stream block, with real sockets on both ends."""

import hashlib
import os
import re
import select
import signal
import socket
import ssl
import struct
import subprocess
import tempfile
import threading
import time
import unittest

import harness
from harness import beyond_nginx, wait_until


def noise(size, seed=1):
    block = b"".join(hashlib.sha256(f"{seed}-{n}".encode()).digest() for n in range(2048))
    return (block * (size // len(block) + 1))[:size]


class Tcp:
    """A server whose `answer(socket)` runs in a thread for each connection."""

    def __init__(self, answer):
        self.answer = answer
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=4096)
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            try:
                sock, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self.serve, args=(sock,), daemon=True).start()

    def serve(self, sock):
        with sock:
            try:
                self.answer(sock)
            except OSError:
                pass

    def stop(self):
        if self.listener.fileno() < 0:
            return
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()


class Echoes:
    """Echoes all its connections and datagrams from one thread: thousands at once cost no threads."""

    def __init__(self):
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=4096)
        self.port = self.listener.getsockname()[1]
        self.datagrams = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.datagrams.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
        self.datagrams.bind(("127.0.0.1", self.port))
        self.peers = set()
        self.open = {}
        self.ended = False
        self.poll = select.epoll()
        for sock in (self.listener, self.datagrams):
            sock.setblocking(False)
            self.poll.register(sock, select.EPOLLIN)
        self.thread = threading.Thread(target=self.serve, daemon=True)
        self.thread.start()

    def serve(self):
        while not self.ended:
            for number, _ in self.poll.poll(0.2):
                if number == self.listener.fileno():
                    self.take()
                elif number == self.datagrams.fileno():
                    self.return_datagrams()
                else:
                    self.return_bytes(number)

    def take(self):
        while True:
            try:
                sock, _ = self.listener.accept()
            except BlockingIOError:
                return
            self.open[sock.fileno()] = sock
            self.poll.register(sock, select.EPOLLIN)

    def return_datagrams(self):
        while True:
            try:
                data, peer = self.datagrams.recvfrom(65536)
            except BlockingIOError:
                return
            self.peers.add(peer)
            self.datagrams.sendto(data, peer)

    def return_bytes(self, number):
        sock = self.open[number]
        try:
            data = sock.recv(65536)
            if data:
                sock.sendall(data)
                return
        except OSError:
            pass
        del self.open[number]
        self.poll.unregister(number)
        sock.close()

    def stop(self):
        self.ended = True
        self.thread.join(5)
        for sock in [self.listener, self.datagrams, *self.open.values()]:
            sock.close()


def receive_all(sock):
    data = b""
    while piece := sock.recv(65536):
        data += piece
    return data


def receive(sock, count):
    data = b""
    while len(data) < count:
        piece = sock.recv(count - len(data))
        if not piece:
            break
        data += piece
    return data


def client_hello(name):
    """The first message of a TLS client that asks for `name`."""
    name = name.encode()
    entry = b"\0" + struct.pack(">H", len(name)) + name
    names = struct.pack(">H", len(entry)) + entry
    extension = struct.pack(">HH", 0, len(names)) + names
    body = (b"\x03\x03" + b"r" * 32 + b"\0" + b"\0\x02\x13\x01" + b"\x01\0" +
            struct.pack(">H", len(extension)) + extension)
    message = b"\x01" + struct.pack(">I", len(body))[1:] + body
    return b"\x16\x03\x01" + struct.pack(">H", len(message)) + message


class StreamCase(harness.TestCase):
    def tcp(self, answer):
        server = Tcp(answer)
        self.addCleanup(server.stop)
        return server

    def echoes(self):
        server = Echoes()
        self.addCleanup(server.stop)
        return server

    def connect(self, port):
        sock = socket.create_connection(("127.0.0.1", port), timeout=harness.PATIENCE)
        self.addCleanup(sock.close)
        return sock

    def datagrams(self, port, address="127.0.0.1"):
        sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        sock.settimeout(harness.PATIENCE)
        sock.connect((address, port))
        self.addCleanup(sock.close)
        return sock

    def ask(self, sock, text):
        """Datagrams may be lost while sockets change hands: asks until there is this answer."""
        sock.settimeout(0.5)  # a datagram was lost, then: nothing tells of that

        def answered():
            try:
                sock.send(text)
                while sock.recv(65536) != text:
                    pass
                return True
            except (TimeoutError, ConnectionRefusedError):
                return False

        return wait_until(answered, f"an answer to {text[:20]}")


class Examples(StreamCase):
    def test_tcp(self):
        def half(sock):
            data = receive_all(sock)
            sock.sendall(b"got " + data)

        first = self.tcp(half)
        weir = self.service(harness.example("stream-tcp.conf"), {9001: first, 9002: first})
        client = self.connect(weir.port())
        client.sendall(b"all of it")
        client.shutdown(socket.SHUT_WR)
        self.assertEqual(receive_all(client), b"got all of it")
        wait_until(lambda: re.search(r"TCP 200 13 9 [\d.]+ \"127.0.0.1:\d+\" [\d.]+\n",
                                     weir.read("logs/stream.log")), "the log line")
        client = self.connect(weir.port(8081))
        client.sendall(b"x")
        client.shutdown(socket.SHUT_WR)
        self.assertEqual(client.recv(1), b"")  # no half-close here: the end ends all

    def test_proxy_protocol_line(self):
        seen = []
        first = self.tcp(lambda sock: seen.append(receive(sock, 60)))
        weir = self.service(harness.example("stream-tcp.conf"), {9001: first, 9002: first})
        client = self.connect(weir.port(8081))
        line = f"PROXY TCP4 127.0.0.1 127.0.0.1 {client.getsockname()[1]} {weir.port(8081)}\r\n".encode()
        client.sendall(b"x" * 60)
        wait_until(lambda: (line + b"x" * 60)[:60] in seen, "the line")  # probes come by, too

    def test_tls_routing(self):
        def named(name):
            return self.tcp(lambda sock: sock.sendall(name + hashlib.sha256(sock.recv(4096)).digest()))

        backends = {9001: named(b"one"), 9002: named(b"two"), 9003: named(b"any")}
        weir = self.service(harness.example("stream-tls-routing.conf"), backends)
        for asked, answer in (("mail.example.com", b"one"), ("WWW.Example.com", b"two"),
                              ("elsewhere.example", b"any")):
            hello = client_hello(asked)
            client = self.connect(weir.port())
            client.sendall(hello[:20])
            # The one worker answers a client that came later: it has seen this beginning alone.
            later = self.connect(weir.port())
            later.sendall(b"GET / HTTP/1.0\r\n\r\n")
            self.assertTrue(receive_all(later).startswith(b"any"))
            client.sendall(hello[20:])
            self.assertEqual(receive_all(client), answer + hashlib.sha256(hello).digest(), asked)
        client = self.connect(weir.port())
        client.sendall(b"GET / HTTP/1.0\r\n\r\n")
        self.assertTrue(receive_all(client).startswith(b"any"))

    def test_udp(self):
        echo = self.echoes()
        weir = self.service(harness.example("stream-udp.conf"), {9001: echo})
        once = self.datagrams(weir.port())
        for text in (b"one", b"two"):
            self.assertTrue(self.ask(once, text))
        self.assertGreaterEqual(len(echo.peers), 2)  # each with a session of its own
        echo.peers.clear()
        long = self.datagrams(weir.port(8081))
        for number in range(20):
            self.assertTrue(self.ask(long, b"%d" % number))
        self.assertEqual(len(echo.peers), 1)


class Hash(StreamCase):
    """Which client has which server: by the same points as nginx."""

    SESSIONS = 10000

    def choices(self, service, sessions):
        chosen = []
        for number in range(sessions):
            with socket.socket() as client:
                client.settimeout(harness.PATIENCE)
                client.bind((f"127.{1 + number % 100}.{number // 100 % 250}.{1 + number % 250}", 0))
                client.connect(("127.0.0.1", service.port()))
                chosen.append(client.recv(1))
        return chosen

    @unittest.skipUnless(harness.os.path.exists(harness.ORACLE), "no nginx")
    @beyond_nginx
    def test_as_nginx_and_one_dies(self):
        servers = {9001 + n: self.tcp(lambda sock, name=b"%d" % n: sock.sendall(name)) for n in range(4)}
        weir = self.service(harness.example("stream-hash.conf"), servers)
        ours = self.choices(weir, self.SESSIONS)
        self.assertEqual(set(ours), {b"0", b"1", b"2", b"3"})
        self.addCleanup(setattr, harness, "BINARY", harness.BINARY)
        self.addCleanup(setattr, harness, "IS_ORACLE", False)
        harness.BINARY, harness.IS_ORACLE = harness.ORACLE, True
        nginx = self.service(harness.example("stream-hash.conf"), servers)
        self.assertEqual(self.choices(nginx, self.SESSIONS), ours)
        servers[9003].stop()
        moved = self.choices(weir, 2000)
        for before, after in zip(ours, moved):
            if before == b"2":
                self.assertNotEqual(after, b"2")
            else:
                self.assertEqual(after, before)


CONF = """
worker_processes %(workers)d;
events { worker_connections 20000; }
stream {
    server { listen 127.0.0.1:8080 backlog=4096; proxy_pass 127.0.0.1:9001; proxy_half_close on; %(more)s }
    server { listen 127.0.0.1:8081 udp rcvbuf=1m; proxy_pass 127.0.0.1:9001; %(more)s }
}
"""


def conf(workers=1, more=""):
    return CONF % {"workers": workers, "more": more}


def large_conf(number):
    """A configuration that is worth forgetting."""
    more = f"set $number {number};"
    text = conf(more=more).replace("stream {", """stream {
        log_format facts '$protocol $number $status $bytes_received/$bytes_sent '
                         '$upstream_bytes_received/$upstream_bytes_sent $upstream_addr $upstream_connect_time $session_time';
        access_log logs/facts.log facts;
        map $remote_addr $large {
""" + "".join(f"            ~^some.expression{n} a-value-of-some-length-{n};\n" for n in range(1000)) + "        }")
    return text


class Tcps(StreamCase):
    def test_bulk_both_ways(self):
        """More than any buffer holds, in both directions at once: nothing is lost, mixed up or repeated."""
        echo = self.tcp(self.echo)
        weir = self.service(conf(), {9001: echo})
        data = noise(24_000_000)
        client = self.connect(weir.port())
        sender = threading.Thread(target=lambda: (client.sendall(data), client.shutdown(socket.SHUT_WR)))
        sender.start()
        self.assertEqual(hashlib.sha256(receive_all(client)).digest(), hashlib.sha256(data).digest())
        sender.join()

    @staticmethod
    def echo(sock):
        while data := sock.recv(65536):
            sock.sendall(data)

    def test_slow_reader_holds_the_writer_back(self):
        counts = []  # of this client, and of those that only look whether somebody listens

        def talk(sock):
            sock.settimeout(1)
            piece = noise(1 << 16)
            sent = 0
            try:
                while True:
                    sent += sock.send(piece)
            except TimeoutError:
                pass
            counts.append(sent)
            sock.settimeout(None)
            sock.shutdown(socket.SHUT_WR)
            receive_all(sock)

        weir = self.service(conf(), {9001: self.tcp(talk)})
        client = socket.socket()
        self.addCleanup(client.close)
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8192)
        client.settimeout(harness.PATIENCE)
        client.connect(("127.0.0.1", weir.port()))
        wait_until(lambda: counts, "the backend held back for a second by a client that reads nothing")
        if "sanitize" not in harness.BINARY:
            self.assertLess(weir.private_memory(), 64 << 20)
        data = receive_all(client)
        self.assertIn(len(data), counts)
        self.assertLess(len(data), 64 << 20)
        whole = noise(1 << 16)
        self.assertEqual(data[:1 << 16], whole)

    def test_many_at_once(self):
        echo = self.echoes()
        weir = self.service(conf(), {9001: echo})
        clients = [self.connect(weir.port()) for _ in range(5000)]
        for number, client in enumerate(clients):
            client.sendall(b"%d" % number)
        for number, client in enumerate(clients):
            self.assertEqual(receive(client, len(str(number))), b"%d" % number)
        for client in clients:
            client.close()
        again = self.connect(weir.port())
        again.sendall(b"still there")
        self.assertEqual(receive(again, 11), b"still there")

    @beyond_nginx
    def test_reload_keeps_sessions(self):
        weir = self.service(conf(), {9001: self.echoes()})
        client = self.connect(weir.port())
        client.sendall(b"before")
        self.assertEqual(receive(client, 6), b"before")
        workers = weir.serving()
        weir.reload(conf(more="proxy_timeout 5m;"))
        self.assertEqual(weir.serving(), workers)
        client.sendall(b"after")
        self.assertEqual(receive(client, 5), b"after")
        other = self.connect(weir.port())
        other.sendall(b"new")
        self.assertEqual(receive(other, 3), b"new")

    @beyond_nginx
    def test_sessions_let_go_of_their_configuration(self):
        """Sessions of ten configurations cost no more memory than those of one, and are logged all the same."""
        echo = self.echoes()
        weir = self.service(large_conf(0), {9001: echo})
        sessions = []
        memory = 0
        for number in range(1, 13):
            client = self.connect(weir.port())
            client.sendall(b"12345")
            self.assertEqual(receive(client, 5), b"12345")
            datagram = self.datagrams(weir.port(8081))
            self.assertTrue(self.ask(datagram, b"123"))
            sessions += [client, datagram]
            weir.reload(large_conf(number))
            if number == 2:  # what the first reloads cost once is not what each costs
                memory = weir.private_memory()
        if "sanitize" not in harness.BINARY:  # what was let go goes back to the kernel a little later
            wait_until(lambda: weir.private_memory() - memory < 1 << 20, "memory as after two reloads")
        for client in sessions[::2]:
            client.sendall(b"6789")
            self.assertEqual(receive(client, 4), b"6789")
            client.close()
        def lines():  # (there are others, of who looked whether the service listens)
            return [line for line in weir.read("logs/facts.log").splitlines() if " 9/9 9/9 " in line]

        wait_until(lambda: len(lines()) == 12, "the log lines")
        for number, line in enumerate(lines()):
            self.assertRegex(line, rf"^TCP {number} 200 9/9 9/9 127.0.0.1:{echo.port} 0\.\d\d\d \d+\.\d\d\d$")

    @beyond_nginx
    def test_late_conditions_keep_the_configuration(self):
        """A line that depends on what is known at the end is decided at the end."""
        text = conf().replace("stream {", """stream {
            map $bytes_received $many { ~^1\\d+$ 1; }
            log_format facts '$status $bytes_received';
            access_log logs/facts.log facts if=$many;""")
        weir = self.service(text, {9001: self.echoes()})
        clients = [self.connect(weir.port()) for _ in range(2)]
        for client in clients:
            client.sendall(b"hello")
            self.assertEqual(receive(client, 5), b"hello")
        weir.reload(conf())
        clients[0].sendall(b"hello")
        self.assertEqual(receive(clients[0], 5), b"hello")
        for client in clients:
            client.close()
        wait_until(lambda: weir.read("logs/facts.log"), "the line")
        self.assertEqual(weir.read("logs/facts.log"), "200 10\n")


class Talk:
    """Clients of datagrams, each of which sends its next one when the last was answered, in a thread."""

    def __init__(self, clients):
        self.poll = select.epoll()
        self.clients = {}
        self.counts = {}
        self.late = []
        self.changed = threading.Condition()
        self.ended = False
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.add(clients)

    def add(self, clients):
        with self.changed:
            for client in clients:
                client.setblocking(False)
                self.clients[client.fileno()] = client
                self.counts[client.fileno()] = 0
                client.send(b"0")
                self.poll.register(client, select.EPOLLIN)

    def start(self):
        self.thread.start()

    def run(self):
        while not self.ended:
            for number, _ in self.poll.poll(0.2):
                self.take(number)

    def take(self, number):
        client = self.clients[number]
        answer = client.recv(65536)
        with self.changed:
            if answer == b"%d" % self.counts[number]:
                self.counts[number] += 1
                client.send(b"%d" % self.counts[number])
            else:
                self.late.append(answer)
            self.changed.notify_all()

    def rounds(self, count):
        """Waits until each client has had so many answers more."""
        with self.changed:
            goal = {number: had + count for number, had in self.counts.items()}
            done = self.changed.wait_for(lambda: all(self.counts[n] >= c for n, c in goal.items()), harness.PATIENCE)
            missing = sum(self.counts[n] < c for n, c in goal.items())
        assert done, f"{missing} of {len(goal)} clients wait for an answer in vain"

    def stop(self):
        self.ended = True
        if self.thread.is_alive():
            self.thread.join(5)


class Datagrams(StreamCase):
    def test_many_at_once(self):
        echo = self.echoes()
        weir = self.service(conf(more="proxy_timeout 2m;"), {9001: echo})
        clients = [self.datagrams(weir.port(8081)) for _ in range(5000)]
        for number, client in enumerate(clients):
            self.assertTrue(self.ask(client, b"%d" % number))
        self.assertEqual(len(echo.peers), 5000)
        for number, client in enumerate(clients):  # each by its own session again
            self.assertTrue(self.ask(client, b"again %d" % number))
        self.assertEqual(len(echo.peers), 5000)

    def test_with_connections_at_once(self):
        echo = self.echoes()
        weir = self.service(conf(more="proxy_timeout 2m;"), {9001: echo})
        connections = [self.connect(weir.port()) for _ in range(5000)]
        clients = [self.datagrams(weir.port(8081)) for _ in range(5000)]
        for round_ in range(2):
            texts = [b"%d %d" % (round_, number) for number in range(5000)]
            for client, text in zip(connections, texts):
                client.sendall(text)
            for client, text in zip(clients, texts):
                self.assertTrue(self.ask(client, text))
            for client, text in zip(connections, texts):
                self.assertEqual(receive(client, len(text)), text)
        self.assertEqual(len(echo.peers), 5000)

    @beyond_nginx
    def test_one_worker_for_a_client(self):
        """Without `reuseport` too: the datagrams of a client come to the worker with its session."""
        echo = self.echoes()
        weir = self.service(conf(workers=3), {9001: echo})
        clients = [self.datagrams(weir.port(8081)) for _ in range(60)]
        for round_ in range(5):
            for client in clients:
                self.assertTrue(self.ask(client, b"%d" % round_))
        self.assertEqual(len(echo.peers), 60)

    @beyond_nginx
    def test_number_of_workers_changes(self):
        """Every client keeps its session, and no datagram is lost, however many workers there are."""
        echo = self.echoes()
        weir = self.service(conf(workers=1), {9001: echo})
        talk = Talk([self.datagrams(weir.port(8081)) for _ in range(200)])
        self.addCleanup(talk.stop)
        talk.start()
        clients = 200
        for workers in (3, 2, 4, 1, 3):
            talk.rounds(2)
            weir.reload(conf(workers=workers))
            wait_until(lambda: len(weir.serving()) == workers, "the workers")  # noqa: B023
            talk.rounds(2)
            talk.add([self.datagrams(weir.port(8081)) for _ in range(20)])
            clients += 20
        talk.rounds(2)
        talk.stop()
        self.assertEqual(len(echo.peers), clients)
        self.assertEqual(talk.late, [])

    @beyond_nginx
    def test_leaving_worker_ends_with_its_sessions(self):
        more = "proxy_timeout 1s;"
        weir = self.service(conf(workers=3, more=more), {9001: self.echoes()})
        for number in range(30):
            self.ask(self.datagrams(weir.port(8081)), b"%d" % number)
        weir.reload(conf(workers=1, more=more))
        wait_until(lambda: len(weir.children()) == 1, "the end of the workers that are too many")
        self.assertTrue(self.ask(self.datagrams(weir.port(8081)), b"still there"))

    @beyond_nginx
    def test_a_worker_is_killed(self):
        """Its slot is served again; sessions of the others do not notice, those it had passed on to it
        from other slots neither."""
        echo = self.echoes()
        weir = self.service(conf(workers=1), {9001: echo})
        self.expected_errors = ["exited on signal 9"]
        clients = [self.datagrams(weir.port(8081)) for _ in range(90)]
        old, new = clients[:45], clients[45:]
        for client in old:
            self.ask(client, b"before")
        first = weir.serving()[0]
        weir.reload(conf(workers=3))
        for client in new:
            self.ask(client, b"before")
        self.assertEqual(len(echo.peers), 90)
        other = next(pid for pid in weir.serving() if pid != first)
        os.kill(other, signal.SIGKILL)
        wait_until(lambda: len(weir.serving()) == 3 and other not in weir.serving(), "a worker in its place")
        talk = Talk(old)
        self.addCleanup(talk.stop)
        talk.start()
        talk.rounds(3)
        talk.stop()
        self.assertEqual(talk.late, [])
        self.assertEqual(len(echo.peers), 90)
        for client in new:
            self.assertTrue(self.ask(client, b"after"))
        begun_again = len(echo.peers) - 90
        self.assertTrue(0 < begun_again < 45, begun_again)
        # The one that has sessions of all slots: they begin again where they belong.
        os.kill(first, signal.SIGKILL)
        wait_until(lambda: len(weir.serving()) == 3 and first not in weir.serving(), "a worker in its place")
        for client in clients:
            self.assertTrue(self.ask(client, b"and after that"))

    @beyond_nginx
    def test_second_start_finds_the_address_in_use(self):
        self.expected_errors = ["Address already in use", "still could not bind"]
        only_datagrams = re.sub("server { listen [^ ]* backlog.*", "", conf(workers=2))
        weir = self.service(only_datagrams, {9001: self.echoes()})
        command = [word.replace("weir.pid", "other.pid") for word in weir.command()]
        other = subprocess.run(command, capture_output=True, text=True, timeout=harness.PATIENCE, check=False)
        self.assertNotEqual(other.returncode, 0)
        self.assertIn("Address already in use", other.stderr)

    def test_large_and_empty(self):
        weir = self.service(conf(), {9001: self.echoes()})
        client = self.datagrams(weir.port(8081))
        # nginx cuts what is larger than its buffer.
        for size in (0, 1, 1472, 9000) if harness.IS_ORACLE else (0, 1, 1472, 9000, 60000):
            self.assertTrue(self.ask(client, noise(size)), size)


def make_certificates(prefix):
    """one.pem, two.pem and client.pem of a CA, in a folder of their own."""
    folder = tempfile.mkdtemp(prefix=prefix)
    os.chmod(folder, 0o755)  # workers, of less rights, read certificates whose names have variables

    def openssl(*arguments):
        subprocess.run(["openssl", *arguments], check=True, capture_output=True, cwd=folder)

    openssl("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", "ca.key", "-out", "ca.pem", "-days", "2",
            "-subj", "/CN=authority")
    for name in ("one", "two", "client"):
        openssl("req", "-newkey", "rsa:2048", "-nodes", "-keyout", f"{name}.key", "-out", f"{name}.csr",
                "-subj", f"/CN={name}.example")
        os.chmod(f"{folder}/{name}.key", 0o644)
        with open(f"{folder}/{name}.ext", "w", encoding="ascii") as file:
            file.write(f"subjectAltName=DNS:{name}.example\n")
        openssl("x509", "-req", "-in", f"{name}.csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial",
                "-out", f"{name}.pem", "-days", "2", "-extfile", f"{name}.ext")
    return folder


PASS = """
events { worker_connections 1024; }
http {
    access_log logs/http.log;
    server { listen 127.0.0.1:8000; location / { return 200 "http $scheme $https $ssl_protocol $remote_addr $server_port\n"; } }
    server { listen 127.0.0.1:8001 ssl; ssl_certificate %(folder)s/one.pem; ssl_certificate_key %(folder)s/one.key;
             location / { return 200 "https $scheme $ssl_server_name\n"; } }
    server { listen 127.0.0.1:8002 proxy_protocol; location / { return 200 "$proxy_protocol_addr\n"; } }
}
stream {
    error_log logs/error.log info;
    log_format facts '$server_port $status $bytes_received/$bytes_sent';
    access_log logs/stream.log facts;
    ssl_certificate %(folder)s/one.pem;
    ssl_certificate_key %(folder)s/one.key;
    map $ssl_preread_server_name $to { two.example 127.0.0.1:8001; odd.example 127.0.0.1; worse.example "a b"; default 127.0.0.1:8099; }
    server { listen 127.0.0.1:8080; pass 127.0.0.1:8000; }
    server { listen 127.0.0.1:8081 ssl; pass 127.0.0.1:8000; }
    server { listen 127.0.0.1:8082; ssl_preread on; pass $to; }
    server { listen 127.0.0.1:8083; pass 127.0.0.1:8084; }
    server { listen 127.0.0.1:8084; return "stream $remote_addr"; }
    server { listen 127.0.0.1:8085; pass 127.0.0.1:8086; }
    server { listen 127.0.0.1:8086; pass 127.0.0.1:8085; }
    server { listen 127.0.0.1:8087; pass 127.0.0.1:8002; }
    server { listen 127.0.0.1:8088 ssl; pass 127.0.0.1:8089; }
    server { listen 127.0.0.1:8089; return "inside $ssl_protocol"; }
    server { listen 127.0.0.1:8090 udp; pass 127.0.0.1:8084; }
    server { listen 127.0.0.1:8091; pass unix:%(folder)s/local.sock; }
    server { listen unix:%(folder)s/local.sock; proxy_pass 127.0.0.1:9001; }
}
"""


@beyond_nginx  # the module is younger than the nginx that the tests are checked with
class Pass(StreamCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = make_certificates("weir-pass-")

    def setUp(self):
        self.weir = self.service(PASS % {"folder": self.folder}, {9001: self.echoes()})

    def tls(self, port, name="one.example"):
        context = ssl.create_default_context()
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        sock = context.wrap_socket(self.connect(self.weir.port(port)), server_hostname=name)
        self.addCleanup(sock.close)
        return sock

    def get(self, sock):
        for _ in range(2):  # the connection is kept
            sock.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
            head = b""
            while b"\r\n\r\n" not in head:
                piece = sock.recv(1)
                self.assertTrue(piece, head)
                head += piece
            length = int(re.search(rb"Content-Length: (\d+)", head)[1])
            body = receive(sock, length)
        return body.decode()

    def test_to_http(self):
        text = self.get(self.connect(self.weir.port(8080)))
        self.assertEqual(text, f"http http   127.0.0.1 {self.weir.port(8080)}\n")

    def test_to_http_with_tls_ended(self):
        text = self.get(self.tls(8081))
        self.assertRegex(text, "^http https on TLSv1.3 127.0.0.1 ")

    def test_by_name(self):
        self.assertEqual(self.get(self.tls(8082, "two.example")), "https https two.example\n")

    def test_nobody_listens(self):
        for name, problem in (("nobody.example", "port not found for"), ("odd.example", "no port in pass"),
                              ("worse.example", "in pass")):
            with self.assertRaises(OSError):
                self.tls(8082, name)
            wait_until(lambda: problem in self.weir.errors(), problem)  # noqa: B023

    def test_to_stream(self):
        self.assertEqual(receive_all(self.connect(self.weir.port(8083))), b"stream 127.0.0.1")
        wait_until(lambda: len(self.weir.read("logs/stream.log").splitlines()) >= 2, "both log lines")

    def test_tls_ended_before_stream(self):
        self.assertEqual(receive_all(self.tls(8088)), b"inside TLSv1.3")

    def test_cycle(self):
        self.assertEqual(receive_all(self.connect(self.weir.port(8085))), b"")
        wait_until(lambda: "stream pass cycle" in self.weir.errors(), "the line")

    def test_proxy_protocol(self):
        sock = self.connect(self.weir.port(8087))
        sock.sendall(b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n")
        self.assertEqual(self.get(sock), "192.0.2.1\n")

    def test_datagrams(self):
        self.datagrams(self.weir.port(8090)).send(b"x")
        wait_until(lambda: "cannot pass UDP connection" in self.weir.errors(), "the line")

    def test_unix_socket_and_reload(self):
        sock = self.connect(self.weir.port(8091))
        sock.sendall(b"hello")
        self.assertEqual(receive(sock, 5), b"hello")
        self.weir.reload()
        sock.sendall(b"again")
        self.assertEqual(receive(sock, 5), b"again")


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
        backends = {9001: self.tcp(Tcps.echo), 9002: self.tcp(secure)}
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
