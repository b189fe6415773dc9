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

import confs
from services import Backend, Service, Wrong, pinned, settled_memory, processors

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "tests", "support"))
# pylint: disable=wrong-import-position
import certificates  # noqa: E402

# name: (what, requests a round, connections, size of the body, streams of HTTP/2 or None, target of the ratio)
# Small requests come on so many connections that the proxy, and not the client with its own encryption, is what
# the others wait for: a proxy that sleeps between requests pays for waking up, the more the faster it is.
# And there are so many of them that the handshakes of a round, which count too, are 4 % of its time.
REQUESTS = {
    "tls-small": ("TLS request, 128 B", 48000, 64, 128, None, 0.90),
    "tls-1m": ("TLS request, 1 MB", 200, 4, 1048576, None, 0.90),
    "tls-1m-kernel": ("TLS request, 1 MB, kernel TLS", 200, 4, 1048576, None, 0.90),
    "h2-small": ("HTTP/2 over TLS, 128 B, 16 streams", 16000, 8, 128, 16, 0.75),
    "h2-single": ("HTTP/2 over TLS, 128 B, 1 stream", 48000, 64, 128, 1, None),
    "h2-1m": ("HTTP/2 over TLS, 1 MB", 200, 4, 1048576, 1, 0.90),
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


def ask(service, count, connections, size, streams):
    """The number of good answers of a round."""
    command = ["h2load", "-n", str(count), "-c", str(connections), f"https://127.0.0.1:{service.port}/b{size}"]
    command[1:1] = ["-m", str(streams)] if streams else ["--h1"]
    out = run(command)
    found = re.search(r"status codes: (\d+) 2xx", out)
    if not found or int(found.group(1)) != count:
        raise Wrong(f"{service.name}: {found.group(0) if found else 'no answers'} of {count}")
    found = re.search(r"\((\d+)\) data", out)
    if not found or int(found.group(1)) != count * size:
        raise Wrong(f"{service.name}: {found.group(1) if found else 'no'} bytes of {count * size}")
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
            what, count, connections, size, streams, target = REQUESTS[name]
            kernel = name.endswith("-kernel")
            if kernel and not kernel_has_tls():
                print(f"{what:34} (this kernel has none)")
                continue
            services = both(True) if kernel else pair
            count = max(connections, int(count * options.scale))
            times = rounds(options, services, lambda service: ask(service, count, connections, size, streams))  # noqa: B023
            table.paired(what, "µs CPU", *times, target)
            for service in services if kernel else []:
                service.stop()
        elif name == "tls-idle":
            measure_idle(options, both, certs, table)
    for service in pair:
        service.stop()


def connect(port, context, kind):
    sock = context.wrap_socket(socket.create_connection(("127.0.0.1", port)), server_hostname="localhost")
    if kind == "http2":
        return ask_one_frame(sock)
    fields = "Connection: Upgrade\r\nUpgrade: raw\r\n" if kind == "tunnel" else ""
    path = "/tunnel/" if kind == "tunnel" else "/b128"
    sock.sendall(f"GET {path} HTTP/1.1\r\nHost: localhost\r\n{fields}\r\n".encode())
    data = sock.recv(65536)
    if b" 101 " not in data[:20] and b" 200 " not in data[:20]:
        raise Wrong(f"answered {data[:40]!r}")
    return sock


def ask_one_frame(sock):
    """One request by HTTP/2, its answer read to its end."""
    settings = bytes(3) + b"\4\0" + bytes(4)
    # :method GET, :scheme https, :path and :authority as literals that are not indexed.
    block = b"\x82\x87\x04\x05/b128\x01\x09localhost"
    head = len(block).to_bytes(3, "big") + b"\1\5" + (1).to_bytes(4, "big")
    acknowledged = bytes(3) + b"\4\1" + bytes(4)
    sock.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + settings + head + block + acknowledged)
    data, body = b"", 0
    while True:
        while len(data) < 9 or len(data) < 9 + int.from_bytes(data[:3], "big"):
            more = sock.recv(65536)
            if not more:
                raise Wrong("the connection ended inside an answer")
            data += more
        size, kind, flags = int.from_bytes(data[:3], "big"), data[3], data[4]
        data = data[9 + size:]
        if kind in (3, 7):
            raise Wrong("the answer was a reset or GOAWAY")
        if kind == 0:
            body += size
            if flags & 1:
                break
    if body != 128:
        raise Wrong(f"a body of {body} bytes")
    return sock


def measure_idle(options, both, certs, table):
    count = max(50, options.connections // 4)
    for what, kind, target in (("idle TLS keep-alive connection", "keep-alive", 0.90),
                               ("idle TLS tunnel", "tunnel", 0.40),
                               ("idle HTTP/2 connection over TLS", "http2", 0.75)):
        context = ssl.create_default_context(cafile=f"{certs}/ca.pem")
        context.set_alpn_protocols(["h2" if kind == "http2" else "http/1.1"])
        sizes = []
        for service in both():
            held = [connect(service.port, context, kind) for _ in range(count // 4)]
            before = settled_memory(service.worker())
            held += [connect(service.port, context, kind) for _ in range(count)]
            sizes.append((settled_memory(service.worker()) - before) / count)
            for sock in held:
                sock.close()
            service.stop()
        table.paired(what, "private bytes", [max(sizes[0], 1)], [sizes[1]], target)
