"""Runs weir with real clients and backends.

Each test starts its own service in its own folder, on ports that the kernel chose, so tests run side
by side. WEIR_BINARY names the program under test; it may be nginx itself, which is how the tests are
checked against the original (tests that ask for more than nginx gives are then skipped).
"""

import asyncio
import atexit
import collections
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
import sys
import tempfile
import threading
import time
import unittest

import websockets
from websockets.server import ServerConnection

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
sys.path.insert(0, f"{ROOT}/tests/support")
import certificates  # noqa: E402
from watch import Watch  # noqa: E402

BINARY = os.environ.get("WEIR_BINARY", "/usr/sbin/nginx")
CONFCHECK = os.environ.get("CONFCHECK_BINARY", "")
ORACLE = os.environ.get("ORACLE_BINARY", "/usr/sbin/nginx")
IS_ORACLE = os.path.basename(BINARY) == "nginx"
# How long anything that should happen may take: sanitizers on a busy machine are slow.
PATIENCE = float(os.environ.get("WEIR_PATIENCE", "30"))

beyond_nginx = unittest.skipIf(IS_ORACLE, "nginx itself does not do this")


def _become_subreaper():
    # Daemons that a test starts become our children again, so that we can wait for their end.
    ctypes.CDLL(None, use_errno=True).prctl(36, 1, 0, 0, 0)


_become_subreaper()
# Backends, clients and the service need more descriptors than a login shell has.
resource.setrlimit(resource.RLIMIT_NOFILE, (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2)
logging.getLogger("asyncio").setLevel(logging.CRITICAL)


# In the folders of all services.
_changes = Watch()


def wait_until(condition, what="condition", patience=PATIENCE):
    """Asks again until it holds, at each change in a service's folder; now and then for what no event
    tells of (other processes)."""
    deadline = time.monotonic() + patience
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise AssertionError(f"waited {patience} s in vain for: {what}")
        _changes.wait(0.02)


# --- the loop that backends and WebSocket clients live on ------------------------------------------


class _Loop:
    def __init__(self):
        self.loop = asyncio.new_event_loop()
        threading.Thread(target=self.loop.run_forever, daemon=True).start()

    def run(self, coroutine, patience=PATIENCE * 2):
        return asyncio.run_coroutine_threadsafe(coroutine, self.loop).result(patience)


LOOP = _Loop()


def run(coroutine, patience=PATIENCE * 2):
    """Runs a coroutine of the test on the shared loop and returns its result."""
    return LOOP.run(coroutine, patience)


# --- backends ---------------------------------------------------------------------------------------


class Request:
    """What a backend got."""

    def __init__(self, head, body=b""):
        self.head = head
        self.body = body
        lines = head.decode("latin-1").split("\r\n")
        self.line = lines[0]
        self.method, self.target, self.version = self.line.split(" ", 2)
        self.fields = []
        for line in lines[1:]:
            if line:
                name, _, value = line.partition(":")
                self.fields.append((name, value.strip()))

    def all(self, name):
        return [value for field, value in self.fields if field.lower() == name.lower()]

    def get(self, name):
        values = self.all(name)
        return ", ".join(values) if values else None


def reply(body=b"", status="200 OK", fields=(), close=False):
    """The bytes of an answer."""
    if isinstance(body, str):
        body = body.encode()
    head = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}"]
    head += [f"{name}: {value}" for name, value in fields]
    if close:
        head.append("Connection: close")
    return "\r\n".join(head).encode() + b"\r\n\r\n" + body


class Backend:
    """An HTTP/1.1 server that echoes WebSocket messages and keeps what it was asked.

    `answer`, a coroutine (request, reader, writer), writes the answer to an ordinary request; it
    returns False to end the connection. Without it the answer is 200 with the backend's name.
    """

    def __init__(self, name="backend", answer=None, websocket=True):
        self.name = name
        self.answer = answer
        self.websocket = websocket
        self.requests = []
        self.connections = 0
        self.tunnels = 0
        self.messages = []
        self._writers = set()
        self._seen = threading.Condition()
        self._server = run(self._start())
        self.port = self._server.sockets[0].getsockname()[1]

    async def _start(self):
        return await asyncio.start_server(self._serve, "127.0.0.1", 0, backlog=1024)

    async def _serve(self, reader, writer):
        self.connections += 1
        self._writers.add(writer)
        try:
            while await self._exchange(reader, writer):
                pass
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass
        finally:
            self._writers.discard(writer)
            writer.close()

    async def _exchange(self, reader, writer):
        try:
            head = await reader.readuntil(b"\r\n\r\n")
        except asyncio.IncompleteReadError:
            return False
        request = Request(head[:-4])
        request.body = await self._body(request, reader)
        with self._seen:
            self.requests.append(request)
            self._seen.notify_all()
        wants_upgrade = (request.get("Upgrade") or "").lower() == "websocket"
        if self.websocket and wants_upgrade and "upgrade" in (request.get("Connection") or "").lower():
            await self._tunnel(head, reader, writer)
            return False
        if self.answer:
            more = await self.answer(request, reader, writer)
        else:
            writer.write(reply(f"{self.name}\n", fields=[("Content-Type", "text/plain")]))
            more = True
        await writer.drain()
        close = (request.get("Connection") or "").lower() == "close" or request.version == "HTTP/1.0"
        return more is not False and not close

    async def _body(self, request, reader):
        if "chunked" in (request.get("Transfer-Encoding") or "").lower():
            body = b""
            while True:
                size = int((await reader.readline()).split(b";")[0], 16)
                body += await reader.readexactly(size)
                await reader.readline()
                if size == 0:
                    return body
        return await reader.readexactly(int(request.get("Content-Length") or 0))

    async def _tunnel(self, head, reader, writer):
        self.tunnels += 1
        protocol = ServerConnection()
        protocol.receive_data(head)
        while True:
            for event in protocol.events_received():
                if hasattr(event, "headers"):
                    protocol.send_response(protocol.accept(event))
                elif event.opcode in (1, 2):
                    self.messages.append(event.data)
                    send = protocol.send_text if event.opcode == 1 else protocol.send_binary
                    send(event.data)
            for data in protocol.data_to_send():
                if not data:
                    return
                writer.write(data)
            await writer.drain()
            data = await reader.read(65536)
            if not data:
                protocol.receive_eof()
                return
            protocol.receive_data(data)

    def wait_requests(self, count, patience=PATIENCE):
        with self._seen:
            if not self._seen.wait_for(lambda: len(self.requests) >= count, patience):
                raise AssertionError(f"{self.name} got {len(self.requests)} requests, not {count}")
            return self.requests[:count]

    def last(self):
        return self.requests[-1]

    def open_connections(self):
        return len(self._writers)

    def stop(self):
        async def end():
            self._server.close()
            for writer in list(self._writers):
                writer.transport.abort()

        run(end())


# --- the service ------------------------------------------------------------------------------------


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
        _changes.add(f"{self.folder}/logs")
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


# --- clients ----------------------------------------------------------------------------------------

Answer = collections.namedtuple("Answer", "status fields body")


class Connection:
    """A raw client connection that reads whole HTTP/1.1 answers."""

    def __init__(self, port, address="127.0.0.1"):
        self.socket = socket.create_connection((address, port), timeout=PATIENCE)
        self.buffer = b""

    def send(self, data):
        self.socket.sendall(data.encode("latin-1") if isinstance(data, str) else data)

    def get(self, target="/", host="localhost", fields=(), method="GET", body=b""):
        head = [f"{method} {target} HTTP/1.1", f"Host: {host}"]
        if body:
            head.append(f"Content-Length: {len(body)}")
        head += [f"{name}: {value}" for name, value in fields]
        self.send("\r\n".join(head) + "\r\n\r\n")
        self.send(body)
        return self.answer(method)

    def _more(self):
        data = self.socket.recv(65536)
        self.buffer += data
        return bool(data)

    def read_until(self, mark):
        while mark not in self.buffer:
            if not self._more():
                raise AssertionError(f"connection ended after {self.buffer!r}")
        taken, _, self.buffer = self.buffer.partition(mark)
        return taken

    def read(self, count):
        while len(self.buffer) < count:
            if not self._more():
                raise AssertionError(f"connection ended after {self.buffer!r}")
        taken, self.buffer = self.buffer[:count], self.buffer[count:]
        return taken

    def rest(self):
        while self._more():
            pass
        taken, self.buffer = self.buffer, b""
        return taken

    def answer(self, method="GET"):
        lines = self.read_until(b"\r\n\r\n").decode("latin-1").split("\r\n")
        status = int(lines[0].split(" ")[1])
        fields = [tuple(part.strip() for part in line.split(":", 1)) for line in lines[1:]]
        values = {name.lower(): value for name, value in fields}
        if method == "HEAD" or status in (101, 204, 304):
            body = b""
        elif values.get("transfer-encoding") == "chunked":
            body = b""
            while True:
                size = int(self.read_until(b"\r\n"), 16)
                body += self.read(size)
                self.read(2)
                if size == 0:
                    break
        elif "content-length" in values:
            body = self.read(int(values["content-length"]))
        else:
            body = self.rest()
        return Answer(status, values, body)

    def ended(self):
        """True when the peer closes within our patience, without sending more."""
        try:
            return self.buffer == b"" and self.socket.recv(1) == b""
        except ConnectionResetError:
            return True

    def close(self):
        self.socket.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


def get(port, target="/", **more):
    """One request on a connection of its own."""
    fields = list(more.pop("fields", ())) + [("Connection", "close")]
    with Connection(port) as connection:
        return connection.get(target, fields=fields, **more)


def curl(*arguments):
    """Runs curl; returns status, fields and body of the last answer."""
    result = subprocess.run(["curl", "-sS", "-i", "--max-time", str(PATIENCE), *arguments],
                            capture_output=True, check=False)
    if result.returncode != 0:
        raise AssertionError(f"curl ended with {result.returncode}: {result.stderr.decode()}")
    head, body = b"", result.stdout
    while not head or head.split(b" ")[1].startswith(b"1"):
        head, _, body = body.partition(b"\r\n\r\n")
    lines = head.decode("latin-1").split("\r\n")
    fields = [tuple(part.strip() for part in line.split(":", 1)) for line in lines[1:]]
    return Answer(int(lines[0].split(" ")[1]), {name.lower(): value for name, value in fields}, body)


def websocket(port, target="/", host="127.0.0.1", **more):
    """A WebSocket client of Python's websockets; `host` is what its Host header says."""
    more.setdefault("ping_interval", None)
    more.setdefault("close_timeout", PATIENCE)
    more.setdefault("open_timeout", PATIENCE)
    return websockets.connect(f"ws://{host}{target}", host="127.0.0.1", port=port, **more)


def open_tunnel(port, target="/", **more):
    """Opens a WebSocket on the shared loop and leaves it open."""
    async def connect():
        return await websocket(port, target, **more)

    return run(connect())


def echo(tunnel, message="hello"):
    """True when the message comes back through the tunnel."""
    async def both():
        await tunnel.send(message)
        return await asyncio.wait_for(tunnel.recv(), PATIENCE) == message

    return run(both())


def close_tunnel(tunnel):
    run(tunnel.close())


def abort_tunnel(tunnel):
    """Ends the client's side at once, with a reset."""
    async def abort():
        tunnel.transport.abort()

    run(abort())


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
