#!/usr/bin/python3
"""Clients that stay with a server: `sticky`, `route=` and `drain` of upstream blocks."""

import hashlib
import unittest

import harness
from harness import beyond_nginx, close_tunnel, get, reply

CONF = """
worker_processes 2;
events {}
http {
    access_log off;
    upstream app {
        UPSTREAM
    }
    server {
        listen 127.0.0.1:8080;
        location = /version { return 200 "VERSION"; }
        location / {
            proxy_pass http://app;
            proxy_set_header Upgrade $http_upgrade;
            proxy_set_header Connection $wanted;
        }
    }
    map $http_upgrade $wanted { default upgrade; "" ""; }
}
"""
SERVERS = "server 127.0.0.1:9001%s; server 127.0.0.1:9002%s; server 127.0.0.1:9003%s;"


def sid(backend):
    return hashlib.md5(b"127.0.0.1:%d" % backend.port).hexdigest()


@beyond_nginx
class Sticky(harness.TestCase):
    def setUp(self):
        self.backends = [self.backend(name, self.answer) for name in "abc"]

    async def answer(self, request, reader, writer):
        """Its name, and the cookies that the target asks for: /set/NAME=VALUE."""
        fields = []
        folder, _, cookie = request.target[1:].partition("/")
        if folder in ("set", "classic") and cookie:
            fields.append(("Set-Cookie", cookie))
        # Who was asked: the port is that of the Host field's connection.
        port = writer.get_extra_info("sockname")[1]
        name = next(b.name for b in self.backends if b.port == port)
        writer.write(reply(name, fields=fields))

    def conf(self, upstream, version=1):
        return CONF.replace("UPSTREAM", upstream).replace("VERSION", str(version))

    def start(self, upstream, more=("", "", "")):
        self.more = more
        upstream = SERVERS % more + upstream
        self.weir = self.service(self.conf(upstream),
                                 {9001 + i: backend for i, backend in enumerate(self.backends)})

    def ask(self, target="/", cookie=None, **more):
        fields = [("Cookie", cookie)] if cookie else []
        return get(self.weir.port(), target, fields=fields, **more)

    def names(self, count=12, **more):
        return {self.ask(**more).body.decode() for _ in range(count)}

    def test_a_cookie_binds(self):
        self.start("sticky cookie srv;")
        self.assertEqual(self.names(), {"a", "b", "c"})
        for backend in self.backends:
            self.assertEqual(self.names(6, cookie=f"x=y; SRV={sid(backend)}"), {backend.name})
        answer = self.ask()
        backend = next(b for b in self.backends if b.name == answer.body.decode())
        self.assertEqual(answer.fields.get("set-cookie"), f"srv={sid(backend)}")
        # A client that knows is not told again; one that knows something else is.
        self.assertIsNone(self.ask(cookie=f"srv={sid(backend)}").fields.get("set-cookie"))
        self.assertTrue(self.ask(cookie="srv=nonsense").fields.get("set-cookie").startswith("srv="))
        self.assertEqual(self.names(cookie="srv=nonsense"), {"a", "b", "c"})

    def test_the_cookie_and_its_attributes(self):
        for words, expected in [
            ("expires=max", "; expires=Thu, 31-Dec-37 23:55:55 GMT"),
            ("domain=.$host path=/p", "; domain=.localhost; path=/p"),
            ("httponly secure samesite=lax", "; Secure; HttpOnly; SameSite=Lax"),
            ("samesite=$arg_s", "; SameSite=None"),
            ("samesite=$arg_other", "; SameSite=Strict"),
            ("samesite=$arg_missing domain=$arg_missing", ""),
        ]:
            with self.subTest(words):
                self.start(f"sticky cookie srv {words};", (" route=a", " route=b", " route=c"))
                cookie = self.ask("/?s=NONE&other=x").fields.get("set-cookie")
                self.assertRegex(cookie, "^srv=[abc](;|$)")
                self.assertEqual(cookie[5:], expected)
                self.assertIsNone(self.ask(cookie=cookie[:5]).fields.get("set-cookie"))

    def test_expires_is_put_off_with_every_answer(self):
        self.start("sticky cookie srv expires=1h;")
        answer = self.ask()
        self.assertRegex(answer.fields.get("set-cookie"),
                         r"; expires=\w{3}, \d\d-\w{3}-\d\d \d\d:\d\d:\d\d GMT$")
        again = self.ask(cookie=answer.fields.get("set-cookie").split(";")[0])
        self.assertEqual(again.body, answer.body)
        self.assertIn("; expires=", again.fields.get("set-cookie"))

    def test_a_server_that_fails_is_left(self):
        self.expected_errors = ("connect() failed", "temporarily disabled", "prematurely closed")
        self.start("sticky cookie srv;", (" route=a", " route=b", " route=c"))
        self.assertEqual(self.names(4, cookie="srv=b"), {"b"})
        self.backends[1].stop()
        answer = self.ask(cookie="srv=b")
        self.assertEqual(answer.status, 200)
        self.assertIn(answer.fields.get("set-cookie"), ("srv=a", "srv=c"))

    def test_routes(self):
        self.start("sticky route $cookie_route $arg_route;", (" route=one", " route=two", ""))
        self.assertEqual(self.names(6, cookie="route=one"), {"a"})
        self.assertEqual(self.names(6, target="/?route=two"), {"b"})
        self.assertEqual(self.names(6, target="/?route=two", cookie="route=one"), {"a"})
        self.assertEqual(self.names(6, target=f"/?route={sid(self.backends[2])}"), {"c"})
        self.assertEqual(self.names(target="/?route=three"), {"a", "b", "c"})
        self.assertIsNone(self.ask().fields.get("set-cookie"))

    def test_drain(self):
        self.start("sticky cookie srv;", (" route=a drain", " route=b", " route=c"))
        self.assertEqual(self.names(), {"b", "c"})
        self.assertEqual(self.names(4, cookie="srv=a"), {"a"})

    def test_learned_sessions_are_shared_and_outlive_a_reload(self):
        for header in ("", " header"):
            with self.subTest(header=header):
                learn = ("sticky learn create=$upstream_cookie_s lookup=$cookie_s lookup=$arg_s "
                         f"zone=sessions:64k{header}; zone app 64k;")
                self.start(learn)
                where = {}
                for session in range(6):
                    answer = self.ask(f"/set/s=v{session};path=/")
                    where[session] = answer.body
                self.assertEqual(set(where.values()), {b"a", b"b", b"c"})
                for session, name in where.items():
                    for _ in range(4):
                        self.assertEqual(self.ask(cookie=f"s=v{session}").body, name)
                    self.assertEqual(self.ask(f"/?s=v{session}").body, name)
                self.assertEqual(self.names(cookie="s=unknown"), {"a", "b", "c"})
                self.weir.reload(self.conf(SERVERS % self.more + learn, 2))
                self.assertEqual(get(self.weir.port(), "/version").body, b"2")
                for session, name in where.items():
                    self.assertEqual(self.ask(cookie=f"s=v{session}").body, name)

    def test_a_session_that_begins_with_a_tunnel(self):
        self.start("sticky learn create=$arg_s lookup=$arg_s zone=sessions:64k;")
        tunnel = self.tunnel(self.weir.port(), "/?s=t")
        home = next(b.name for b in self.backends if b.tunnels)
        self.assertEqual(self.names(6, target="/?s=t"), {home})
        close_tunnel(tunnel)

    def test_the_example(self):
        self.weir = self.service(harness.example("sticky-and-queue.conf"),
                                 {9001 + i: backend for i, backend in enumerate(self.backends)})
        answer = self.ask()
        self.assertIn(answer.body, (b"a", b"b"))
        cookie = answer.fields.get("set-cookie").split(";")[0]
        self.assertEqual(self.names(6, cookie=cookie), {answer.body.decode()})
        self.assertEqual(self.names(6), {"a", "b"})
        self.assertEqual(self.names(6, cookie="server_id=c"), {"c"})
        home = self.names(1, target="/classic/SESSIONID=12")
        self.assertEqual(self.names(6, target="/classic/", cookie="SESSIONID=12"), home)

    def test_what_is_refused(self):
        for words, message in [
            ("cookie a; sticky cookie b", '"sticky" directive is duplicate'),
            ("cookie", 'invalid number of arguments in "sticky" directive'),
            ('cookie ""', 'invalid cookie name ""'),
            ("cookie a samesite=loose", 'invalid parameter "samesite=loose"'),
            ("cookie a path=", 'invalid parameter "path="'),
            ("cookie a b", 'invalid parameter "b"'),
            ("address a", 'invalid parameter "address"'),
            ("route cookie_a", 'invalid variable name "cookie_a"'),
            ("route $", 'invalid variable name "$"'),
            ("route $nothing", 'unknown "nothing" variable'),
            ("learn create=$arg_a zone=z:1m", '"sticky learn" must have "lookup" parameter'),
            ("learn lookup=$arg_a zone=z:1m", '"sticky learn" must have "create" parameter'),
            ("learn create=$arg_a lookup=$arg_a", '"sticky learn" must have "zone" parameter'),
            ("learn create=$arg_a lookup=$arg_a zone=z:4k", 'zone "zone=z:4k" is too small'),
            ("learn create=$arg_a lookup=$arg_a zone=z:1m sync", 'invalid parameter "sync"'),
            ("learn create=$arg_a lookup=$arg_a zone=z:1m timeout=x", 'invalid parameter "timeout=x"'),
        ]:
            with self.subTest(words):
                self.assertIn(message, self.judge(f"server 127.0.0.1:9001; sticky {words};", 1))
        self.assertIn('invalid parameter "route="', self.judge("server 127.0.0.1:9001 route=;", 1))
        self.assertIn("load balancing method redefined",
                      self.judge("sticky cookie a; least_conn; server 127.0.0.1:9001;", 0))

    def judge(self, upstream, status):
        service = harness.Service(self.conf(upstream), start=False)
        self.addCleanup(lambda: service.stop(check=False))
        judged = service.run("-t")
        self.assertEqual(judged.returncode, status, judged.stderr)
        return judged.stderr


if __name__ == "__main__":
    unittest.main()
