"""Starts programs on their processors and reads what the kernel knows about them."""

import os
import resource
import signal
import socket
import subprocess
import sys
import time

sys.path.insert(0, f"{os.path.dirname(os.path.abspath(__file__))}/../../tests/support")
from watch import Watch  # noqa: E402

PATIENCE = 60
_running = []
# Thousands of connections need more descriptors than a login shell has.
resource.setrlimit(resource.RLIMIT_NOFILE, (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2)


class Wrong(Exception):
    """An answer was wrong, or something did not start: no number is worth printing."""


def processors():
    """The processor of the proxies, and that of clients and backend."""
    available = sorted(os.sched_getaffinity(0))
    return available[0], available[1 % len(available)]


def pinned(processor):
    return lambda: os.sched_setaffinity(0, {processor})


_changes = Watch()  # of the logs and pid files of all services


def wait_until(condition, what):
    """Asks again at each change there, and now and then for what no event tells of (other processes)."""
    deadline = time.monotonic() + PATIENCE
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise Wrong(f"waited in vain for {what}")
        _changes.wait(0.002)


def end_all():
    for process in _running:
        if process.poll() is None:
            process.terminate()
    for process in _running:
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        if process.stdin:
            process.stdin.close()
        if process.stdout:
            process.stdout.close()
    _running.clear()


def reserve_port():
    """A port that stays ours: bound, not listening; the service still can."""
    held = socket.socket()
    held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    held.bind(("127.0.0.1", 0))
    return held, held.getsockname()[1]


class Backend:
    def __init__(self, options, program="bench_backend"):
        self.process = subprocess.Popen([f"{options.tools}/{program}"], stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE, text=True,
                                        preexec_fn=pinned(processors()[1]))
        _running.append(self.process)
        self.port = int(self.process.stdout.readline())


class Client:
    """A load generator with open connections, waiting for work."""

    def __init__(self, options, mode, port, connections, *words, program="bench_client"):
        self.process = subprocess.Popen(
            [f"{options.tools}/{program}", mode, str(port), str(connections), *map(str, words)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
            preexec_fn=pinned(processors()[1]))
        _running.append(self.process)
        self._expect("ready")

    def _expect(self, word):
        line = self.process.stdout.readline().strip()
        if not line.startswith(word):
            raise Wrong(f"{self.process.args[1]} on port {self.process.args[2]}: {line or 'client died'}")
        return line

    def run(self, count):
        self.process.stdin.write(f"{count}\n")
        self.process.stdin.flush()
        return float(self._expect("done").split()[1])

    def end(self):
        self.process.stdin.close()
        self.process.wait()


class Service:
    """A proxy, running the configuration `make(port)` in a folder of its own."""

    def __init__(self, name, binary, folder, make):
        self.name = name
        self.binary = binary
        self.folder = os.path.join(folder, f"{name}-{os.urandom(4).hex()}")
        for part in ("logs", "temp"):
            os.makedirs(os.path.join(self.folder, part))
        _changes.add(os.path.join(self.folder, "logs"))
        self.held, self.port = reserve_port()
        self.conf = os.path.join(self.folder, "bench.conf")
        text = make(self.port)
        if os.path.basename(binary) == "nginx" and "\nstream {" in text:  # Debian's has it as a module
            text = "load_module /usr/lib/nginx/modules/ngx_stream_module.so;\n" + text
        with open(self.conf, "w", encoding="ascii") as file:
            file.write(text)
        self.process = None

    def command(self, *more):
        return [self.binary, "-p", self.folder, "-c", self.conf, "-e", "logs/error.log",
                "-g", "daemon off; pid logs/bench.pid;", *more]

    def start(self):
        self.process = subprocess.Popen(self.command(), stdin=subprocess.DEVNULL,
                                        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                                        preexec_fn=pinned(processors()[0]))
        _running.append(self.process)
        wait_until(self.accepts, f"{self.name} to listen")
        return self

    def accepts(self):
        if self.process.poll() is not None:
            with open(f"{self.folder}/logs/error.log", encoding="utf-8") as file:
                raise Wrong(f"{self.name} did not start: {file.read()}")
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0

    def workers(self):
        return children(self.process.pid)

    def worker(self):
        return wait_until(self.workers, "a worker")[0]

    def processes(self):
        return [self.process.pid, *self.workers()]

    def private_memory(self):
        return sum(private_memory(pid) for pid in self.processes())

    def cpu(self):
        """Nanoseconds of the worker so far."""
        return cpu_time(self.worker())

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(PATIENCE)
        self.held.close()


def children(pid):
    try:
        with open(f"/proc/{pid}/task/{pid}/children", encoding="ascii") as file:
            return [int(word) for word in file.read().split()]
    except OSError:
        return []


def cpu_time(pid):
    """Nanoseconds that all threads of a process have run, as far as it is not running now."""
    total = 0
    try:
        for thread in os.listdir(f"/proc/{pid}/task"):
            with open(f"/proc/{pid}/task/{thread}/schedstat", encoding="ascii") as file:
                total += int(file.read().split()[0])
    except OSError:
        pass
    return max(total, ended_threads_too(pid))


def ended_threads_too(pid):
    """The same from the coarser counters, which remember threads that have ended."""
    try:
        with open(f"/proc/{pid}/stat", encoding="ascii") as file:
            fields = file.read().rsplit(")", 1)[1].split()
    except OSError:
        return 0
    ticks = int(fields[11]) + int(fields[12])
    # One tick of doubt each: only a clear difference means that a thread has ended.
    return max(0, ticks - 2) * 1_000_000_000 // os.sysconf("SC_CLK_TCK")


def _rollup(pid, names):
    total = 0
    try:
        with open(f"/proc/{pid}/smaps_rollup", encoding="ascii") as file:
            for line in file:
                if line.startswith(names):
                    total += int(line.split()[1]) * 1024
    except OSError:
        pass
    return total


def private_memory(pid):
    return _rollup(pid, ("Private_Clean", "Private_Dirty"))


def settled_memory(pid):
    """When nothing has happened for a while: what requests and handshakes leave is freed, idle
    connections are put away (weir does so after two seconds)."""
    time.sleep(3)  # that idle time itself is measured
    return private_memory(pid)


def peak_memory(pid):
    with open(f"/proc/{pid}/status", encoding="ascii") as file:
        for line in file:
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    return 0
