"""One server under test with everything around it: folder, ports, backends, logs."""

import gzip
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time

from . import backend, client, dns, http, secure

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))) + "/support")
from watch import Watch  # noqa: E402

PLACEHOLDER = re.compile(r"%%([A-Za-z]+)(?:_([A-Za-z0-9_]+))?%%")
MTIME = 1_000_000_000  # 2001-09-09 01:46:40 UTC, for every file: the same Last-Modified and ETag on both sides
LEVELS = ["debug", "info", "notice", "warn", "error", "crit", "alert", "emerg"]
ERROR_LINE = re.compile(rb"^\d{4}/\d\d/\d\d \d\d:\d\d:\d\d \[(\w+)\] \d+#\d+: (?:\*\d+ )?(.*)$")

HEAD = """daemon off;
worker_processes 1;
pid %%PREFIX%%/pid;
error_log %%PREFIX%%/logs/error.log info;
{main}
events {{
    worker_connections 128;
{events}}}
"""
STREAM = """stream {{
    log_format harness '$protocol $status $bytes_received/$bytes_sent';
    access_log %%PREFIX%%/logs/stream.log harness;
{stream}}}
"""
STREAM_MODULE = "/usr/lib/nginx/modules/ngx_stream_module.so"
HTTP = """http {{
    log_format harness '$request_method "$request" $status $body_bytes_sent/$bytes_sent <$request_length';
    access_log %%PREFIX%%/logs/access.log harness;
    client_body_temp_path %%PREFIX%%/temp/body;
    proxy_temp_path %%PREFIX%%/temp/proxy;
{http}}}
"""


def of_requests(text):
    """Below `warn`, only what is said about a request counts: process news and closed idle connections do not."""
    is_said = b", client: " in text or b", udp client: " in text or b", bytes from/to client:" in text
    return 0 if is_said else LEVELS.index("warn")


class StartError(Exception):
    pass


def reserve():
    """A port of the kernel's choice, kept from others: bound but not listening, so that a server may still bind it."""
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    sock.bind(("0.0.0.0", 0))
    return sock


class Side:
    def __init__(self, label, binary, case, folder):
        self.label = label
        self.binary = binary
        self.case = case
        self.prefix = folder
        self.signals = backend.Signals()
        self.record = backend.Record()
        self.ports = {}
        self.holders = []
        self.backends = []
        self.syslogs = {}
        self.name_servers = []
        self.process = None
        self.seen = {}
        self.client_ports = []
        self.error_offset = 0
        self.watch = None
        self.output = b""
        self.times = {}

    # world

    def port(self, name):
        if name not in self.ports:
            holder = reserve()
            self.holders.append(holder)
            self.ports[name] = holder.getsockname()[1]
        return self.ports[name]

    def fill(self, text):
        def one(match):
            kind, name = match.group(1), match.group(2)
            if kind == "PREFIX":
                return self.prefix
            if kind in ("PORT", "BACKEND", "DEAD"):
                port = str(self.port(name))
                return port if kind == "PORT" else "127.0.0.1:" + port
            if kind == "SYSLOG":
                return f"{self.prefix}/{name}.syslog"
            raise ValueError(f"unknown placeholder {match.group(0)}")

        return PLACEHOLDER.sub(one, text)

    def fill_in(self, data):
        if b"%%" not in data:
            return data
        return self.fill(data.decode("latin-1")).encode("latin-1")

    def address(self, where):
        """`a` is port a on 127.0.0.1; `::1 a` another address; `unix:NAME` a socket in the prefix."""
        if where is None:
            if "a" not in self.ports:
                raise ValueError("no port a: say @connect")
            return ("127.0.0.1", self.ports["a"])
        if where.startswith("unix:"):
            return f"{self.prefix}/{where[5:]}"
        host, _, name = where.rpartition(" ")
        return (host or "127.0.0.1", self.port(name))

    def build(self):
        for folder in ("logs", "temp", "html"):
            os.makedirs(f"{self.prefix}/{folder}")
        if self.case.certificates:
            shutil.copytree(secure.folder(), f"{self.prefix}/certs")
        for kind, path, content in self.case.files:
            self.make(kind, f"{self.prefix}/{path}", content)
        for name, (kind, lines) in self.case.backends.items():
            make = backend.DatagramBackend if kind == "udp" else backend.Backend
            server = make(name, kind, f"{self.prefix}/{name}.sock", self.signals, self.record)
            self.backends.append(server)
            if server.port:
                self.ports[name] = server.port
        for server in self.backends:  # their scripts may name any port
            server.start([self.fill(line) for line in self.case.backends[server.name][1]])
        for name in self.case.dead:
            self.port(name)
        for name, lines in self.case.dns.items():
            server = dns.Server()
            self.ports[name] = server.port
            self.name_servers.append(server)
            server.start([self.fill(line) for line in lines])
        for name in self.case.syslogs:
            sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
            sock.bind(f"{self.prefix}/{name}.syslog")
            os.chmod(f"{self.prefix}/{name}.syslog", 0o777)
            sock.setblocking(False)
            self.syslogs[name] = sock
        user = "user root;\n" if os.geteuid() == 0 else ""
        text = HEAD.format(main=user + self.case.main, events=self.case.events)
        if self.case.config is not None:
            text = self.case.config
        else:
            if self.case.http is not None:
                text += HTTP.format(http=self.case.http)
            if self.case.stream is not None:
                text += STREAM.format(stream=self.case.stream)
        is_stream = self.case.stream is not None or re.search(r"^stream\b", text, re.M)
        if is_stream and os.path.basename(self.binary) == "nginx":  # Debian's has it as a module
            text = f"load_module {STREAM_MODULE};\n" + text
        with open(f"{self.prefix}/nginx.conf", "w", encoding="latin-1") as file:
            file.write(self.fill(text))

    def make(self, kind, path, content):
        os.makedirs(os.path.dirname(path), exist_ok=True)
        if kind == "dir":
            os.makedirs(path, exist_ok=True)
        elif kind == "link":
            os.symlink(content, path)
            return
        elif kind == "big":
            with open(path, "wb") as file:
                file.write((b"0123456789abcde\n" * (content // 16 + 1))[:content])
        else:
            with open(path, "wb") as file:
                file.write(self.fill(content).encode("latin-1"))
        os.utime(path, (MTIME, MTIME))

    # process

    def start(self):
        self.build()
        error_log = f"{self.prefix}/logs/error.log"
        self.watch = Watch(*(folder for folder, _, _ in os.walk(self.prefix)))
        self.process = subprocess.Popen(
            [self.binary, "-c", f"{self.prefix}/nginx.conf", "-p", self.prefix + "/", "-e", error_log],
            stdin=subprocess.DEVNULL, stdout=open(f"{self.prefix}/output", "wb"), stderr=subprocess.STDOUT)
        if self.wait_ready(time.monotonic() + 15):
            return
        with open(f"{self.prefix}/output", "rb") as file:
            self.output = file.read()
        raise StartError(self.output.decode("latin-1") or "it never listened")

    def wait_ready(self, deadline):
        while time.monotonic() < deadline:
            if self.process.poll() is not None:
                return False
            if os.path.exists(f"{self.prefix}/pid"):
                if self.listening():
                    return True
                self.watch.wait(0.004)  # no event tells of a listening socket
            else:
                self.watch.wait(0.1)
        return False

    def listening(self):
        """The configuration's ports are looked up in the kernel's table, so that no probe shows up in a log."""
        wanted = {self.ports[name] for name in self.ports if name.startswith("a")}
        datagrams = {self.ports[name] for name in self.ports if name.startswith("u")}
        if datagrams:
            bound = set()
            for table in ("/proc/net/udp", "/proc/net/udp6"):
                with open(table, encoding="ascii") as file:
                    bound.update(int(line.split()[1].rsplit(":", 1)[1], 16) for line in file.readlines()[1:])
            if not datagrams <= bound:
                return False
        if not wanted:
            return True
        open_ports = set()
        for table in ("/proc/net/tcp", "/proc/net/tcp6"):
            with open(table, encoding="ascii") as file:
                for line in file.readlines()[1:]:
                    words = line.split()
                    if words[3] == "0A":
                        open_ports.add(int(words[1].rsplit(":", 1)[1], 16))
        return wanted <= open_ports

    def quit(self):
        """A graceful end; everything buffered is written by then."""
        if self.process is None or self.process.poll() is not None:
            return "exited before it was told to" if self.process else None
        self.process.send_signal(signal.SIGQUIT)
        try:
            self.process.wait(8)
            return None
        except subprocess.TimeoutExpired:
            self.process.terminate()
            try:
                self.process.wait(3)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
            return "did not quit gracefully within 8 s"

    def clean(self):
        if self.process and self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        for server in self.backends:
            server.stop()
            server.finish()
        for holder in self.holders:
            holder.close()
        for sock in self.syslogs.values():
            sock.close()
        for server in self.name_servers:
            server.stop()
        if self.watch:
            self.watch.close()

    def remove(self):
        shutil.rmtree(self.prefix, ignore_errors=True)

    # observation

    def run(self, request):
        worker = client.Client(self)
        begin = time.monotonic()
        worker.run(request.steps)
        self.times[request.name] = time.monotonic() - begin
        self.client_ports = worker.local_ports
        answers = worker.finals if self.case.stream is None else len(worker.opened)
        expected = request.lines if request.lines is not None else answers
        if self.case.logs_on_exit:
            expected = 0
        logs = self.logs(expected)
        self.record.wait_settled(0.6)
        return self.observation(b"".join(worker.out), logs)

    def observation(self, client_bytes, logs):
        raw = {
            "client": client_bytes,
            "backend": b"".join(part if part.endswith(b"\n") else part + b"\n" for part in self.record.drain()),
            "log": logs,
            "error": self.errors(),
        }
        return {part: self.normalise(data) for part, data in raw.items()}

    def logs(self, expected):
        """New lines of every log but the error log; waits until there are as many as there were answers."""
        deadline = time.monotonic() + 0.6
        before = -1
        while True:
            found, count = self.new_lines()
            if (count >= expected and count == before) or time.monotonic() > deadline:
                break  # enough, and nothing came since the last look: several logs are written one after the other
            before = count
            # A log in a folder that the server made just now is not watched.
            self.watch.wait(0.003 if count >= expected else 0.05)
        out = b""
        for name, (offset, text) in sorted(found.items()):
            self.seen[name] = offset
            prefix = b"" if name == "access.log" else name.encode() + b": "
            out += b"".join(prefix + line + b"\n" for line in text.splitlines())
        for name, sock in sorted(self.syslogs.items()):
            while True:
                try:
                    out += f"syslog {name}: ".encode() + sock.recv(65536) + b"\n"
                except BlockingIOError:
                    break
        return out

    def new_lines(self):
        found = {}
        count = 0
        for folder, _, names in os.walk(f"{self.prefix}/logs"):
            for name in names:
                path = os.path.join(folder, name)
                name = os.path.relpath(path, f"{self.prefix}/logs")
                if name.startswith("error"):
                    continue
                size = os.path.getsize(path)
                offset = self.seen.get(name, 0)
                if size <= offset:
                    continue
                with open(path, "rb") as file:
                    file.seek(offset)
                    text = file.read(size - offset)
                if name.endswith(".gz"):
                    if self.process.poll() is None:
                        continue
                    text = gzip.decompress(text)
                found[name] = (size, text)
                count += text.count(b"\n")
        return found, count

    def errors(self):
        try:
            with open(f"{self.prefix}/logs/error.log", "rb") as file:
                file.seek(self.error_offset)
                text = file.read()
        except FileNotFoundError:
            return b""
        end = text.rfind(b"\n") + 1
        self.error_offset += end
        lowest = LEVELS.index(self.case.error_level or "alert")
        out = b""
        taken = True
        for line in text[:end].splitlines():
            match = ERROR_LINE.match(line)
            if not match:  # goes on with the line before
                out += line + b"\n" if taken else b""
                continue
            taken = LEVELS.index(match.group(1).decode()) >= max(lowest, of_requests(match.group(2)))
            if taken:
                out += b"[" + match.group(1) + b"] " + match.group(2) + b"\n"
        return out

    def normalise(self, data):
        data = data.replace(self.prefix.encode(), b"%%PREFIX%%")
        for name, port in self.ports.items():
            data = re.sub(rb"(?<!\d)%d(?!\d)" % port, b"%%%%PORT_%s%%%%" % name.encode(), data)
        for index, port in enumerate(self.client_ports):
            data = re.sub(rb"(?<!\d)%d(?!\d)" % port, b"%%%%CLIENT_%d%%%%" % index, data)
        data = re.sub(rb"^([Dd]ate: )\w{3}, \d\d \w{3} \d{4} \d\d:\d\d:\d\d GMT(?=\r?$)", rb"\1%%DATE%%", data, flags=re.M)
        data = re.sub(rb"nginx/1\.\d+\.\d+", b"nginx/%%VERSION%%", data)
        for boundary in set(re.findall(rb"multipart/byteranges; boundary=(\w+)", data)):
            data = data.replace(boundary, b"%%BOUNDARY%%")
        for pattern, replacement in self.case.normalise:
            data = pattern.sub(replacement, data)
        return http.shorten(data)
