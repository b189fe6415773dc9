"""What the tests of the stream block share: servers, clients and a configuration."""

import hashlib
import os
import select
import socket
import struct
import subprocess
import tempfile
import threading

import harness
from harness import wait_until


def noise(size, seed=1):
    block = b"".join(hashlib.sha256(f"{seed}-{n}".encode()).digest() for n in range(2048))
    return (block * (size // len(block) + 1))[:size]


class Tcp:
    """A server whose `answer(socket)` runs in a thread for each connection."""

    def __init__(self, answer):
        self.answer = answer
        self.count = 0  # of connections
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=4096)
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            try:
                sock, _ = self.listener.accept()
            except OSError:
                return
            self.count += 1
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


def both_kinds():
    """Sockets for connections and datagrams at the same port."""
    while True:
        listener = socket.create_server(("127.0.0.1", 0), backlog=4096)
        datagrams = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        datagrams.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
        try:
            datagrams.bind(listener.getsockname())
            return listener, datagrams
        except OSError:  # the kernel chose it for connections: somebody has it for datagrams
            listener.close()
            datagrams.close()


class Echoes:
    """Echoes all its connections and datagrams from one thread: thousands at once cost no threads."""

    def __init__(self):
        self.listener, self.datagrams = both_kinds()
        self.port = self.listener.getsockname()[1]
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


def return_all(sock):
    while data := sock.recv(65536):
        sock.sendall(data)


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
        if address == "127.0.0.1":
            sock.bind(("127.0.0.2", 0))  # thousands of ports here are none of those that others listen on
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


CONF = """
worker_processes %(workers)d;
events { worker_connections 30000; }
stream {
    server { listen 127.0.0.1:8080 backlog=4096; proxy_pass 127.0.0.1:9001; proxy_half_close on; %(more)s }
    server { listen 127.0.0.1:8081 udp rcvbuf=1m; proxy_pass 127.0.0.1:9001; proxy_bind 127.0.0.3; %(more)s }
}
"""


def conf(workers=1, more=""):
    return CONF % {"workers": workers, "more": more}


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
