"""Compares `confcheck -t` with Debian's `nginx -t`, directive by directive.

For every row of directives.tsv (name, contexts, words, block, since, kind, values; facts of nginx 1.31)
configurations are made: in every context, with too few and too many words, with good and bad values,
twice, with and without a block. Both programs judge each; the exit code and the lines up to the first
[emerg] have to be the same. What nginx learnt after the installed version is left out and counted.

    oracle_modules.py --judge PATH [--nginx PATH] [--filter REGEX] [--show] [--jobs N]
                      [--memory FILE] [--sample N]

--judge is oracle_judge: confcheck for many configurations in one process. nginx needs one for each, so
--memory FILE keeps its verdicts, by program and text, for the next run (another preset). --sample N takes
every Nth configuration only (which, says a hash of its name): what a run under sanitizers does.
Exits with 77 (skipped) where either program is missing.
"""

import argparse
import collections
import concurrent.futures
import hashlib
import json
import os
import pathlib
import re
import subprocess
import sys
import tempfile
import zlib

from oracle_values import DECLARED, HAND_MADE, KINDS, SNIPPETS

HERE = pathlib.Path(__file__).resolve().parent
CONTEXTS = ["main", "events", "http", "server", "location", "upstream", "if_in_server",
            "if_in_location", "limit_except"]
Row = collections.namedtuple("Row", "name contexts args block since kind values")
Case = collections.namedtuple("Case", "name text")

BASE = """%(main)s
events { %(events)s }
http { access_log off; %(http)s
upstream u { server 127.0.0.1:9; %(upstream)s }
server { listen 127.0.0.1:18099; %(server)s
if ($host) { %(if_in_server)s }
location /l { %(location)s
if ($host) { %(if_in_location)s }
limit_except GET { %(limit_except)s }
}}}
"""
STREAM_CONTEXTS = ["main", "http", "server", "stream", "stream_server", "stream_upstream"]
STREAM_BASE = """%(main)s
events { }
http { access_log off; %(http)s
server { listen 127.0.0.1:18099; %(server)s
}}
stream { %(stream)s
upstream su { server 127.0.0.1:9; %(stream_upstream)s }
server { listen 127.0.0.1:18098; %(handler)s %(stream_server)s
}}
"""
STREAM_MODULE = "/usr/lib/nginx/modules/ngx_stream_module.so"
# Blocks that may stand once only need a base of their own.
BARE = {"main": "%s events {} http {}", "events": "events {} http { %s }"}


def rows():
    for line in (HERE / "directives.tsv").read_text().splitlines():
        fields = line.split("\t")
        yield Row(fields[0], fields[1].split(), *fields[2:])


def newer(since, version):
    """True when a directive came after nginx `version`."""
    number = tuple(int(n) for n in since.split(",")[0].split("."))
    return number > version


def bounds(args):
    if args == "flag":
        return 1, 1
    if args.endswith("+"):
        return int(args[:-1]), None
    numbers = [int(n) for n in re.split(r"[|-]", args)]
    return numbers[0], numbers[-1]


def write(context, text):
    """A configuration with `text` in one context, and nothing else in the others."""
    if context == "main" and text.startswith("events "):
        return f"{text}\nhttp {{}}\n"
    if context == "main" and text.startswith("http "):
        return f"events {{}}\n{text}\n"
    slots = dict.fromkeys(CONTEXTS, "")
    slots[context] = "\n" + text
    return BASE % slots


def write_stream(context, text):
    """The same with a stream block; its server has a handler unless the text brings one."""
    if context == "main" and text.startswith("stream "):
        return f"events {{}}\n{text}\n"
    slots = dict.fromkeys(STREAM_CONTEXTS, "")
    slots[context] = "\n" + text
    slots["handler"] = "" if text.startswith(("return", "proxy_pass")) else "return x;"
    return STREAM_BASE % slots


def is_stream(row):
    return row.name == "stream" or row.contexts[0].startswith("stream")


def statement(row, words, block=None):
    line = " ".join([row.name, *([words] if words else [])])
    if block is None:
        block = row.block == "yes"
    return line + (" {}" if block else ";")


def value_words(row):
    """Word lists to try: the first ones are good."""
    values = [v for v in row.values.split(",") if v and v != "-"]
    made = HAND_MADE.get((row.contexts[0], row.name), HAND_MADE.get(row.name))
    if made:
        return made
    if row.kind == "enum":
        return [*values, values[0].upper(), "wrong", '""', values[0] + "x"]
    if row.kind == "bitmask":
        words = [*values, values[0].upper(), "wrong", '""', values[0] + " wrong"]
        if row.args == "1+":
            words += [" ".join(values[:2]), " ".join(values[:3]), f"{values[0]} {values[0]}"]
        return words
    return KINDS[row.kind]


def cases_of(row):
    words = value_words(row)
    good = words[0]
    contexts = CONTEXTS
    write = globals()["write"]
    if is_stream(row):
        contexts, write = STREAM_CONTEXTS, write_stream
    # Where another row of the name belongs, which that row tries if nginx is new enough to know it.
    elsewhere = {context for other in rows() if other.name == row.name and other.since != row.since
                 for context in other.contexts} - set(row.contexts)
    for context in contexts if row.contexts != ["any"] else []:
        if context in elsewhere:
            continue
        yield f"in-{context}", write(context, statement(row, good))
    place = row.contexts[0] if row.contexts != ["any"] else "http"
    for context in [place, row.contexts[-1] if len(row.contexts) > 1 else None]:
        if context in contexts:
            for number, value in enumerate(words):
                yield f"value-{context}-{number}", write(context, statement(row, value))
    least, most = bounds(row.args)
    split = good.split(" ")
    counts = {0, max(least - 1, 0), least, least + 1}
    if most is not None:
        counts |= {most, most + 1, most + 4}
    for count in sorted(counts):
        text = " ".join((split + [split[-1] or "a"] * count)[:count])
        yield f"count-{count}", write(place, statement(row, text))
    wrong = statement(row, good, row.block != "yes")
    yield "form", write(place, wrong)
    once = statement(row, good)
    yield "twice", write(place, once + "\n" + once)
    yield "twice-bad", write(place, once + "\n" + statement(row, "wrong-value" if split != [""] else ""))
    if len(words) > 1:
        other = statement(row, words[1])
        yield "twice-other", write(place, once + "\n" + other)
        if {"http", "server", "location"} <= set(row.contexts):
            slots = dict.fromkeys(CONTEXTS, "")
            slots.update(http=once, server="\n" + other, location="\n" + once)
            yield "levels", BASE % slots
    yield "unfinished", write(place, once.rstrip(";{}"))


def all_cases(version):
    declared = 0
    cases = []
    for row in rows():
        if newer(row.since, version):
            declared += 1
            continue
        cases += [Case(f"{row.name}/{row.contexts[0]}/{name}", text) for name, text in cases_of(row)]
    for number, (name, text) in enumerate(SNIPPETS):
        cases.append(Case(f"snippet/{number}/{name}", text))
    return cases, declared


def verdict_lines(text, folder):
    """What counts of a program's words: the lines up to the first error."""
    lines = []
    for line in text.splitlines():
        if not line.startswith("nginx: [") or 'the "user" directive makes sense' in line:
            continue
        if "could not open error log" in line:
            continue
        lines.append(line.replace(str(folder), "/c"))
        if line.startswith(("nginx: [emerg]", "nginx: [crit]", "nginx: [alert]")):
            break
    return lines


def make_folder(text, root):
    folder = pathlib.Path(tempfile.mkdtemp(dir=root))
    (folder / "logs").mkdir()
    (folder / "extra.conf").write_text("")
    (folder / "nginx.conf").write_text(text)
    return folder


def ask_nginx(nginx, text, root):
    if re.search(r"^stream ", text, re.M):  # Debian's has it as a module
        text = f"load_module {STREAM_MODULE}; " + text
    folder = make_folder(text, root)
    run = subprocess.run([nginx, "-t", "-p", f"{folder}/", "-c", f"{folder}/nginx.conf",
                          "-e", f"{folder}/logs/error.log"],
                         capture_output=True, timeout=60, errors="replace", check=False)
    lines = verdict_lines(run.stderr, folder)
    if run.returncode not in (0, 1):
        lines.append(f"nginx ended with {run.returncode}: {run.stderr[-300:]}")
    return run.returncode, lines


def ask_judge(judge, cases, root):
    """The verdicts on `cases`, in order, from one process."""
    folders = [make_folder(case.text, root) for case in cases]
    run = subprocess.run([judge], input="".join(f"{folder}\n" for folder in folders), capture_output=True,
                         errors="replace", check=False)
    parts = re.split(r"^== (\d)\n", run.stdout, flags=re.M)[1:]
    verdicts = [(int(code), verdict_lines(text, folder))
                for code, text, folder in zip(parts[::2], parts[1::2], folders)]
    if run.returncode != 0 or len(verdicts) != len(cases):
        at = cases[min(len(verdicts), len(cases) - 1)]
        raise SystemExit(f"the judge ended with {run.returncode} at {at.name}:\n{at.text}\n{run.stderr[-3000:]}")
    return verdicts


class Memory:
    """nginx's verdicts of earlier runs. The key has everything that they depend on."""

    def __init__(self, file, nginx):
        self.file = file
        status = os.stat(nginx)
        self.program = f"{os.path.realpath(nginx)} {status.st_size} {status.st_mtime_ns} {os.geteuid()} "
        try:
            self.known = json.loads(pathlib.Path(file).read_text()) if file else {}
        except (OSError, ValueError):
            self.known = {}

    def key(self, text):
        return hashlib.sha256((self.program + text).encode()).hexdigest()

    def find(self, text):
        return self.known.get(self.key(text))

    def add(self, text, verdict):
        self.known[self.key(text)] = verdict

    def save(self):
        if not self.file:
            return
        new = f"{self.file}.{os.getpid()}"
        pathlib.Path(new).write_text(json.dumps(self.known))
        os.replace(new, self.file)


def ask_both(cases, arguments, root):
    """(nginx's verdict, ours) of every case."""
    memory = Memory(arguments.memory, arguments.nginx)
    size = max(1, min(200, len(cases) // arguments.jobs + 1))
    chunks = [cases[start:start + size] for start in range(0, len(cases), size)]
    with concurrent.futures.ThreadPoolExecutor(arguments.jobs) as pool:
        ours = pool.map(lambda chunk: ask_judge(arguments.judge, chunk, root), chunks)
        theirs = list(pool.map(
            lambda case: memory.find(case.text) or ask_nginx(arguments.nginx, case.text, root), cases))
        ours = [verdict for chunk in ours for verdict in chunk]
    for case, verdict in zip(cases, theirs):
        memory.add(case.text, verdict)
    memory.save()
    return zip(map(tuple, theirs), ours)


def version_of(nginx):
    text = subprocess.run([nginx, "-v"], capture_output=True, text=True, check=False).stderr
    return tuple(int(n) for n in re.search(r"/(\d+)\.(\d+)\.(\d+)", text).groups())


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--judge", default="")
    parser.add_argument("--nginx", default="/usr/sbin/nginx")
    parser.add_argument("--filter", default="")
    parser.add_argument("--show", action="store_true")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--memory", default="")
    parser.add_argument("--sample", type=int, default=1)
    arguments = parser.parse_args()
    for program in (arguments.judge, arguments.nginx):
        if not os.access(program, os.X_OK):
            print(f"no program {program!r}: nothing compared")
            return 77
    arguments.judge = os.path.abspath(arguments.judge)
    cases, newer_rows = all_cases(version_of(arguments.nginx))
    cases = [case for case in cases if re.search(arguments.filter, case.name)
             and zlib.crc32(case.name.encode()) % arguments.sample == 0]
    agreed = declared = 0
    different = []
    with tempfile.TemporaryDirectory() as root:
        for case, (theirs, ours) in zip(cases, ask_both(cases, arguments, root)):
            if theirs == ours:
                agreed += 1
            elif any(re.search(pattern, case.name) or re.search(pattern, "\n".join(ours[1] + theirs[1]))
                     for pattern, _ in DECLARED):
                declared += 1
            else:
                different.append((case, theirs, ours))
    for case, theirs, ours in different:
        print(f"== {case.name}")
        if arguments.show:
            print(case.text)
        print(f"  nginx:     {theirs[0]} {' | '.join(theirs[1])}")
        print(f"  confcheck: {ours[0]} {' | '.join(ours[1])}")
    print(f"{agreed} of {len(cases)} agreed, {len(different)} disagreed, {declared} declared; "
          f"{newer_rows} directives are newer than the installed nginx")
    return 1 if different else 0


if __name__ == "__main__":
    sys.exit(main())
