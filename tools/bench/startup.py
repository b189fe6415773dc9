"""What a large configuration costs at startup, and what reloads leave behind."""

import os
import re
import subprocess
import time

import confs
from load import targets_file
from services import (Backend, Client, Service, Wrong, cpu_time, peak_memory, pinned, reserve_port,
                      processors, wait_until)


def wait4(command, **more):
    """CPU seconds and peak memory of a program that ends by itself."""
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                               stderr=subprocess.PIPE, preexec_fn=pinned(processors()[0]), **more)
    errors = process.stderr.read()
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    process.stderr.close()
    if process.returncode != 0:
        raise Wrong(f"{command[0]} -t: {errors.decode()[:500]}")
    return usage.ru_utime + usage.ru_stime, usage.ru_maxrss * 1024


def measure_startup(options, folder, table):
    backend = Backend(options)
    pair = [Service(name, binary, folder,
                    lambda port: confs.many_servers(port, backend.port, options.servers))
            for name, binary in (("nginx", options.nginx), ("weir", options.weir))]
    times, peaks = ([], []), ([], [])
    for _ in range(min(3, options.rounds)):
        for index, service in enumerate(pair):
            cpu, peak = wait4(service.command("-t", "-q"))
            times[index].append(max(cpu, 0.001))
            peaks[index].append(peak)
    what = f"{options.servers} servers of 10 locations"
    # Startup cannot be told apart from noise when there is next to nothing to start.
    judged = options.servers >= 1000
    table.paired(f"-t: {what}", "s CPU", *times, 1.0 if judged else None)
    table.paired(f"-t: {what}", "peak bytes", *peaks, 0.5 if judged else None)
    first, walls, peaks = ([], []), ([], []), ([], [])
    for _ in range(min(3, options.rounds)):
        for index, service in enumerate(pair):
            cpu, wall, peak = first_answer(options, folder, service)
            first[index].append(max(cpu, 0.001))
            walls[index].append(wall)
            peaks[index].append(peak)
    table.paired("startup to first answer", "s CPU", *first, 1.0 if judged else None)
    table.paired("startup to first answer", "s", *walls)
    table.paired("startup: largest process", "peak bytes", *peaks, 0.5 if judged else None)


def first_answer(options, folder, service):
    start = time.monotonic()
    service.start()
    host = f"host{options.servers - 1}.example.com"
    targets = targets_file(folder, "startup", [(host, "/path9/b128")])
    client = Client(options, "requests", service.port, 1, targets)
    wall = time.monotonic() - start
    processes = service.processes()
    # What the master has waited for (none, as a rule) counts too.
    cpu = sum(cpu_time(pid) for pid in processes) / 1e9
    peak = max(peak_memory(pid) for pid in processes)
    client.end()
    service.process.terminate()
    service.process.wait()
    return cpu, wall, peak


def measure_reload(options, folder, table):
    """Ten reloads, with a tunnel, or a stream session, opened before each."""
    backend = Backend(options)
    held, second = reserve_port()
    tunnel = [("s1.example.com", "/tunnel/b0")]
    measure_reloads(options, folder, table, "tunnels", tunnel,
                    lambda port: confs.realistic(port, backend.port))
    measure_reloads(options, folder, table, "stream sessions", confs.TARGETS["stream-echo"],
                    lambda port: confs.realistic(port, backend.port) + confs.stream_part(second, backend.port),
                    second)
    held.close()


def measure_reloads(options, folder, table, what, target, make, port=None):
    targets = targets_file(folder, "reload", target)
    grown, processes = [], []
    for name, binary in (("nginx", options.nginx), ("weir", options.weir)):
        service = Service(name, binary, folder, make)
        service.start()
        # The first reload finds what every later one will need; nginx forks as many workers anyway.
        tunnels = [Client(options, "tunnel", port or service.port, 1, targets)]
        reload(service, 2)
        before = service.private_memory()
        for number in range(10):
            tunnels.append(Client(options, "tunnel", port or service.port, 1, targets))
            reload(service, number + 3)
        grown.append(service.private_memory() - before)
        processes.append(len(service.processes()))
        for tunnel in tunnels:
            tunnel.run(10)  # still open, still echoing
            tunnel.end()
        service.stop()
    table.absolute(f"ten reloads under {what}", "bytes grown", grown[0], max(grown[1], 0), 1 << 20)
    table.absolute(f"ten reloads under {what}", "processes", processes[0], processes[1])


def reload(service, version):
    with open(service.conf, encoding="ascii") as file:
        text = file.read()
    with open(service.conf, "w", encoding="ascii") as file:
        file.write(re.sub(r"X-Version \d+", f"X-Version {version}", text))
    subprocess.run(service.command("-s", "reload"), check=True, stdin=subprocess.DEVNULL)
    wait_until(lambda: answers(service, version), f"{service.name} to answer with version {version}")


def answers(service, version):
    import http.client
    connection = http.client.HTTPConnection("127.0.0.1", service.port, timeout=30)
    try:
        connection.request("GET", "/tunnel/x", headers={"Host": "s1.example.com",
                                                        "Connection": "close"})
        return connection.getresponse().getheader("X-Version") == str(version)
    except OSError:
        return False
    finally:
        connection.close()
