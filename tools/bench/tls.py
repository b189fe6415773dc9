"""TLS: CPU time of handshakes and requests, and memory per idle connection.

Needs the openssl tool and h2load (nghttp2-client).
"""

import os
import re
import shutil
import socket
import ssl
import subprocess
import sys
import time

import confs
from services import Backend, Service, Wrong, pinned, private_memory, processors

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "tests", "support"))
# pylint: disable=wrong-import-position
import certificates  # noqa: E402

# name: (what, requests a round, connections, path, HTTP/2?, target of the ratio)
REQUESTS = {
    "tls-small": ("TLS request, 128 B", 8000, 16, "/b128", False, 0.90),
    "tls-1m": ("TLS request, 1 MB", 200, 4, "/b1048576", False, 0.90),
    "tls-1m-kernel": ("TLS request, 1 MB, kernel TLS", 200, 4, "/b1048576", False, 0.90),
    "h2-small": ("HTTP/2 request, 128 B", 8000, 16, "/b128", True, 0.75),
}
# name: (what, arguments of s_time, target)
HANDSHAKES = {
    "tls-full": ("TLS handshake, full", ["-new", "-tls1_3"], 1.0),
    "tls-resumed": ("TLS handshake, resumed", ["-reuse", "-tls1_2"], 1.0),
}


def kernel_has_tls():
    """TCP_ULP "tls" on a connected socket."""
    with socket.socket() as listener, socket.socket() as client:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        client.connect(listener.getsockname())
        try:
            client.setsockopt(socket.IPPROTO_TCP, 31, b"tls")
            return True
        except OSError:
            return False


def run(command):
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False,
                          preexec_fn=pinned(processors()[1]))
    if done.returncode != 0:
        raise Wrong(f"{' '.join(command)}: {done.stdout[-300:]}{done.stderr[-300:]}")
    return done.stdout


def ask(service, count, connections, path, http2):
    """The number of good answers of a round."""
    command = ["h2load", "-n", str(count), "-c", str(connections), f"https://127.0.0.1:{service.port}{path}"]
    if not http2:
        command.insert(1, "--h1")
    found = re.search(r"status codes: (\d+) 2xx", run(command))
    if not found or int(found.group(1)) != count:
        raise Wrong(f"{service.name}: {found.group(0) if found else 'no answers'} of {count}")
    return count


def shake_hands(service, words, seconds):
    out = run(["openssl", "s_time", "-connect", f"127.0.0.1:{service.port}", "-time", str(seconds), *words])
    return int(re.search(r"(\d+) connections in \d+ real seconds", out).group(1))


def rounds(options, pair, load):
    """Microseconds of CPU for each thing that `load` counts, of both, in paired rounds."""
    times = ([], [])
    for service in pair:
        load(service)  # warm
    for number in range(options.rounds):
        for index in ((0, 1) if number % 2 == 0 else (1, 0)):
            before = pair[index].cpu()
            count = load(pair[index])
            times[index].append((pair[index].cpu() - before) / count / 1000)
    return times


def measure_tls(options, folder, table):
    for program in ("h2load", "openssl"):
        if not shutil.which(program):
            raise Wrong(f"{program} is missing")
    wanted = [name for name in options.only.split(",") if name] or [*HANDSHAKES, *REQUESTS, "tls-idle"]
    certs = certificates.make(os.path.join(folder, "certs"))
    os.chmod(certs, 0o755)
    backend = Backend(options)

    def both(kernel=False):
        return [Service(name, binary, folder,
                        lambda port: confs.tls(port, backend.port, certs, kernel, name == "weir")).start()  # noqa: B023
                for name, binary in (("nginx", options.nginx), ("weir", options.weir))]

    pair = both()
    for name in wanted:
        if name in HANDSHAKES:
            what, words, target = HANDSHAKES[name]
            seconds = 1 if options.scale < 1 else 2
            times = rounds(options, pair, lambda service: shake_hands(service, words, seconds))  # noqa: B023
            table.paired(what, "µs CPU", *times, target)
        elif name in REQUESTS:
            what, count, connections, path, http2, target = REQUESTS[name]
            kernel = name.endswith("-kernel")
            if kernel and not kernel_has_tls():
                print(f"{what:34} (this kernel has none)")
                continue
            services = both(True) if kernel else pair
            count = max(connections, int(count * options.scale))
            times = rounds(options, services, lambda service: ask(service, count, connections, path, http2))  # noqa: B023
            table.paired(what, "µs CPU", *times, target)
            for service in services if kernel else []:
                service.stop()
        elif name == "tls-idle":
            measure_idle(options, both, certs, table)
    for service in pair:
        service.stop()


def connect(port, context, upgrade):
    sock = context.wrap_socket(socket.create_connection(("127.0.0.1", port)), server_hostname="localhost")
    fields = "Connection: Upgrade\r\nUpgrade: raw\r\n" if upgrade else ""
    path = "/tunnel/" if upgrade else "/b128"
    sock.sendall(f"GET {path} HTTP/1.1\r\nHost: localhost\r\n{fields}\r\n".encode())
    data = sock.recv(65536)
    if b" 101 " not in data[:20] and b" 200 " not in data[:20]:
        raise Wrong(f"answered {data[:40]!r}")
    return sock


def measure_idle(options, both, certs, table):
    context = ssl.create_default_context(cafile=f"{certs}/ca.pem")
    count = max(50, options.connections // 10)
    for what, upgrade, target in (("idle TLS keep-alive connection", False, 0.90),
                                  ("idle TLS tunnel", True, 0.40)):
        sizes = []
        for service in both():
            held = [connect(service.port, context, upgrade) for _ in range(count // 4)]
            time.sleep(0.3)  # what the last handshakes leave is freed
            before = private_memory(service.worker())
            held += [connect(service.port, context, upgrade) for _ in range(count)]
            time.sleep(0.3)
            sizes.append((private_memory(service.worker()) - before) / count)
            for sock in held:
                sock.close()
            service.stop()
        table.paired(what, "private bytes", [max(sizes[0], 1)], [sizes[1]], target)
