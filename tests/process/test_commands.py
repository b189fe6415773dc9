#!/usr/bin/python3
"""weir -t, -s and the start: what they say and what they leave."""

import os
import socket
import sys
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "clients"))

import harness
from harness import get, wait_until

HTTP = 'events {}\nhttp {\naccess_log off; server { listen 127.0.0.1:8080; return 200 "ok"; }\n}\n'


class Commands(harness.TestCase):
    def place(self, text=HTTP):
        weir = harness.Service(text, start=False)
        self.addCleanup(lambda: weir.stop(check=False))
        return weir

    def first(self, result):
        return result.stderr.splitlines()[0]

    def test_check_leaves_no_pid_file_and_no_socket(self):
        weir = self.place()
        path = weir.path("x.sock")
        weir.write("weir.conf", weir.read("weir.conf").replace("server {", f"server {{ listen unix:{path};"))
        self.assertEqual(weir.run("-t").returncode, 0)
        self.assertFalse(os.path.exists(weir.path("logs/weir.pid")))
        self.assertFalse(os.path.exists(path))

    def test_check_opens_the_log_files(self):
        weir = self.place("error_log /no/such/folder/e.log;\n" + HTTP)
        result = weir.run("-t")
        path = weir.path("weir.conf")
        self.assertEqual(result.returncode, 1)
        self.assertEqual(result.stderr.splitlines(), [
            f"nginx: the configuration file {path} syntax is ok",
            'nginx: [emerg] open() "/no/such/folder/e.log" failed (2: No such file or directory)',
            f"nginx: configuration file {path} test failed"])

    def test_errors_after_the_syntax(self):
        weir = self.place("worker_processes 1;\n")
        result = weir.run("-t")
        path = weir.path("weir.conf")
        self.assertEqual(result.stderr.splitlines()[:3], [
            f"nginx: the configuration file {path} syntax is ok",
            'nginx: [emerg] no "events" section in configuration',
            f"nginx: configuration file {path} test failed"])

    def test_problems_go_to_the_log_of_the_command_line_too(self):
        weir = self.place("bad;\n")
        result = weir.run("-t")
        self.assertEqual(self.first(result),
                         f'nginx: [emerg] unknown directive "bad" in {weir.path("weir.conf")}:1')
        self.assertRegex(weir.errors(), r"^\d{4}/\d\d/\d\d \d\d:\d\d:\d\d \[emerg\] \d+#\d+: "
                                        r'unknown directive "bad" in ')

    def test_log_of_the_command_line_that_cannot_be_opened(self):
        weir = self.place()
        weir.command = (lambda command: lambda *more: [
            word.replace("logs/error.log", "/no/such/e.log") for word in command(*more)])(weir.command)
        result = weir.run("-t")
        self.assertEqual(self.first(result),
                         'nginx: [alert] could not open error log file: open() "/no/such/e.log" failed '
                         "(2: No such file or directory)")

    def test_signals_without_a_service(self):
        weir = self.place()
        for name in ("stop", "quit", "reload", "reopen"):
            result = weir.run("-s", name)
            self.assertEqual(result.returncode, 1)
            self.assertEqual(self.first(result), f'nginx: [error] open() "{weir.path("logs/weir.pid")}" '
                                                 "failed (2: No such file or directory)")
        weir.write("logs/weir.pid", "abc\n")
        result = weir.run("-s", "stop")
        self.assertEqual(self.first(result),
                         f'nginx: [error] invalid PID number "abc" in "{weir.path("logs/weir.pid")}"')
        weir.write("logs/weir.pid", "999999999\n")
        result = weir.run("-s", "stop")
        self.assertEqual(result.returncode, 1)
        self.assertEqual(self.first(result), "nginx: [alert] kill(999999999, 15) failed "
                                             "(3: No such process)")

    def test_address_in_use_is_tried_again(self):
        weir = self.place()
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            taken.listen()
            address = f"127.0.0.1:{taken.getsockname()[1]}"
            weir.write("weir.conf", "error_log logs/error.log notice;\nevents {}\n"
                                   f"http {{ access_log off; server {{ listen {address}; }} }}\n")
            result = weir.run()
        self.assertEqual(result.returncode, 1)
        line = f"nginx: [emerg] bind() to {address} failed (98: Address already in use)"
        self.assertEqual(result.stderr.splitlines(), [line] * 5 + ["nginx: [emerg] still could not bind()"])
        self.assertEqual(weir.errors().count("try again to bind() after 500ms"), 5)
        self.assertFalse(os.path.exists(weir.path("logs/weir.pid")))


class Reloads(harness.TestCase):
    def test_without_the_control_socket_the_signal_is_sent_and_that_is_said(self):
        weir = self.service(HTTP)
        os.unlink(wait_until(lambda: os.path.exists(weir.path("logs/weir.pid.control"))
                             and weir.path("logs/weir.pid.control"), "the control socket"))
        weir.configure(HTTP.replace('"ok"', '"new"'))
        result = weir.run("-s", "reload")
        self.assertEqual(result.returncode, 0)
        self.assertIn("is not known", result.stderr)
        wait_until(lambda: get(weir.port()).body == b"new", "the new configuration")

    def test_verdict_of_the_service_when_a_port_is_taken(self):
        self.expected_errors = ("Address already in use", "still could not bind")
        weir = self.service(HTTP)
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            taken.listen()
            address = f"127.0.0.1:{taken.getsockname()[1]}"
            text = weir.read("weir.conf")
            weir.write("weir.conf", text.replace("listen ", f"listen {address}; listen "))
            result = weir.run("-s", "reload")
            self.assertEqual(result.returncode, 1)
            self.assertIn(f"nginx: [emerg] bind() to {address} failed (98: Address already in use)",
                          result.stderr)
            self.assertEqual(get(weir.port()).body, b"ok")
        self.assertEqual(weir.run("-s", "reload").returncode, 0)

    def test_one_process_reloads_too(self):
        weir = self.service(HTTP, options="master_process off;")
        self.assertEqual(weir.children(), [])
        for number in range(3):
            weir.reload(HTTP.replace('"ok"', f'"{number}"'))
            self.assertEqual(get(weir.port()).body, str(number).encode())
        weir.configure(HTTP.replace("return 200", "retrun 200"))
        self.expected_errors = ("unknown directive",)
        self.assertEqual(weir.run("-s", "reload").returncode, 1)
        self.assertEqual(get(weir.port()).body, b"2")
        weir.reload(HTTP.replace("8080", "8081"))
        self.assertEqual(get(weir.port(8081)).body, b"ok")

    def test_reloads_at_the_same_time(self):
        weir = self.service("worker_processes 2;\n" + HTTP)
        processes = [harness.subprocess.Popen(weir.command("-s", "reload"),
                                              stderr=harness.subprocess.PIPE) for _ in range(8)]
        codes = [process.wait(harness.PATIENCE) for process in processes]
        for process in processes:
            process.stderr.close()
        self.assertEqual(codes, [0] * 8)
        self.assertEqual(get(weir.port()).body, b"ok")


if __name__ == "__main__":
    unittest.main()
