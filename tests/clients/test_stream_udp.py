#!/usr/bin/python3
"""Datagrams through the stream block: sessions, and the worker that each has."""

import os
import re
import select
import signal
import subprocess
import threading
import unittest

import harness
from harness import beyond_nginx, wait_until
from stream_support import StreamCase, conf, noise, receive


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


if __name__ == "__main__":
    unittest.main()
