#!/usr/bin/python3
"""confcheck -t and nginx -t over real configurations, in a world where names resolve, folders exist and binds succeed.

Each file whose directives are all in scope is wrapped in what it lacks and given to both; the verdict and the first line
have to agree. Both run in a namespace of their own: no network but a loopback on which any address may be bound, and an
overlay over the file system, so nothing outside changes.
"""

import argparse
import collections
import csv
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile

import reader
import scope

HERE = pathlib.Path(__file__).resolve().parent
REPOSITORY = HERE.parent.parent
sys.path.insert(0, str(REPOSITORY / "tests/support"))
import certificates  # noqa: E402

CREDENTIALS = {"certificate": "rsa.pem", "key": "rsa.key", "authority": "ca.pem", "revoked": "crl.pem", "ticket": "ticket.key",
               "passwords": "passwords", "parameters": "dhparam.pem"}
WRAPS = {
    "main": None,
    "main-snippet": "events {{}}\ninclude {name};\n",
    "http-snippet": "events {{}}\nhttp {{ include {name}; }}\n",
    "server-snippet": "events {{}}\nhttp {{ include {name}; }}\n",
    "location-snippet": "events {{}}\nhttp {{ server {{ include {name}; }} }}\n",
    "inlocation-snippet": "events {{}}\nhttp {{ server {{ location / {{ include {name}; }} }} }}\n",
}
SHELF = "/weir-corpus"  # where the files are, in the world of the test
PREFIX = "/weir-prefix/"
SKIPPED = 77
OLDEST = (1, 22, 1)  # Debian's nginx


class Entry:
    def __init__(self, group, path, kind):
        self.group = group
        self.path = path
        self.kind = kind
        self.out = None

    def name(self):
        return f"{self.group}/{self.path}"


def seed_kind(path):
    """A block's place is plain from its first directive."""
    with open(path, encoding="utf-8", errors="surrogateescape") as file:
        found = reader.directives(file.read())
    first = found[0].name if found else ""
    if first in ("worker_processes", "events", "error_log", "user", "pid", "http", "stream"):
        return "main" if any(directive.name == "events" for directive in found) else "main-snippet"
    if first in ("server", "upstream", "map", "log_format", "limit_req_zone", "proxy_cache_path"):
        return "http-snippet"
    if first == "location":
        return "location-snippet"
    return "inlocation-snippet"


def entries(corpus, seeds):
    out = []
    with open(f"{corpus}/MANIFEST.tsv", encoding="utf-8") as file:
        for row in csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE):
            if row["kind"] in WRAPS:
                out.append(Entry("corpus", row["file"], row["kind"]))
    if seeds:
        for path in sorted(pathlib.Path(seeds).glob("*.conf")):
            out.append(Entry("seeds", path.name, seed_kind(path)))
    return out


def shell(*words, **options):
    return subprocess.run(words, check=True, **options)


class World:
    """The overlay and what a configuration takes for granted in it."""

    def __init__(self, base, options):
        self.root = f"{base}/root"
        shell("ip", "link", "set", "lo", "up")
        for family in ("ipv4", "ipv6"):
            with open(f"/proc/sys/net/{family}/ip_nonlocal_bind", "w", encoding="ascii") as file:
                file.write("1")
        shell("mount", "-t", "tmpfs", "none", base)
        for folder in ("up", "work", "root"):
            os.mkdir(f"{base}/{folder}")
        shell("mount", "-t", "overlay", "overlay", "-o", f"lowerdir=/,upperdir={base}/up,workdir={base}/work", self.root)
        self.certificates = certificates.make(f"{base}/certificates")
        shell("openssl", "genpkey", "-genparam", "-algorithm", "DH", "-pkeyopt", "group:ffdhe2048", "-out",
              f"{self.certificates}/dhparam.pem", stderr=subprocess.DEVNULL)
        for folder in ("proc", "dev", "sys"):
            shell("mount", "--rbind", f"/{folder}", f"{self.root}/{folder}")
        shutil.rmtree(f"{self.root}/etc/nginx", ignore_errors=True)
        shutil.copytree(f"{options.corpus}/_stock", f"{self.root}/etc/nginx")
        for folder in ("logs", "html", "conf"):
            os.makedirs(f"{self.root}{PREFIX}{folder}", exist_ok=True)
        shutil.copytree(options.corpus, f"{self.root}{SHELF}/corpus")
        if options.seeds:
            shutil.copytree(options.seeds, f"{self.root}{SHELF}/seeds")
        shell("chmod", "-R", "u+w", f"{self.root}{SHELF}", f"{self.root}/etc/nginx")
        with open(f"{self.root}/etc/hosts", encoding="utf-8") as file:
            self.hosts = file.read()
        if options.confcheck:
            shutil.copy(options.confcheck, f"{self.root}/confcheck")
            os.chmod(f"{self.root}/confcheck", 0o755)

    def inside(self, path):
        return self.root + path

    def furnish(self, found, home):
        """`home`: the main file's folder, where relative names of certificates start."""
        with open(self.inside("/etc/hosts"), "w", encoding="utf-8") as file:
            file.write(self.hosts)
            for name in sorted(reader.host_names(found)):
                file.write(f"192.0.2.1 {name}\n")
        for folder in reader.folders(found, PREFIX):
            os.makedirs(self.inside(folder), exist_ok=True)
        for path, kind in reader.credentials(found, home):
            if not os.path.exists(self.inside(path)):
                os.makedirs(os.path.dirname(self.inside(path)), exist_ok=True)
                shutil.copy(f"{self.certificates}/{CREDENTIALS[kind]}", self.inside(path))
        for name in reader.users(found):
            for path, line in (("/etc/passwd", f"{name}:x:4242:4242::/:/bin/false\n"), ("/etc/group", f"{name}:x:4242:\n")):
                with open(self.inside(path), "r+", encoding="utf-8") as file:
                    if not any(row.startswith(name + ":") for row in file):
                        file.write(line)

    def knows(self, name):
        with open(self.inside("/weir-ask.conf"), "w", encoding="utf-8") as file:
            file.write(f"{name};\n")
        return "unknown directive" not in self.run(["/confcheck", "-t", "-c", "/weir-ask.conf", "-p", PREFIX])[1]

    def run(self, words):
        command = ["chroot", self.root] + words
        try:
            done = subprocess.run(command, capture_output=True, timeout=20, check=False)
        except subprocess.TimeoutExpired:
            return None, "no answer within 20 s"
        text = done.stderr.decode("utf-8", "replace")
        return done.returncode, text


def stock_beside(folder, stock):
    for name in os.listdir(stock):
        if not os.path.exists(f"{folder}/{name}"):
            shutil.copy(f"{stock}/{name}", f"{folder}/{name}")


def lines_of(text):
    return [line for line in text.splitlines() if line.strip()]


def first_line(lines):
    """The first line, and for what fails only after "syntax is ok" the first error too."""
    errors = [line for line in lines[1:] if "[emerg]" in line]
    if lines and lines[0].endswith("syntax is ok") and errors:
        return lines[0] + " / " + errors[0]
    return lines[0] if lines else ""


def compare(table, ours, theirs):
    """("agree" | "since" | "disagree", the version that explains it) for two (exit code, lines)."""
    warned = [table.warns_since(line, OLDEST) for line in ours[1]]
    kept = [line for line, since in zip(ours[1], warned) if not since]
    if (ours[0], first_line(kept)) == (theirs[0], first_line(theirs[1])):
        newer = next(filter(None, warned), None)
        return ("since", newer) if first_line(ours[1]) != first_line(kept) else ("agree", None)
    newer = table.newer(first_line(theirs[1]), OLDEST)
    return ("since", newer) if newer else ("disagree", None)


def stream_module(found, path):
    """Debian's nginx loads it; a file that does so itself must not have it twice."""
    if any(directive.name == "load_module" for directive in found) or not os.path.exists(path):
        return []
    return ["-g", f"load_module {path};"]


def judge(options):
    """Runs inside the namespace."""
    base = os.environ["WEIR_CORPUS_INSIDE"]
    world = World(base, options)
    table = scope.Table(options.tables, world.knows if options.confcheck else lambda _name: True)
    count = collections.Counter()
    reasons = collections.Counter()
    for entry in entries(options.corpus, options.seeds):
        path = f"{SHELF}/{entry.group}/{entry.path}"
        folder = os.path.dirname(path)
        stock_beside(world.inside(folder), f"{options.corpus}/_stock")
        found = reader.with_includes(world.inside(path), world.root, world.inside(folder))
        for directive in found:
            entry.out = table.why_out(directive)
            if entry.out:
                break
        if entry.out:
            reasons[entry.out.split(" ")[0]] += 1
            count["out"] += 1
            continue
        count[entry.group] += 1
        count["in"] += 1
        world.furnish(found, folder)
        main = path
        if WRAPS[entry.kind]:
            main = f"{folder}/weir-wrap.conf"
            with open(world.inside(main), "w", encoding="utf-8") as file:
                file.write(WRAPS[entry.kind].format(name=os.path.basename(path)))
        code, text = world.run([options.nginx, "-t", "-c", main, "-p", PREFIX, "-e", PREFIX + "logs/error.log"] +
                               stream_module(found, options.nginx_stream))
        theirs = (code, lines_of(text))
        count["accepted" if code == 0 else "rejected"] += 1
        if options.verbose:
            print(f"{entry.name()} [{entry.kind}]: {code} {first_line(theirs[1])}")
        if not options.confcheck:
            continue
        code, text = world.run(["/confcheck", "-t", "-c", main, "-p", PREFIX])
        ours = (code, lines_of(text))
        verdict, since = compare(table, ours, theirs)
        count[verdict] += 1
        if verdict == "since":
            print(f"since {since}: {entry.name()}: {first_line(theirs[1])} | {first_line(ours[1])}")
        elif verdict == "disagree":
            print(f"DISAGREE {entry.name()} [{entry.kind}]")
            print(f"  nginx:     {theirs[0]} {first_line(theirs[1])}")
            print(f"  confcheck: {ours[0]} {first_line(ours[1])}")
    if options.verbose:
        print("out of scope because of: " + ", ".join(f"{name} {times}" for name, times in reasons.most_common()))
    print(f"{count['in']} files in scope ({count['corpus']} of the corpus, {count['seeds']} seeds), {count['out']} out of scope; "
          f"nginx accepts {count['accepted']}, rejects {count['rejected']}")
    if options.confcheck:
        print(f"confcheck agrees on verdict and first line for {count['agree']} of {count['in']}, "
              f"{count['since']} differ by version, {count['disagree']} disagree")
    return 1 if count["disagree"] else 0


def skip(reason):
    print(f"SKIPPED: {reason}")
    return SKIPPED


def common_arguments(parser):
    places = [REPOSITORY.parent / "shared", REPOSITORY.parent.parent / "shared"]  # beside the clone, or a worktree of it
    shared = next((place for place in places if place.is_dir()), places[0])
    parser.add_argument("--confcheck", help="tells which directives are weir's")
    parser.add_argument("--nginx", default="/usr/sbin/nginx")
    parser.add_argument("--nginx-stream", default="/usr/lib/nginx/modules/ngx_stream_module.so")
    parser.add_argument("--corpus", default=os.environ.get("WEIR_CORPUS", str(shared / "corpus")))
    parser.add_argument("--seeds", default=os.environ.get("WEIR_SEEDS", str(shared / "seed-configs")))
    parser.add_argument("--tables", default=os.environ.get("WEIR_TABLES", str(shared / "reference")))
    parser.add_argument("-v", "--verbose", action="store_true")


def missing(options):
    """Why the test cannot run here, or None."""
    if not os.path.exists(f"{options.corpus}/MANIFEST.tsv"):
        return f"no corpus at {options.corpus} (set WEIR_CORPUS)"
    if not os.path.exists(f"{options.tables}/directives.tsv"):
        return f"no directive table at {options.tables} (set WEIR_TABLES)"
    if not os.access(options.nginx, os.X_OK):
        return f"no nginx at {options.nginx}"
    trial = subprocess.run(["unshare", "-m", "-n", "mount", "-t", "tmpfs", "none", "/mnt"], capture_output=True, check=False)
    if trial.returncode != 0:
        return "no right to make namespaces: " + trial.stderr.decode().strip()
    return None


def parsed(parser):
    options = parser.parse_args()
    if not os.path.isdir(options.seeds):
        options.seeds = None
    return options


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    common_arguments(parser)
    options = parsed(parser)
    if os.environ.get("WEIR_CORPUS_INSIDE"):
        return judge(options)
    reason = missing(options)
    if reason:
        return skip(reason)
    with tempfile.TemporaryDirectory(prefix="weir-corpus") as base:  # its mounts go away with the namespace
        return subprocess.run(["unshare", "-m", "-n", sys.executable] + sys.argv,
                              env={**os.environ, "WEIR_CORPUS_INSIDE": base}, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
