"""CPU time per request, and memory per idle connection."""

import os

import confs
from services import Backend, Client, Service, private_memory

# name: (what, mode of the client, exchanges a round, connections, target of the ratio)
LOADS = {
    "small": ("request, 128 B", "requests", 12000, 16, 0.90),
    "realistic": ("request, realistic configuration", "requests", 8000, 16, 0.90),
    "100k": ("request, 100 KB", "requests", 2500, 16, 0.70),
    "1m": ("request, 1 MB", "requests", 400, 16, 0.70),
    "tunnel": ("tunnel echo, 64 B", "tunnel", 20000, 16, 0.90),
    "connect": ("request on a new connection", "connect", 5000, 16, None),
    "stream-echo": ("stream echo, 64 B", "tunnel", 20000, 16, 0.95),
    "stream-bulk": ("stream, 4 MB", "requests", 150, 4, 0.50),
    "stream-connect": ("stream session of one request", "connect", 5000, 16, 0.95),
    "stream-datagram": ("stream datagram echo, 64 B", "datagrams", 20000, 16, 0.90),
}


def both(options, folder, make):
    """nginx and weir, running the same configuration."""
    return [Service("nginx", options.nginx, folder, make).start(),
            Service("weir", options.weir, folder, make).start()]


def targets_file(folder, name, targets):
    path = os.path.join(folder, f"targets-{name}")
    with open(path, "w", encoding="ascii") as file:
        file.writelines(f"{host} {target}\n" for host, target in targets)
    return path


def measure_load(options, folder, table):
    wanted = [name for name in options.only.split(",") if name] or list(LOADS)
    backend = Backend(options)
    plain = both(options, folder, lambda port: confs.plain(port, backend.port))
    real = None
    stream = None
    for name in wanted:
        what, mode, count, connections, target = LOADS[name]
        pair = plain
        if name == "realistic":
            real = both(options, folder, lambda port: confs.realistic(port, backend.port))
            pair = real
        if name.startswith("stream-"):
            stream = stream or both(options, folder, lambda port: confs.stream(port, backend.port))
            pair = stream
        targets = targets_file(folder, name, confs.TARGETS[name])
        count = max(connections, int(count * options.scale))
        nginx, weir = rounds(options, pair, mode, targets, connections, count)
        table.paired(what, "µs CPU", nginx, weir, target)
    for service in plain + (real or []) + (stream or []):
        service.stop()


def rounds(options, pair, mode, targets, connections, count):
    clients = [Client(options, mode, service.port, connections, targets) for service in pair]
    return drive(options, pair, clients, count)


def drive(options, pair, clients, count):
    """Microseconds of CPU for each of `count` exchanges, of both, in paired rounds."""
    for client in clients:
        client.run(max(1, count // 4))  # warm
    times = ([], [])
    for number in range(options.rounds):
        # Who goes first takes turns.
        for index in ((0, 1) if number % 2 == 0 else (1, 0)):
            before = pair[index].cpu()
            clients[index].run(count)
            times[index].append((pair[index].cpu() - before) / count / 1000)
    for client in clients:
        client.end()
    return times


def measure_memory(options, folder, table):
    backend = Backend(options)
    for what, mode, name, target, conf in (
            ("idle keep-alive connection", "requests", "small", 1.0, confs.plain),
            ("idle tunnel", "tunnel", "tunnel", 0.10, confs.plain),
            ("idle stream session", "tunnel", "stream-echo", 0.15, confs.stream),
            ("idle datagram session", "datagrams", "stream-datagram", None, confs.stream)):
        targets = targets_file(folder, name, confs.TARGETS[name])
        sizes = []
        for service in both(options, folder, lambda port: conf(port, backend.port)):  # noqa: B023
            # What the first connections cost once (pools, code) is not what each costs.
            first = Client(options, mode, service.port, 200, targets)
            before = private_memory(service.worker())
            more = Client(options, mode, service.port, options.connections, targets)
            sizes.append((private_memory(service.worker()) - before) / options.connections)
            more.end()
            first.end()
            service.stop()
        table.paired(what, "private bytes", [max(sizes[0], 1)], [sizes[1]], target)
