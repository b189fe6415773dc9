"""What the tests of health checks share: backends that are asked, and a configuration."""

import asyncio
import re
import tempfile

import harness
from harness import get, reply, wait_until
from own_certificates import issue, pem
from tls_backend import TlsBackend

CONF = """
worker_processes %(workers)s;
error_log logs/error.log info;
events {}
http {
    access_log logs/access.log;
    proxy_connect_timeout 5s;
    proxy_read_timeout 5s;
    upstream app { zone app 128k; server 127.0.0.1:9001; server 127.0.0.1:9002; %(upstream)s }
    %(http)s
    server {
        listen 127.0.0.1:8080;
        location = /version { return 200 "%(version)s"; }
        location / {
            add_header X-Peer $upstream_addr;
            %(location)s
            proxy_pass http://app;
            health_check %(check)s;
        }
    }
}
"""


class Checked(harness.Backend):
    """Answers checks (of /health) with `health` and counts them apart."""

    def __init__(self, name, health=b""):
        self.health = health or reply("fine")
        self.checks = []
        super().__init__(name, self._answer)

    async def _answer(self, request, reader, writer):
        if not request.target.startswith("/health"):
            writer.write(reply(self.name))
            return True
        self.checks.append(request)
        health = self.health
        if isinstance(health, asyncio.Event):
            await health.wait()
            health = reply("fine")
        writer.write(health)
        return bool(health)

    def wait_checks(self, more=1):
        count = len(self.checks) + more
        wait_until(lambda: len(self.checks) >= count, f"{count} checks of {self.name}")


BAD = reply("ill", "500 Internal Server Error")


class HealthCase(harness.TestCase):
    def checked(self, name, health=b""):
        backend = Checked(name, health)
        self.addCleanup(backend.stop)
        return backend

    def setUp(self):
        self.expected_errors = ("locked by",)
        self.one = self.checked("one")
        self.two = self.checked("two")

    def conf(self, check="interval=100ms uri=/health", workers=2, version=1, **parts):
        values = {"upstream": "", "http": "", "location": "", "check": check, "workers": workers,
                  "version": version}
        values.update(parts)
        return CONF % values

    def start(self, *arguments, backends=None, **more):
        return self.service(self.conf(*arguments, **more),
                            backends or {9001: self.one, 9002: self.two})

    def served_by(self, service, count=12):
        """Which backends serve requests; a number: a status other than 200."""
        answers = [get(service.port(), "/") for _ in range(count)]
        return {a.body.decode() if a.status == 200 else a.status for a in answers}

    def tls_backend(self):
        with tempfile.TemporaryDirectory() as folder:
            for name, text in zip(("crt", "key"), pem(issue("good.example"))):
                with open(f"{folder}/{name}", "wb") as file:
                    file.write(text)
            backend = TlsBackend((f"{folder}/crt", f"{folder}/key"))
        self.addCleanup(backend.stop)
        return backend

    def wait_served(self, service, wanted):
        wait_until(lambda: self.served_by(service) == wanted, f"{wanted} to serve")

    def wait_log(self, service, pattern, count=1):
        try:
            wait_until(lambda: len(re.findall(pattern, service.errors())) >= count, f"{count} of {pattern}")
        except AssertionError as error:
            raise AssertionError(f"{error}, in {service.errors()[-3000:]}") from None
