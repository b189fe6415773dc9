#!/usr/bin/python3
"""The harness has to notice: each test puts a server that misbehaves in one way where weir would be."""

import os
import pathlib
import subprocess
import sys
import tempfile
import unittest

HERE = pathlib.Path(__file__).resolve().parent
NGINX = os.environ.get("WEIR_REFERENCE_NGINX", "/usr/sbin/nginx")

CASE = """--- http
    add_header X-A one;
    server {{
        listen 127.0.0.1:%%PORT_a%%;
        location / {{ return 200 "text\\n"; }}
        location /up {{ proxy_http_version 1.1; proxy_set_header Connection close; proxy_set_header X-Up one; proxy_pass http://127.0.0.1:%%PORT_b%%; }}
    }}
--- backend b
@on .
HTTP/1.1 200 OK
Content-Length: 2

ok\\
@close
{declaration}--- gets
plain: /
up: /up
"""


class Harness(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.TemporaryDirectory()
        self.addCleanup(self.folder.cleanup)

    def run_with(self, edit, declaration="", weir=True):
        """nginx against an nginx whose configuration went through `sed -e edit`."""
        folder = self.folder.name
        pathlib.Path(f"{folder}/x.case").write_text(CASE.format(declaration=declaration), encoding="ascii")
        other = pathlib.Path(f"{folder}/other")
        other.write_text(f'#!/bin/sh\nsed -i -e "{edit}" "$2"\nexec {NGINX} "$@"\n', encoding="ascii")
        other.chmod(0o755)
        words = [sys.executable, str(HERE / "run.py"), "--cases", folder, "--nginx", NGINX, "--retries", "0"]
        done = subprocess.run(words + (["--weir", str(other)] if weir else []), capture_output=True, text=True, check=False)
        return done.returncode, done.stdout

    def test_agreement(self):
        code, text = self.run_with("s/nothing//")
        self.assertEqual(code, 0, text)
        self.assertIn("2 agreed", text)

    def test_client_sees_another_field(self):
        code, text = self.run_with("s/X-A one/X-A two/")
        self.assertEqual(code, 1)
        self.assertIn("+X-A: two", text)
        self.assertIn("2 undeclared", text)

    def test_backend_gets_another_field(self):
        code, text = self.run_with("s/X-Up one/X-Up two/")
        self.assertEqual(code, 1)
        self.assertIn("DISAGREE x / up\n  backend:", text)
        self.assertIn("1 agreed", text)

    def test_connection_is_not_kept(self):
        code, text = self.run_with("s/add_header X-A one;/add_header X-A one; lingering_timeout 1; keepalive_requests 1;/")
        self.assertEqual(code, 1)
        self.assertIn("+[connection closed]", text)

    def test_log_differs(self):
        code, text = self.run_with("s/ <.request_length/ changed/")
        self.assertEqual(code, 1)
        self.assertIn("  log:", text)

    def test_log_is_missing(self):
        code, text = self.run_with("s/access_log .*/access_log off;/")
        self.assertEqual(code, 1)
        self.assertIn('-GET "GET / HTTP/1.1"', text)

    def test_server_does_not_start(self):
        code, text = self.run_with("s/add_header X-A one/nonsense/")
        self.assertEqual(code, 1)
        self.assertIn('unknown directive "nonsense"', text)

    def test_declared_and_as_expected(self):
        code, text = self.run_with("s/X-Up one/X-Up two/", "--- differs up\nA reason.\nbackend ~ X-Up: two\n")
        self.assertEqual(code, 0, text)
        self.assertIn("1 declared", text)
        self.assertIn("x / up: A reason.", text)

    def test_declared_but_not_as_expected(self):
        code, text = self.run_with("s/X-Up one/X-Up three/", "--- differs up\nA reason.\nbackend ~ X-Up: two\n")
        self.assertEqual(code, 1)
        self.assertIn("weir was to give backend ~ X-Up: two", text)

    def test_declared_but_agrees(self):
        code, text = self.run_with("s/nothing//", "--- since 9.9 up\nA reason.\nbackend ~ X-Up: one\n")
        self.assertEqual(code, 1)
        self.assertIn("both did the same", text)

    def test_declaration_needs_expectation(self):
        code, _ = self.run_with("s/nothing//", "--- since 9.9 up\nA reason.\n")
        self.assertNotEqual(code, 0)


if __name__ == "__main__":
    unittest.main()
