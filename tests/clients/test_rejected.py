#!/usr/bin/python3
"""Configurations that must be rejected: the first line printed is nginx's, by both programs.

What nginx says is asked from nginx itself, live. Files that begin with `http {` or whole main files
are completed by what they lack; blocks are put into `http`.
"""

import os
import subprocess
import unittest

import harness


def complete(text):
    if text.startswith("worker_processes"):
        return text
    if text.startswith("http"):
        return "events {}\n" + text
    return "events {}\nhttp {\n" + text + "}\n"


# Mistakes of the usual kinds, one line of nginx for each.
SMALL = {
    "missing-semicolon": "events {}\nhttp {\n    server {\n        listen 8080\n    }\n}\n",
    "unknown-directive": "events {}\nhttp {\n    proxy_conect_timeout 3s;\n}\n",
    "wrong-place": "events {}\nlisten 80;\n",
    "wrong-count": "events {}\nhttp {\n    proxy_set_header Upgrade;\n}\n",
    "bad-flag": "events {}\nhttp {\n    sendfile yes;\n}\n",
    "bad-time": "events {}\nhttp {\n    proxy_read_timeout 60sec;\n}\n",
    "bad-size": "events {}\nhttp {\n    client_max_body_size 10mb;\n}\n",
    "duplicate": "events {}\nhttp {\n    proxy_buffering on;\n    proxy_buffering off;\n}\n",
    "unknown-variable": "events {}\nhttp { server { location / { return 200 $nothing; } } }\n",
    "unknown-log-format": "events {}\nhttp {\n    access_log logs/a.log missing;\n}\n",
    "unclosed-quote": "events {}\nhttp {\n    log_format a \"b;\n}\n",
    "too-many-braces": "events {}\nhttp {\n}\n}\n",
    "end-of-file": "events {}\nhttp {\n    server {\n",
    "no-events": "http {}\n",
    "bad-regex": "events {}\nhttp { server { location ~ ( { } } }\n",
    "bad-address": "events {}\nhttp { server { listen 127.0.0.1:99999; } }\n",
    "no-such-include": "events {}\ninclude missing.conf;\n",
    "duplicate-listen": "events {}\nhttp { server { listen 127.0.0.1:8080; listen 127.0.0.1:8080; } }\n",
    "duplicate-location": "events {}\nhttp { server { location /a { } location /a { } } }\n",
    "duplicate-upstream":
        "events {}\nhttp { upstream a { server 127.0.0.1:1; } upstream a { server 127.0.0.1:1; } }\n",
    "empty-upstream": "events {}\nhttp { upstream a { } }\n",
    "proxy-pass-scheme": "events {}\nhttp { server { location / { proxy_pass ftp://a; } } }\n",
    "proxy-pass-uri-in-regex":
        "events {}\nhttp { server { location ~ a { proxy_pass http://127.0.0.1/b; } } }\n",
    "empty-file": "",
}


class Rejected(harness.TestCase):
    def check(self, name, text):
        service = harness.Service("", start=False)
        self.addCleanup(lambda: service.stop(check=False))
        service.write("weir.conf", text)
        path = service.path("weir.conf")

        def first_line(program, *options):
            result = subprocess.run([program, "-t", "-p", service.folder, *options, "-c", path],
                                    capture_output=True, text=True, check=False,
                                    stdin=subprocess.DEVNULL, timeout=harness.PATIENCE)
            lines = (result.stderr + result.stdout).splitlines()
            return result.returncode, lines[0] if lines else ""

        log = ("-e", "logs/error.log")
        expected = first_line(harness.ORACLE, *log)
        self.assertEqual(expected[0], 1, f"{name}: nginx accepts it")
        with self.subTest(name=name, program="weir"):
            self.assertEqual(first_line(harness.BINARY, *log), expected)
        if harness.CONFCHECK:
            with self.subTest(name=name, program="confcheck"):
                self.assertEqual(first_line(harness.CONFCHECK), expected)

    def test_pasted_configurations(self):
        folder = f"{harness.ROOT}/tests/clients/rejected"
        names = sorted(os.listdir(folder))
        self.assertEqual(len(names), 5)
        for name in names:
            with open(f"{folder}/{name}", encoding="utf-8") as file:
                self.check(name, complete(file.read()))

    def test_small_mistakes(self):
        for name, text in SMALL.items():
            self.check(name, text)

    def test_each_reason_is_told(self):
        """location in http, and a second http block: two mistakes, each with its own line."""
        if harness.IS_ORACLE:
            self.skipTest("nginx stops at the first")
        service = harness.Service("", start=False)
        self.addCleanup(lambda: service.stop(check=False))
        with open(f"{harness.ROOT}/tests/clients/rejected/main-two-http-blocks.conf", encoding="utf-8") as file:
            service.write("weir.conf", file.read())
        output = service.run("-t").stderr
        self.assertIn('"location" directive is not allowed here', output)
        self.assertIn('"http" directive is duplicate', output)


if __name__ == "__main__":
    unittest.main()
