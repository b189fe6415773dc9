#!/usr/bin/python3
"""confcheck: nginx's verdict without touching anything outside, and then more help than nginx gives."""

import json
import os
import re
import socket
import subprocess
import unittest

import harness
from harness import example


def listing(folder):
    return sorted((os.path.join(base, name), os.stat(os.path.join(base, name)).st_mtime_ns)
                  for base, folders, files in os.walk(folder) for name in folders + files)


@unittest.skipUnless(harness.CONFCHECK, "needs CONFCHECK_BINARY")
class Confcheck(harness.TestCase):
    def setUp(self):
        self.place = harness.Service("", start=False)
        self.addCleanup(self.place.stop)

    def check(self, text, *options):
        self.place.write("weir.conf", text)
        return subprocess.run([harness.CONFCHECK, "-t", "-p", self.place.folder, "-c",
                               self.place.path("weir.conf"), *options], capture_output=True, text=True,
                              stdin=subprocess.DEVNULL, timeout=harness.PATIENCE, check=False)

    def test_accepts_every_example_with_nginx_words(self):
        path = self.place.path("weir.conf")
        harness.put_certificates(self.place)
        for name in sorted(os.listdir(f"{harness.ROOT}/conf.examples")):
            if not name.endswith(".conf"):
                continue
            with self.subTest(name=name):
                result = self.check(example(name))
                self.assertEqual(result.returncode, 0, result.stderr)
                self.assertEqual(result.stderr,
                                 f"nginx: the configuration file {path} syntax is ok\n"
                                 f"nginx: configuration file {path} test is successful\n")

    def test_ring_of_a_consistent_hash_has_a_limit(self):
        text = "events {}\nhttp { upstream u { %s server 127.0.0.1:1 weight=%s; server 127.0.0.1:2; } }\n"
        self.assertEqual(self.check(text % ("hash $uri consistent;", 999999)).returncode, 0)
        refused = self.check(text % ("hash $uri consistent;", 1000000))
        self.assertEqual(refused.returncode, 1)
        self.assertIn('[emerg] too large weights for "hash ... consistent" in ', refused.stderr)
        self.assertEqual(self.check(text % ("hash $uri;", 9223372036854775807)).returncode, 0)

    def test_a_zone_has_to_hold_its_servers(self):
        text = "events {}\nhttp { upstream u { zone z %s; %s } }\n"
        many = " ".join(f"server 127.0.1.{i + 1}:80;" for i in range(250))
        self.assertEqual(self.check(text % ("1m", many)).returncode, 0)
        refused = self.check(text % ("32k", many))
        self.assertEqual(refused.returncode, 1)
        self.assertIn("syntax is ok", refused.stderr)
        self.assertIn('[crit] ngx_slab_alloc() failed: no memory in upstream zone "z"\n', refused.stderr)

    def test_touches_nothing(self):
        text = ("error_log logs/new.log;\npid logs/new.pid;\nevents {}\nhttp {\n"
                "    access_log logs/access.log;\n    client_body_temp_path temp/new;\n"
                "    proxy_temp_path temp/other;\n    server { listen 127.0.0.1:1; }\n}\n")
        self.place.write("weir.conf", text)
        before = listing(self.place.folder)
        result = subprocess.run([harness.CONFCHECK, "-t", "-p", self.place.folder, "-c",
                                 self.place.path("weir.conf")], capture_output=True, check=False,
                                timeout=harness.PATIENCE)
        self.assertEqual(result.returncode, 0, result.stderr)
        self.assertEqual(listing(self.place.folder), before)

    def test_names_resolve_and_ports_are_free(self):
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            taken.listen()
            result = self.check(
                "events {}\nhttp { server {\n"
                f"    listen 127.0.0.1:{taken.getsockname()[1]};\n"
                "    location / { proxy_pass http://no-such-name.invalid:3000; }\n} }\n")
        self.assertEqual(result.returncode, 0, result.stderr)

    @unittest.skipIf(os.geteuid(), "for others than root user is ignored, with a warning")
    def test_users_and_groups_are_those_of_the_system(self):
        for words, reason in (("somebody-else", 'getpwnam("somebody-else") failed'),
                              ("root some-others", 'getgrnam("some-others") failed')):
            result = self.check(f"events {{}}\nuser {words};\n")
            self.assertEqual(result.returncode, 1)
            self.assertEqual(result.stderr.splitlines()[0],
                             f"nginx: [emerg] {reason} in {self.place.path('weir.conf')}:2")
        self.assertEqual(self.check("user root;\nevents {}\n").returncode, 0)

    def test_every_problem_in_one_run(self):
        result = self.check("events {}\nhttp {\n    proxy_conect_timeout 3s;\n"
                            "    server {\n        listn 80;\n        sendfile maybe;\n    }\n}\n")
        output = result.stderr + result.stdout
        self.assertEqual(result.returncode, 1)
        first = output.splitlines()[0]
        self.assertEqual(first, 'nginx: [emerg] unknown directive "proxy_conect_timeout" in '
                                f'{self.place.path("weir.conf")}:3')
        for part in ("proxy_connect_timeout", 'unknown directive "listn"', "listen",
                     'invalid value "maybe"', "sendfile maybe;", "^"):
            self.assertIn(part, output)

    def places(self, text, *options):
        """Line, column, severity and the first words of every explained problem, in order."""
        result = self.check(text, *options)
        self.assertEqual(result.returncode, 1, result.stderr)
        return re.findall(r"^\S*/(\w+\.conf):(\d+):(\d+): (\w+): (\S+ \S+)", result.stderr, re.M), result.stderr

    def test_what_is_found_after_reading_has_its_place(self):
        found, output = self.places(
            "events {}\nhttp {\n    map $uri $target { default 1; }\n    server {\n        listen 127.0.0.1:1;\n"
            "        server_name a b;\n        return 200 \"${targt} $htp_host\";\n    }\n"
            "    server { listen 127.0.0.1:1; server_name c b; }\n}\n")
        self.assertEqual(output.splitlines()[0], 'nginx: [emerg] unknown "targt" variable')
        self.assertEqual(found, [("weir.conf", "7", "21", "emerg", 'unknown "targt"'),
                                 ("weir.conf", "7", "30", "emerg", 'unknown "htp_host"'),
                                 ("weir.conf", "9", "48", "warn", "conflicting server")])
        for words in ('did you mean "$target"?', 'did you mean "$http_host"?', "the first is used, in line 6",
                      "       |                     ^~~~~~~~\n"):
            self.assertIn(words, output)

    def test_every_problem_of_included_files_and_nested_blocks(self):
        self.place.write("part.conf", "location / {\n    proxy_read_timeout 5x;\n}\nroot /a\n")
        found, output = self.places(
            "events {}\nhttp {\n    server {\n        include part.conf;\n        listen 127.0.0.1:1 defalt_server;\n"
            "    }\n    include missing.conf;\n    access_log off nothing;\n    servr {\n        foo;\n    }\n}\n")
        self.assertEqual([place[:3] for place in found], [("part.conf", "2", "24"), ("part.conf", "4", "1")])
        self.assertIn("unexpected end of file", output)
        self.place.write("part.conf", "location / {\n    proxy_read_timeout 5x;\n}\nroot /a;\n")
        found, output = self.places(
            "events {}\nhttp {\n    server {\n        include part.conf;\n        listen 127.0.0.1:1 defalt_server;\n"
            "        return 200 $defined_in_missing;\n"
            "    }\n    include missing.conf;\n    sendfile yes;\n    servr {\n        foo;\n    }\n}\n")
        self.assertEqual([place[:2] for place in found],
                         [("part.conf", "2"), ("weir.conf", "5"), ("weir.conf", "8"), ("weir.conf", "9"),
                          ("weir.conf", "10"), ("weir.conf", "11")])
        self.assertIn(f"included in {self.place.path('weir.conf')}:4", output)
        self.assertNotIn("defined_in_missing\" variable", output)

    def test_reading_goes_on_behind_what_is_broken(self):
        found, _ = self.places(
            "events {}\nhttp {\n    server {\n        listen 127.0.0.1:1;\n        return 200 \"open;\n"
            "        add_header A \"b\";\n        foo;\n        index a }\n    server { { bar; } listen 8x; };\n}\n")
        self.assertEqual([place[1:3] + place[4:] for place in found],
                         [("5", "20", 'unexpected "b"'), ("7", "9", "unknown directive"), ("8", "15", 'unexpected "}"'),
                          ("9", "14", 'unexpected "{"'), ("9", "35", 'unexpected ";"')])

    def test_a_brace_too_many_is_told_once(self):
        found, output = self.places(
            "events {}\nhttp {\n    server { listen 127.0.0.1:1; }\n}\nserver { listen 127.0.0.1:2; }\n"
            "server { listen 127.0.0.1:3; }\n}\n")
        self.assertEqual([place[1:3] + place[4:] for place in found],
                         [("5", "1", '"server" directive'), ("7", "1", 'unexpected "}"')])
        self.assertIn('one "}" too many', output)

    def test_a_file_that_cannot_be_opened_has_its_place(self):
        result = self.check("events {}\nhttp {\n    access_log no/such/folder/access.log;\n"
                            "    server { listen 127.0.0.1:1; }\n}\n")
        self.assertEqual(result.returncode, 1)
        path = self.place.path("no/such/folder/access.log")
        self.assertIn(f'nginx: [emerg] open() "{path}" failed (2: No such file or directory)\n', result.stderr)
        self.assertIn(f'{self.place.path("weir.conf")}:3:16: emerg: open() ', result.stderr)
        self.assertIn("create it, or correct the path", result.stderr)

    def test_long_statements_with_many_problems_take_no_time(self):
        before = os.times()
        result = self.check("events {}\nhttp { server {\nserver_name " + "/a root\n" * 50000 + ";\n}}\n")
        after = os.times()
        self.assertIn("has suspicious symbols", result.stderr)
        self.assertLess(after.children_user - before.children_user, 20)

    def test_json_has_the_places_too(self):
        text = "events {}\nhttp {\n    server { listen 127.0.0.1:1; return 200 $nothing; }\n}\n"
        problems = json.loads(self.check(text, "--json").stdout)
        self.assertEqual([(problem["line"], problem["column"], problem["end_column"]) for problem in problems],
                         [(3, 45, 53)])
        self.assertNotIn("nginx_line", problems[0])

    def test_pasted_ellipsis_is_explained(self):
        result = self.check("events {}\nhttp {\n    server {\n        ...\n"
                            "        location / { return 200; }\n    }\n}\n")
        self.assertEqual(result.returncode, 1)
        lines = (result.stderr + result.stdout).splitlines()
        self.assertTrue(lines[0].startswith('nginx: [emerg] '), lines[0])
        self.assertGreater(len(lines), 2)
        self.assertIn("...", "\n".join(lines[1:]))

    def test_bare_address_in_upstream_is_explained(self):
        result = self.check("events {}\nhttp {\n    upstream a {\n        192.168.3.1:3000;\n    }\n}\n")
        self.assertEqual(result.returncode, 1)
        lines = (result.stderr + result.stdout).splitlines()
        self.assertIn('"server"', "\n".join(lines[1:]))

    def test_output_to_a_closed_pipe_or_missing_file_is_no_crash(self):
        result = subprocess.run([harness.CONFCHECK, "-t", "-c", self.place.path("missing.conf")],
                                capture_output=True, text=True, check=False, timeout=harness.PATIENCE)
        self.assertEqual(result.returncode, 1)
        self.assertIn("failed (2: No such file or directory)", result.stderr)


if __name__ == "__main__":
    unittest.main()
