#!/usr/bin/python3
"""open_file_cache: what changes on disk is seen when the cache says so, as under nginx."""

import os
import unittest

import harness
from harness import get

CONF = """
events {}
http {
    access_log off;
    open_file_cache max=100;
    server {
        listen 127.0.0.1:8080;
        root html;
        location /off/ { open_file_cache off; }
        location /errors/ { open_file_cache max=10 inactive=30s; open_file_cache_errors on; }
        location /twice/ { open_file_cache max=10; open_file_cache_min_uses 2; }
        location /small/ { open_file_cache max=1; }
        location /now/ { open_file_cache max=10; open_file_cache_valid 0; }
        location /try/ { open_file_cache max=10; open_file_cache_errors on; try_files $uri /try/else; }
        location /if/ { open_file_cache max=10; open_file_cache_errors on; if (-f $request_filename) { return 200 there; } return 200 none; }
        location /folder/ { open_file_cache max=10; open_file_cache_errors on; }
        location /copied/ { sendfile on; open_file_cache max=10; }
    }
}
"""


class FileCache(harness.TestCase):
    def setUp(self):
        self.expected_errors = ("No such file",)
        self.weir = self.service(CONF)

    def put(self, name, text):
        """A new file under an old name."""
        path = self.weir.path("html/" + name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path + ".new", "w", encoding="ascii") as file:
            file.write(text)
        os.rename(path + ".new", path)

    def overwrite(self, name, text):
        with open(self.weir.path("html/" + name), "r+", encoding="ascii") as file:
            file.write(text)

    def remove(self, name):
        os.unlink(self.weir.path("html/" + name))

    def read(self, name):
        answer = get(self.weir.port(), "/" + name)
        return answer.body.decode() if answer.status == 200 else answer.status

    def test_an_open_file_stays_as_it_was(self):
        for folder in ("", "copied/"):
            self.put(folder + "a", "one")
            self.assertEqual(self.read(folder + "a"), "one")
            self.put(folder + "a", "two!")
            self.assertEqual(self.read(folder + "a"), "one")
            self.remove(folder + "a")
            self.assertEqual(self.read(folder + "a"), "one")

    def test_its_size_is_the_one_that_was_seen(self):
        self.put("b", "one")
        self.assertEqual(self.read("b"), "one")
        self.overwrite("b", "longer")
        self.assertEqual(self.read("b"), "lon")

    def test_off(self):
        self.put("off/a", "one")
        self.assertEqual(self.read("off/a"), "one")
        self.put("off/a", "two")
        self.assertEqual(self.read("off/a"), "two")

    def test_errors_are_kept_where_asked_for(self):
        for folder, later in (("", "here"), ("errors/", 404)):
            self.assertEqual(self.read(folder + "missing"), 404)
            self.put(folder + "missing", "here")
            self.assertEqual(self.read(folder + "missing"), later)

    def test_files_that_are_not_used_often_are_not_kept(self):
        self.put("twice/a", "one")
        self.assertEqual(self.read("twice/a"), "one")
        self.put("twice/a", "two")
        self.assertEqual(self.read("twice/a"), "two")
        self.put("twice/a", "three")
        self.assertEqual(self.read("twice/a"), "two")

    def test_no_more_than_max(self):
        self.put("small/a", "one")
        self.put("small/b", "other")
        self.assertEqual(self.read("small/a"), "one")
        self.assertEqual(self.read("small/b"), "other")
        self.put("small/a", "two")
        self.assertEqual(self.read("small/a"), "two")

    def test_checked_each_time_when_nothing_is_valid(self):
        self.put("now/a", "one")
        self.assertEqual(self.read("now/a"), "one")
        self.overwrite("now/a", "longer")
        self.assertEqual(self.read("now/a"), "longer")
        self.put("now/a", "two")
        self.assertEqual(self.read("now/a"), "two")
        self.remove("now/a")
        self.assertEqual(self.read("now/a"), 404)

    def test_try_files(self):
        self.put("try/else", "else")
        self.assertEqual(self.read("try/a"), "else")
        self.put("try/a", "one")
        self.assertEqual(self.read("try/a"), "else")
        self.put("try/b", "two")
        self.assertEqual(self.read("try/b"), "two")
        self.remove("try/b")
        self.assertEqual(self.read("try/b"), "two")

    def test_if(self):
        self.assertEqual(self.read("if/a"), "none")
        self.put("if/a", "one")
        self.assertEqual(self.read("if/a"), "none")

    def test_folders_and_index(self):
        self.assertEqual(self.read("folder/x/"), 404)
        self.put("folder/x/index.html", "index")
        self.assertEqual(self.read("folder/x/"), 404)
        self.put("folder/y/index.html", "index")
        self.assertEqual(self.read("folder/y/"), "index")
        self.remove("folder/y/index.html")
        self.assertEqual(self.read("folder/y/"), "index")
        self.assertEqual(self.read("folder/y"), 301)

    @harness.beyond_nginx  # whose workers are others afterwards
    def test_a_reload_forgets(self):
        self.put("c", "one")
        self.assertEqual(self.read("c"), "one")
        self.put("c", "two")
        self.weir.reload(CONF)
        self.assertEqual(self.read("c"), "two")


if __name__ == "__main__":
    unittest.main()
