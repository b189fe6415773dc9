"""HTTP/2 in the clear and gRPC: CPU time per request, call and message, and memory per connection."""

import confs
from load import both, drive
from services import Backend, Client, settled_memory

# name: (what, mode of the client, path, exchanges a round, connections, streams, target of the ratio)
LOADS = {
    "h2c-small": ("h2c request, 128 B, 16 streams", "requests", "/b128", 12000, 8, 16, 0.75),
    "h2c-single": ("h2c request, 128 B, 1 stream", "requests", "/b128", 8000, 16, 1, None),
    "h2c-100k": ("h2c request, 100 KB", "requests", "/b102400", 1500, 4, 4, 0.90),
    "grpc-unary": ("gRPC unary call, 64 B", "unary", "/bench.Echo/Unary", 6000, 8, 16, 0.35),
    "grpc-single": ("gRPC unary call, one at a time", "unary", "/bench.Echo/Unary", 4000, 16, 1, None),
    "grpc-messages": ("gRPC message on open streams", "messages", "/bench.Echo/Stream", 12000, 8, 8, 0.90),
}


def client(options, service, mode, connections, streams, path):
    return Client(options, mode, service.port, connections, streams, path, program="bench_h2_client")


def measure_http2(options, folder, table):
    wanted = [name for name in options.only.split(",") if name] or [*LOADS, "h2c-idle"]
    backend = Backend(options)
    grpc = Backend(options, "bench_h2_backend")

    def pair():
        return both(options, folder, lambda port: confs.http2(port, backend.port, grpc.port))

    services = pair()
    for name in wanted:
        if name not in LOADS:
            continue
        what, mode, path, count, connections, streams, target = LOADS[name]
        clients = [client(options, service, mode, connections, streams, path) for service in services]
        nginx, weir = drive(options, services, clients, max(connections * streams, int(count * options.scale)))
        table.paired(what, "µs CPU", nginx, weir, target)
    for service in services:
        service.stop()
    if "h2c-idle" in wanted:
        measure_idle(options, pair(), table)


def measure_idle(options, services, table):
    """Connections that have had one request."""
    sizes = []
    for service in services:
        first = client(options, service, "requests", 200, 1, "/b128")
        before = settled_memory(service.worker())
        more = client(options, service, "requests", options.connections, 1, "/b128")
        sizes.append((settled_memory(service.worker()) - before) / options.connections)
        more.end()
        first.end()
        service.stop()
    table.paired("idle HTTP/2 connection", "private bytes", [max(sizes[0], 1)], [sizes[1]], 0.75)
