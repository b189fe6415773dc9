"""The network around a configuration: any address is one machine in a second namespace, where any port may answer."""

import pathlib
import re
import subprocess
import sys

import run as corpus

ORIGIN = pathlib.Path(__file__).resolve().parent / "origin.py"
NEAR = re.compile(r"127\.|localhost$|\[::1\]$")


class Backends:
    def __init__(self, prefix, certificates):
        self.wanted = set()
        self.process = subprocess.Popen(
            [*prefix, sys.executable, str(ORIGIN), f"{certificates}/rsa.pem", f"{certificates}/rsa.key"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def listen(self, kind, where, port):
        """Returns the reason why it does not, or None. The first kind that is wanted at a port stays."""
        family = "datagrams" if kind in ("names", "datagrams", "sink") else "connections"
        if (family, where, port) in self.wanted:
            return None
        self.wanted.add((family, where, port))
        said = self.ask(f"{kind} {where} {port}")
        return None if said == "ok" else said

    def leave(self, port):
        held = {place for place in self.wanted if place[0] == "connections" and place[2] == port}
        if held:
            self.wanted -= held
            self.ask(f"leave * {port}")

    def ask(self, line):
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()
        return self.process.stdout.readline().strip()

    def close(self):
        self.process.stdin.close()
        self.process.wait()


class Network:
    """Made inside the namespace of the test, after its loopback is up."""

    def __init__(self, certificates):
        self.holder = subprocess.Popen(["unshare", "-n", "sh", "-c", "echo ready; exec cat"],  # ends with its input
                                       stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self.holder.stdout.readline()
        inside = ["nsenter", "-t", str(self.holder.pid), "-n"]
        corpus.shell("ip", "link", "add", "near", "type", "veth", "peer", "name", "far", "netns", str(self.holder.pid))
        corpus.shell("ip", "addr", "add", "192.0.2.2/24", "dev", "near")
        corpus.shell("ip", "link", "set", "near", "up")
        for command in ("link set lo up", "addr add 192.0.2.1/24 dev far", "link set far up",
                        "route add local 0.0.0.0/0 dev lo"):
            corpus.shell(*inside, "ip", *command.split())
        corpus.shell("ip", "route", "add", "default", "via", "192.0.2.1")
        self.far = Backends(inside, certificates)
        self.near = Backends([], certificates)
        self.far.listen("names", "0.0.0.0", 53)
        self.far.listen("sink", "0.0.0.0", 514)
        for address in ("127.0.0.1", "127.0.0.11"):
            self.near.listen("names", address, 53)
            self.near.listen("sink", address, 514)

    def furnish(self, targets, own_ports, root):
        """Makes every target answer, except those that the configuration serves itself."""
        for port in own_ports:
            self.near.leave(port)
        for kind, host, port in targets:
            if kind.startswith("unix"):
                self.near.listen(kind, root + host, port)
            elif not NEAR.match(host):
                self.far.listen(kind, "0.0.0.0", port)
            elif port not in own_ports:
                self.near.listen(kind, host.replace("localhost", "127.0.0.1").replace("[::1]", "127.0.0.1"), port)

    def close(self):
        self.near.close()
        self.far.close()
        self.holder.stdin.close()
        self.holder.wait()
