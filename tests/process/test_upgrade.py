#!/usr/bin/python3
"""Binary upgrade (USR2): the new program takes the sockets, and either of the two can go."""

import os
import signal
import sys
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "clients"))

import harness
from harness import get, wait_until

TEXT = """events {}
http {
access_log off;
server { listen 127.0.0.1:8080; listen unix:%s; return 200 "%s"; }
}
"""


class Upgrade(harness.TestCase):
    def begin(self):
        weir = harness.Service("", daemon=True, start=False)
        self.addCleanup(lambda: weir.stop(expected_errors=self.expected_errors))
        self.socket = weir.path("a.sock")
        weir.configure(TEXT % (self.socket, "old"))
        weir.start()
        return weir

    def answer(self, weir):
        return get(weir.port()).body

    def pid_in(self, weir, name):
        return int(weir.read(name).strip() or 0)

    def upgrade(self, weir):
        """Sends USR2; the pid of the new master when it serves."""
        old = weir.pid
        weir.signal(signal.SIGUSR2)
        wait_until(lambda: self.pid_in(weir, "logs/weir.pid.oldbin") == old, "the old pid file")
        return wait_until(lambda: self.pid_in(weir, "logs/weir.pid"), "the new pid file")

    def children_of(self, pid):
        with open(f"/proc/{pid}/task/{pid}/children", encoding="ascii") as file:
            return [int(child) for child in file.read().split()]

    def test_the_new_program_takes_over(self):
        weir = self.begin()
        old = weir.pid
        weir.configure(TEXT % (self.socket, "new"))
        new = self.upgrade(weir)
        self.assertNotEqual(new, old)
        wait_until(lambda: self.children_of(new), "workers of the new program")
        self.assertIn("using inherited sockets from", weir.errors())
        # A third one is refused while both run.
        self.expected_errors = ("the changing binary signal is ignored",)
        os.kill(old, signal.SIGUSR2)
        wait_until(lambda: "the changing binary signal is ignored" in weir.errors(), "the refusal")
        os.kill(old, signal.SIGWINCH)
        wait_until(lambda: self.children_of(old) == [new], "the old workers to leave")
        self.assertEqual(self.answer(weir), b"new")
        os.kill(old, signal.SIGQUIT)
        self.assertEqual(weir.wait_end(), 0)
        weir.pid = new
        self.assertFalse(os.path.exists(weir.path("logs/weir.pid.oldbin")))
        self.assertEqual(self.pid_in(weir, "logs/weir.pid"), new)
        self.assertTrue(os.path.exists(self.socket), "the file of the socket is the successor's")
        self.assertEqual(self.answer(weir), b"new")
        weir.signal(signal.SIGTERM)
        self.assertEqual(weir.wait_end(), 0)
        self.assertFalse(os.path.exists(self.socket))
        self.assertFalse(os.path.exists(weir.path("logs/weir.pid")))

    def test_back_to_the_old_program(self):
        weir = self.begin()
        weir.configure(TEXT % (self.socket, "new"))
        new = self.upgrade(weir)
        wait_until(lambda: self.children_of(new), "workers of the new program")
        weir.signal(signal.SIGWINCH)
        wait_until(lambda: weir.children() == [new], "the old workers to leave")
        weir.signal(signal.SIGHUP)
        wait_until(lambda: len(weir.children()) == 2, "the old workers to come back")
        os.kill(new, signal.SIGQUIT)
        wait_until(lambda: self.pid_in(weir, "logs/weir.pid") == weir.pid, "the pid file to return")
        self.assertFalse(os.path.exists(weir.path("logs/weir.pid.oldbin")))
        self.assertTrue(os.path.exists(self.socket))
        self.assertEqual(self.answer(weir), b"old")
        weir.reload()
        self.assertEqual(self.answer(weir), b"new")

    def test_a_new_program_that_fails(self):
        self.expected_errors = ("nonsense",)
        weir = self.begin()
        weir.configure("nonsense;\n")
        weir.signal(signal.SIGUSR2)
        wait_until(lambda: "nonsense" in weir.errors(), "the new program to fail")
        wait_until(lambda: self.pid_in(weir, "logs/weir.pid") == weir.pid, "the pid file to return")
        self.assertEqual(self.answer(weir), b"old")

    def test_workers_return_when_the_new_program_ends(self):
        weir = self.begin()
        new = self.upgrade(weir)
        wait_until(lambda: self.children_of(new), "workers of the new program")
        weir.signal(signal.SIGWINCH)
        wait_until(lambda: weir.children() == [new], "the old workers to leave")
        os.kill(new, signal.SIGTERM)
        wait_until(lambda: weir.serving() and weir.serving() != [new], "the old workers")
        self.assertEqual(self.answer(weir), b"old")


if __name__ == "__main__":
    unittest.main()
