#!/usr/bin/python3
"""Real configurations served by nginx and by weir, and asked the same: answers, access logs and error logs.

Every file of the corpus that nginx accepts is served, without the directives of modules that weir does not have, in the
world of run.py, where names resolve to a backend that answers at any port. What is asked follows from the names and
locations of its servers. Exits with 1 where an undeclared difference is left.
"""

import argparse
import collections
import os
import pathlib
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
import reader  # noqa: E402
import run as corpus  # noqa: E402
import scope  # noqa: E402
from serving import asking, blocks, declared, far, outcome, probes, sites  # noqa: E402

# Directives that say how the process runs, which the test decides.
PROCESS = {"daemon", "master_process", "load_module", "debug_points", "user", "worker_processes", "worker_cpu_affinity",
           "worker_priority", "worker_rlimit_nofile", "limit_rate", "ssl_stapling", "ssl_stapling_verify"}
STRANGE = ("brotli", "more", "modsecurity", "geoip2", "lua", "vhost", "zstd", "pagespeed", "perl", "js")
VARIABLES = re.compile(r"\$\{?((fastcgi|uwsgi|scgi)_|date_(gmt|local)|secure_link)")  # of modules that weir does not have
REFUSED = re.compile(r'unknown directive "([^"]+)"|"([^"]+)" directive is not allowed here|unknown "(\w+)" variable')
USED = re.compile(r"\$\w+")
NOT_FOUND = re.compile(r"open\(\) .* failed \(2:")
MOST_REFUSALS = 20  # what nginx does not know is taken out, so many times
FILES = {"index.html": "<h1>index</h1>\n", "test.txt": "text\n", "404.html": "custom 404\n", "50x.html": "custom 50x\n",
         "a.css": "x{}"}
MTIME = 1_000_000_000
NO_ANSWERS = 2  # so many at one place, and the rest is not asked there
SHORT, LONG = 1, 10  # how long nginx is waited for, and weir where nginx answered
START = 10
STOCK = "/weir-stock"


class Unwanted:
    """Which directives are taken out before a configuration is served."""

    def __init__(self, table):
        self.table = table
        self.refused = None  # a directive, or a variable with its $

    def __call__(self, name, words, around):
        if any(block in reader.DATA_BLOCKS for block in around):
            return False
        if any(VARIABLES.search(word) or self.refused in (word, *USED.findall(word)) for word in words):
            return True
        if name in PROCESS or name == self.refused or name == "mail" or "mail" in around:
            return True
        if name == "listen":
            return "quic" in words or "http3" in words
        if name == "add_header":
            return any("$http3" in word or "quic" in word for word in words)
        rows = self.table.rows.get(name)
        if rows is None:
            return name.split("_")[0] in STRANGE
        since = min(scope.version(row["since"].split(",")[0]) for row in rows)
        return name not in self.table.known or since > corpus.OLDEST


def rewrite(path, change):
    with open(path, encoding="utf-8", errors="surrogateescape") as file:
        text = file.read()
    changed = change(text)
    if changed != text:
        with open(path, "w", encoding="utf-8", errors="surrogateescape") as file:
            file.write(changed)


def prepared(text, unwanted):
    if re.search(r"^\s*http2\s+on;", text, re.M):  # as nginx 1.22 knows it
        text = re.sub(r"^(\s*listen\s[^;#]*\bssl\b[^;#]*)(?<!http2);", r"\1 http2;", text, flags=re.M)
    text = blocks.without(text, unwanted)
    return re.sub(r"\brate=\d+r/[sm]", "rate=9000r/s", text)  # what is limited must not depend on the speed of the test


class Side:
    """One of the two programs, serving one configuration."""

    def __init__(self, world, words, logs):
        self.world = world
        self.slowest = (0, "")
        for log in [name for names in logs for name in names]:
            if os.path.isfile(world.inside(log)):
                os.unlink(world.inside(log))
        self.process = subprocess.Popen(["chroot", world.root, *words], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)

    def wait_for(self, place):
        """False when the program ended instead."""
        end = time.monotonic() + START
        while self.process.poll() is None and time.monotonic() < end:
            try:
                self.touch(place)
                return True
            except OSError:
                time.sleep(0.01)
        return False

    def touch(self, place):
        if place.datagrams:
            probe = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            with probe:
                probe.bind((place.address, place.port))
            raise OSError  # free, so nobody listens yet
        family = {"unix": socket.AF_UNIX, "ipv6": socket.AF_INET6, "ipv4": socket.AF_INET}[place.family]
        with socket.socket(family) as probe:
            probe.connect(self.world.inside(place.address) if place.family == "unix" else (place.address, place.port))

    def ask(self, probe, patience):
        begin = time.monotonic()
        answer = outcome.answer(asking.ask(probe, self.world.root, patience))
        self.slowest = max(self.slowest, (time.monotonic() - begin, str(probe)))
        return answer

    def stop(self):
        """What it wrote to standard error."""
        self.process.send_signal(signal.SIGTERM)
        try:
            text = self.process.communicate(timeout=10)[1]
        except subprocess.TimeoutExpired:
            self.process.kill()
            text = self.process.communicate()[1]
        return text.decode("utf-8", "replace")

    def read(self, names, lines_of):
        out = {}
        for name in names:
            if os.path.isfile(self.world.inside(name)):
                with open(self.world.inside(name), encoding="utf-8", errors="replace") as file:
                    out[name] = lines_of(file.read())
        return out


class Judge:
    def __init__(self, options, base):
        self.options = options
        self.world = corpus.World(base, options)
        shutil.copy(options.weir, self.world.inside("/weir"))
        os.chmod(self.world.inside("/weir"), 0o755)
        self.network = far.Network(self.world.certificates)
        known = set(pathlib.Path(options.known).read_text(encoding="ascii").split())
        self.unwanted = Unwanted(scope.Table(options.tables, known.__contains__))
        self.count = collections.Counter()
        for folder in (corpus.SHELF, "/etc/nginx"):
            self.prepare(folder)
        shutil.copytree(self.world.inside("/etc/nginx"), self.world.inside(STOCK))  # before configurations write there

    def prepare(self, folder):
        for place, _, files in os.walk(self.world.inside(folder)):
            for name in files:
                rewrite(os.path.join(place, name), lambda text: prepared(text, self.unwanted))

    # --- a configuration

    def furnish(self, found, folder):
        self.world.furnish(found, folder)
        for place in reader.folders(found, corpus.PREFIX):
            if re.search("/(proc|dev|log)", place):
                continue
            for name, text in FILES.items():
                path = self.world.inside(f"{place}/{name}")
                if not os.path.exists(path):
                    with open(path, "w", encoding="utf-8") as file:
                        file.write(text)
                os.utime(path, (MTIME, MTIME))

    def accepted(self, words, folder):
        """Whether nginx takes it, once what it does not know is taken out of the files around it."""
        for _ in range(MOST_REFUSALS):
            code, text = self.world.run([self.options.nginx, "-t", *words])
            refused = REFUSED.search(text)
            if code == 0 or not refused:
                return code == 0, text
            directive, misplaced, variable = refused.groups()
            self.unwanted.refused = directive or misplaced or "$" + variable
            self.prepare(folder)
            self.unwanted.refused = None
        return False, text

    def main_files(self, entry, path):
        """The file as it is; or wrapped, in its folder and then further up, where its includes may start."""
        if not corpus.WRAPS[entry.kind]:
            yield path
            return
        folder = os.path.dirname(path)
        while True:
            main = f"{folder}/weir-wrap.conf"
            with open(self.world.inside(main), "w", encoding="utf-8") as file:
                file.write(corpus.WRAPS[entry.kind].format(name=os.path.relpath(path, folder)))
            yield main
            folder = os.path.dirname(folder)
            if folder in (corpus.SHELF, f"{corpus.SHELF}/{entry.group}"):
                return

    def judge(self, entry):
        path = f"{corpus.SHELF}/{entry.group}/{entry.path}"
        for main in self.main_files(entry, path):
            home = os.path.dirname(main)
            corpus.stock_beside(self.world.inside(home), self.world.inside(STOCK))
            found = reader.with_includes(self.world.inside(main), self.world.root, self.world.inside(home))
            words = ["-c", main, "-p", corpus.PREFIX, "-e", corpus.PREFIX + "logs/error.log"]
            stream = corpus.stream_module(found, self.options.nginx_stream)
            try:
                self.furnish(found, home)
                good, text = self.accepted(words + stream, os.path.dirname(path))
            except OSError as error:
                good, text = False, str(error)
            if good or not NOT_FOUND.search(text):
                break
        if good:
            self.serve(entry.name(), main, words, stream)
        else:
            self.count["rejected"] += 1
            self.say(f"rejected {entry.name()}: {corpus.first_line(corpus.lines_of(text))}")

    def serve(self, name, main, words, stream):
        tree = blocks.parse(self.world.inside(main), self.world.root, self.world.inside(os.path.dirname(main)))
        questions = [*probes.of_http(tree), *probes.of_streams(tree)]
        if not questions:
            self.count["without servers"] += 1
            return
        own = {place.port for section in ("http", "stream") for server in sites.servers(tree, section)
               for place in sites.places(server)}
        self.network.furnish(sites.targets(tree), own, self.world.root)
        self.compare(name, questions, sites.logs(tree, corpus.PREFIX), words, stream)

    # --- the two sides

    def answers_of_nginx(self, side, questions):
        """[(probe, answer)] of what it answers in time; a place that does not is left in peace."""
        asked, silent = [], collections.Counter()
        for probe in questions:
            if silent[str(probe.place)] >= NO_ANSWERS:
                self.count["not asked"] += 1
                continue
            answer = side.ask(probe, SHORT)
            if asking.UNANSWERED in answer:
                silent[str(probe.place)] += 1
            asked.append((probe, answer))
        return asked

    def compare(self, name, questions, logs, words, stream):
        begin = time.monotonic()
        modules = stream[1] if stream else ""
        side = Side(self.world, [self.options.nginx, *words, "-g", f"daemon off; {modules}"], logs)
        if not side.wait_for(questions[0].place):
            self.count["not served"] += 1
            print(f"NOT SERVED by nginx: {name}: {side.stop()}")
            return
        asked = self.answers_of_nginx(side, questions)
        asked += self.answers_of_nginx(side, list(probes.following(asked)))
        side.stop()
        theirs = [side.read(logs[0], outcome.access_lines), side.read(logs[1], outcome.error_lines)]
        side = Side(self.world, ["/weir", *words, "-g", "daemon off;"], logs)
        if not side.wait_for(questions[0].place):
            self.count["not served"] += 1
            self.differ(name, None, [f"w {line}" for line in side.stop().splitlines()])
            return
        answers = [side.ask(probe, SHORT if asking.UNANSWERED in answer else LONG) for probe, answer in asked]
        side.stop()
        ours = [side.read(logs[0], outcome.access_lines), side.read(logs[1], outcome.error_lines)]
        self.count["served"] += 1
        self.count["requests"] += len(asked)
        for (probe, answer), own in zip(asked, answers):
            if answer == own:
                self.count["agreed"] += 1
            else:
                self.differ(name, probe, outcome.only_in(answer.split("\n"), own.split("\n")))
        for kind, before, after in zip(("access log", "error log"), theirs, ours):
            for log in sorted({*before, *after}):
                lines = outcome.only_in(before.get(log, []), after.get(log, []))
                self.count["logs"] += 1
                if lines:
                    self.differ(name, f"{kind} {log}", lines)
        self.say(f"{name}: {len(asked)} requests, {time.monotonic() - begin:.1f} s, slowest {side.slowest[0]:.2f} s {side.slowest[1]}")

    def differ(self, name, probe, lines):
        table = declared.LOGS if isinstance(probe, str) else declared.ANSWERS
        why = declared.reason(table, name, probe, lines)
        self.count["declared" if why else "undeclared"] += 1
        if why and not self.options.verbose:
            return
        print(f"{'declared' if why else 'DIFFERS'} {name}: {probe}{': ' + why if why else ''}")
        for line in lines[:self.options.lines]:
            print(f"    {line[:400]}")

    def say(self, text):
        if self.options.verbose:
            print(text, flush=True)


def inside(options):
    """One of the jobs, in its own namespace: every so manyth file. Its counts go to the file that its parent named."""
    judge = Judge(options, os.environ["WEIR_CORPUS_INSIDE"])
    number, jobs = map(int, options.part.split("/"))
    chosen = [entry for entry in corpus.entries(options.corpus, options.seeds) if re.search(options.filter, entry.name())]
    for entry in chosen[number::jobs]:
        judge.judge(entry)
    judge.network.close()
    with open(options.counts, "w", encoding="ascii") as file:
        file.writelines(f"{name}\t{value}\n" for name, value in judge.count.items())
    return 0


def known_directives(options, folder):
    """Those of the table that are weir's."""
    def knows(name):
        path = pathlib.Path(folder) / "ask.conf"
        path.write_text(f"{name};\n", encoding="ascii")
        done = subprocess.run([options.confcheck, "-t", "-c", path, "-p", folder], capture_output=True, text=True, check=False)
        return "unknown directive" not in done.stderr
    return scope.Table(options.tables, knows).known


def total(options):
    """Runs the jobs side by side and adds up their counts."""
    count = collections.Counter()
    with tempfile.TemporaryDirectory(prefix="weir-serve") as base:  # its mounts go away with the namespaces
        running = []
        known = pathlib.Path(f"{base}/known")
        known.write_text("\n".join(known_directives(options, base)), encoding="ascii")
        for number in range(options.jobs):
            os.mkdir(f"{base}/{number}")
            words = ["unshare", "-m", "-n", sys.executable, *sys.argv, "--part", f"{number}/{options.jobs}",
                     "--known", str(known), "--counts", f"{base}/counts{number}"]
            with open(f"{base}/out{number}", "wb") as out:
                running.append(subprocess.Popen(words, env={**os.environ, "WEIR_CORPUS_INSIDE": f"{base}/{number}"},
                                                stdout=out, stderr=subprocess.STDOUT))
        failed = [job.wait() for job in running]
        for number in range(options.jobs):
            sys.stdout.write(pathlib.Path(f"{base}/out{number}").read_text(encoding="utf-8", errors="replace"))
            counts = pathlib.Path(f"{base}/counts{number}")
            for line in counts.read_text(encoding="ascii").splitlines() if counts.exists() else []:
                name, value = line.split("\t")
                count[name] += int(value)
    print(f"{count['served']} files served, {count['rejected']} that nginx rejects, {count['without servers']} without a server; "
          f"{count['requests']} requests ({count['not asked']} not asked where nginx is silent), {count['agreed']} agreed, "
          f"{count['logs']} logs; differences: {count['declared']} declared, {count['undeclared']} undeclared")
    return 1 if any(failed) or count["undeclared"] or not count["served"] else 0


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--weir", required=True)
    corpus.common_arguments(parser)
    parser.add_argument("--filter", default="", help="an expression: only files with such names")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--lines", type=int, default=6, help="lines shown of each difference")
    parser.add_argument("--part", help=argparse.SUPPRESS)
    parser.add_argument("--known", help=argparse.SUPPRESS)
    parser.add_argument("--counts", help=argparse.SUPPRESS)
    options = corpus.parsed(parser)
    if os.environ.get("WEIR_CORPUS_INSIDE"):
        return inside(options)
    reason = corpus.missing(options)
    if reason:
        return corpus.skip(reason)
    return total(options)


if __name__ == "__main__":
    sys.exit(main())
