#!/usr/bin/python3
"""TCP through the stream block: bulk, back pressure, many at once, reloads."""

import hashlib
import socket
import threading
import unittest

import harness
from harness import beyond_nginx, wait_until
from stream_support import StreamCase, conf, noise, receive, receive_all, return_all


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
        echo = self.tcp(return_all)
        weir = self.service(conf(), {9001: echo})
        data = noise(24_000_000)
        client = self.connect(weir.port())
        sender = threading.Thread(target=lambda: (client.sendall(data), client.shutdown(socket.SHUT_WR)))
        sender.start()
        self.assertEqual(hashlib.sha256(receive_all(client)).digest(), hashlib.sha256(data).digest())
        sender.join()

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
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)  # the rest may come fast
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


if __name__ == "__main__":
    unittest.main()
