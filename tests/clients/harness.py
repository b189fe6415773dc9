"""Runs weir with real clients and backends.

Each test starts its own service in its own folder, on ports that the kernel chose, so tests run side
by side. WEIR_BINARY names the program under test; it may be nginx itself, which is how the tests are
checked against the original (tests that ask for more than nginx gives are then skipped).
"""

import atexit
import ctypes
import functools
import glob
import logging
import os
import re
import resource
import shutil
import signal
import socket
import subprocess
import tempfile
import unittest

# Tests ask this module for all of it.
from http_backend import Backend, Request, reply  # noqa: F401
from http_client import (  # noqa: F401
    Answer, Connection, abort_tunnel, close_tunnel, curl, echo, get, open_tunnel, websocket)
from waiting import LOOP, PATIENCE, ROOT, changes, run, wait_until  # noqa: F401

import certificates  # (waiting put tests/support on the path)

BINARY = os.environ.get("WEIR_BINARY", "/usr/sbin/nginx")
CONFCHECK = os.environ.get("CONFCHECK_BINARY", "")
ORACLE = os.environ.get("ORACLE_BINARY", "/usr/sbin/nginx")
IS_ORACLE = os.path.basename(BINARY) == "nginx"

beyond_nginx = unittest.skipIf(IS_ORACLE, "nginx itself does not do this")


def _become_subreaper():
    # Daemons that a test starts become our children again, so that we can wait for their end.
    ctypes.CDLL(None, use_errno=True).prctl(36, 1, 0, 0, 0)


_become_subreaper()
# Backends, clients and the service need more descriptors than a login shell has.
resource.setrlimit(resource.RLIMIT_NOFILE, (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2)
logging.getLogger("asyncio").setLevel(logging.CRITICAL)


def reserve_port():
    """A port that is bound but not listening: nobody else gets it, the service can still listen."""
    held = socket.socket()
    held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    held.bind(("127.0.0.1", 0))
    return held, held.getsockname()[1]


def _listens_http2():
    held, port = reserve_port()
    with held, tempfile.TemporaryDirectory() as folder:
        os.mkdir(f"{folder}/logs")
        with open(f"{folder}/probe.conf", "w", encoding="ascii") as file:
            file.write("events {} http { access_log off; server { "
                       f"listen 127.0.0.1:{port} http2; }} }}")
        return subprocess.run([BINARY, "-t", "-p", folder, "-c", f"{folder}/probe.conf", "-e",
                               "logs/e", "-g", "pid logs/pid;"], capture_output=True,
                              check=False).returncode == 0


# Does the program speak HTTP/2 to clients?
HTTP2 = _listens_http2()
needs_http2 = unittest.skipUnless(HTTP2, "no HTTP/2 to clients in this build")


class Service:
    """weir (or nginx), running a configuration in a folder of its own.

    Ports in the text (127.0.0.1:8080) are replaced: by those of `backends`, given as {port: Backend},
    and by reserved ones for all others. `port(8080)` tells the real one.
    """

    def __init__(self, text, backends=None, files=None, options="", daemon=False, start=True):
        self.folder = tempfile.mkdtemp(prefix="weir-test-")
        os.chmod(self.folder, 0o755)
        for name in ("logs", "temp", "html"):
            os.mkdir(f"{self.folder}/{name}")
        changes.add(f"{self.folder}/logs")
        self.backends = backends or {}
        self._held = {}
        self.daemon = daemon
        self.process = None
        self.pid = None
        self.options = options
        for name, content in (files or {}).items():
            self.write(name, content)
        self.configure(text)
        if start:
            try:
                self.start()
            except BaseException:
                self.stop(check=False)
                raise

    # --- configuration

    def configure(self, text):
        """Writes the configuration; a running service does not see it before reload()."""
        text = re.sub(r"127\.0\.0\.1:(\d+)", self._replace, text)
        temp = "client_body_temp_path temp/body; proxy_temp_path temp/proxy;"
        text = re.sub(r"^http \{$", f"http {{ {temp}", text, count=1, flags=re.M)
        self.write("weir.conf", text)

    def _replace(self, match):
        return f"127.0.0.1:{self.port(int(match.group(1)))}"

    def port(self, written=8080):
        if written in self.backends:
            return self.backends[written].port
        if written not in self._held:
            self._held[written] = reserve_port()
        return self._held[written][1]

    def path(self, name):
        return f"{self.folder}/{name}"

    def write(self, name, content):
        path = self.path(name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "wb") as file:
            file.write(content.encode() if isinstance(content, str) else content)

    def read(self, name):
        try:
            with open(self.path(name), encoding="utf-8", errors="replace") as file:
                return file.read()
        except FileNotFoundError:
            return ""

    def errors(self):
        return self.read("logs/error.log")

    # --- life

    def command(self, *more):
        daemon = "on" if self.daemon else "off"
        modules = ""
        if IS_ORACLE and re.search(r"^stream \{", self.read("weir.conf"), re.M):  # Debian's has it as a module
            modules = "load_module /usr/lib/nginx/modules/ngx_stream_module.so; "
        return [BINARY, "-p", self.folder, "-c", self.path("weir.conf"), "-e", "logs/error.log",
                "-g", f"{modules}daemon {daemon}; pid logs/weir.pid; {self.options}", *more]

    def environment(self):
        environment = dict(os.environ)
        log = self.path("logs/sanitizer")
        environment["ASAN_OPTIONS"] = f"log_path={log}:detect_leaks=1:exitcode=99"
        environment["UBSAN_OPTIONS"] = f"log_path={log}:print_stacktrace=1"
        return environment

    def start(self):
        with open(self.path("logs/stderr"), "ab") as stderr:
            self.process = subprocess.Popen(self.command(), stdin=subprocess.DEVNULL, stdout=stderr,
                                            stderr=stderr, env=self.environment())
        if self.daemon:
            self.exit_code = self.process.wait(PATIENCE)
            if self.exit_code != 0:
                raise AssertionError(f"did not start: {self.read('logs/stderr')}")
            self.pid = wait_until(self._pid_file, "the pid file")
        else:
            self.pid = self.process.pid
        wait_until(self._accepting, "the service to listen")

    def _pid_file(self):
        text = self.read("logs/weir.pid").strip()
        return int(text) if text else None

    def _accepting(self):
        if not self.daemon and self.process.poll() is not None:
            raise AssertionError(f"ended with {self.process.returncode}: {self.read('logs/stderr')}"
                                 f"{self.errors()}")
        ports = re.findall(r"listen\s+127\.0\.0\.1:(\d+)(?![^;]*\budp\b)", self.read("weir.conf"))
        for port in ports:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", int(port))) != 0:
                    return False
        return self.children() or "master_process off" in self.options

    def run(self, *arguments, patience=PATIENCE):
        """Runs the program once more with this configuration: -t, -s reload."""
        return subprocess.run(self.command(*arguments), stdin=subprocess.DEVNULL, capture_output=True,
                              text=True, timeout=patience, env=self.environment(), check=False)

    def signal(self, number):
        os.kill(self.pid, number)

    def children(self):
        """Process ids of the workers."""
        try:
            with open(f"/proc/{self.pid}/task/{self.pid}/children", encoding="ascii") as file:
                return [int(pid) for pid in file.read().split()]
        except (FileNotFoundError, TypeError):
            return []

    def serving(self):
        """Workers that are not on their way out."""
        return [pid for pid in self.children() if b"shutting down" not in title(pid)]

    def reload(self, text=None):
        """Reloads, and returns when new requests get the new configuration."""
        if text is not None:
            self.configure(text)
        before = self.serving()
        result = self.run("-s", "reload")
        if result.returncode != 0:
            raise AssertionError(f"reload failed: {result.stdout}{result.stderr}")
        if IS_ORACLE:
            wait_until(lambda: self.serving() and not set(self.serving()) & set(before),
                       "new workers")
        return result

    def wait_end(self):
        if not self.daemon:
            return self.process.wait(PATIENCE)
        _, status = wait_until(lambda: [x for x in [os.waitpid(self.pid, os.WNOHANG)] if x[0]],
                               "the daemon to end")[0]
        return os.waitstatus_to_exitcode(status)

    def alive(self):
        if not self.daemon:
            return self.process is not None and self.process.poll() is None
        return self.pid is not None and os.path.exists(f"/proc/{self.pid}")

    def stop(self, check=True, expected_errors=()):
        try:
            if self.alive():
                self.signal(signal.SIGTERM)
                try:
                    code = self.wait_end()
                except (AssertionError, subprocess.TimeoutExpired):
                    for pid in self.children() + [self.pid]:
                        os.kill(pid, signal.SIGKILL)
                    raise AssertionError("did not end after SIGTERM") from None
                if check and code != 0:
                    raise AssertionError(f"ended with {code}: {self.errors()}")
            if check:
                self._check_logs(expected_errors)
        finally:
            for held, _ in self._held.values():
                held.close()
            if os.environ.get("WEIR_KEEP"):
                print("kept:", self.folder)
            else:
                shutil.rmtree(self.folder, ignore_errors=True)

    def _check_logs(self, expected_errors):
        for report in glob.glob(self.path("logs/sanitizer*")):
            raise AssertionError(f"sanitizer report: {self.read(os.path.relpath(report, self.folder))}")
        for line in self.errors().splitlines():
            bad = any(level in line for level in ("[alert]", "[emerg]", "[crit]"))
            if bad and not any(expected in line for expected in expected_errors):
                raise AssertionError(f"unexpected in the error log: {line}")

    def private_memory(self):
        """Private bytes of the master and all its workers."""
        return sum(private_memory(pid) for pid in [self.pid, *self.children()])


def title(pid):
    try:
        with open(f"/proc/{pid}/cmdline", "rb") as file:
            return file.read()
    except OSError:
        return b"shutting down"


def private_memory(pid):
    total = 0
    try:
        with open(f"/proc/{pid}/smaps_rollup", encoding="ascii") as file:
            for line in file:
                if line.startswith(("Private_Clean", "Private_Dirty")):
                    total += int(line.split()[1]) * 1024
    except OSError:
        pass
    return total


def example(name):
    with open(f"{ROOT}/conf.examples/{name}", encoding="utf-8") as file:
        return file.read()


@functools.cache
def certificates_folder():
    """tests/support/certificates.py's, made once."""
    folder = tempfile.mkdtemp(prefix="weir-certificates-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return certificates.make(folder)


def put_certificates(service):
    """As certs/ in the service's folder, readable by its workers."""
    shutil.copytree(certificates_folder(), service.path("certs"))
    os.chmod(service.path("certs"), 0o755)
    for name in os.listdir(service.path("certs")):
        os.chmod(service.path(f"certs/{name}"), 0o644)


class TestCase(unittest.TestCase):
    """Stops what it started."""

    expected_errors = ()

    def service(self, text, backends=None, **more):
        service = Service(text, backends, **more)
        self.addCleanup(lambda: service.stop(expected_errors=self.expected_errors))
        return service

    def backend(self, *arguments, **more):
        backend = Backend(*arguments, **more)
        self.addCleanup(backend.stop)
        return backend

    def tunnel(self, port, target="/", **more):
        tunnel = open_tunnel(port, target, **more)
        self.addCleanup(lambda: close_tunnel(tunnel))
        return tunnel


if __name__ == "__main__":
    unittest.main()
