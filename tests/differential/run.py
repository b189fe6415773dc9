#!/usr/bin/python3
"""The same configuration and the same bytes on weir and on nginx, side by side. See README.md."""

import argparse
import concurrent.futures
import difflib
import os
import pathlib
import re
import resource
import shutil
import subprocess
import sys
import tempfile
import threading
import time

from harness import casefile, side

HERE = pathlib.Path(__file__).resolve().parent
SLOW = False
PARTS = ("client", "backend", "log", "error")


class Outcome:
    def __init__(self, request, verdict, text=""):
        self.request = request
        self.verdict = verdict  # agreed | since | differs | failed
        self.text = text


class CaseResult:
    def __init__(self, case):
        self.case = case
        self.outcomes = []
        self.seconds = 0.0
        self.again = False
        self.observed = {}

    def failed(self):
        return any(outcome.verdict == "failed" for outcome in self.outcomes)


def run_side(label, binary, case, folder, keep):
    """Observations by request name; `(start)` when the server refused the configuration."""
    server = side.Side(label, binary, case, folder)
    seen = {}
    try:
        server.start()
        for request in case.requests:
            seen[request.name] = server.run(request)
        complaint = server.quit()
        for other in server.backends:
            other.stop()
            other.finish()
        server.client_ports = []
        text = f"[{complaint}]\n".encode() if complaint else b""
        seen["(exit)"] = server.observation(text, server.logs(0))
    except side.StartError as error:
        lines = [line for line in str(error).splitlines() if line]
        seen["(start)"] = {"client": server.normalise("\n".join(lines[:1]).encode("latin-1"))}
    finally:
        server.clean()
        problems = [problem for other in server.backends for problem in other.problems]
        if problems:
            raise ValueError(problems[0])
        if SLOW:
            for name, took in server.times.items():
                if took > 1.0:
                    print(f"        {took:5.2f} s  {case.name} / {name} [{label}]")
        if not keep:
            server.remove()
    return seen


def show(data):
    return data.decode("latin-1").replace("\r\n", "\n").replace("\r", "\\r").replace("\0", "\\0").splitlines()


def difference(theirs, ours):
    out = []
    for part in PARTS:
        old, new = theirs.get(part, b""), ours.get(part, b"")
        if old == new:
            continue
        out.append(f"  {part}: (- nginx, + weir)")
        lines = list(difflib.unified_diff(show(old), show(new), lineterm="", n=2))[2:]
        if not lines:
            lines = [f"-{old!r}", f"+{new!r}"]
        out.extend("    " + line for line in lines[:80])
    return "\n".join(out)


def unmet(declaration, ours):
    """The first expectation about weir that does not hold."""
    for part, operator, pattern in declaration.expectations:
        text = "\n".join(show(ours.get(part, b"")))
        found = re.search(pattern, text, re.M) is not None
        if found != (operator == "~"):
            return f"  weir was to give {part} {operator} {pattern}\n  it gave:\n" + "\n".join("    " + line for line in text.splitlines())
    return None


def judge(name, case, theirs, ours, self_check):
    declaration = case.declared.get(name)
    nothing = {part: b"" for part in PARTS}
    old, new = theirs.get(name, nothing), ours.get(name, nothing)
    same = all(old.get(part) == new.get(part) for part in PARTS)
    if declaration is None:
        if name == "(exit)" and same:
            return None
        return Outcome(name, "agreed") if same else Outcome(name, "failed", difference(old, new))
    if self_check:
        return Outcome(name, declaration.kind)
    if same:
        return Outcome(name, "failed", "  declared as a disagreement, but both did the same")
    missing = unmet(declaration, new)
    return Outcome(name, "failed", missing) if missing else Outcome(name, declaration.kind)


def compare(result, theirs, ours, self_check):
    case = result.case
    whole = case.declared.get("*")
    if whole:  # nginx 1.22 does not take this configuration
        if "(start)" not in theirs:
            result.outcomes = [Outcome("*", "failed", "  declared as refused by nginx, which took it")]
            return
        if self_check:
            result.outcomes = [Outcome(request.name, whole.kind) for request in case.requests]
            return
        theirs = {}
    if "(start)" in theirs or "(start)" in ours:
        same = theirs.get("(start)") == ours.get("(start)")
        if self_check and same:
            text = "  neither starts: " + theirs["(start)"]["client"].decode("latin-1")
        else:
            text = difference(theirs.get("(start)", {"client": b"started"}), ours.get("(start)", {"client": b"started"}))
        result.outcomes = [Outcome(request.name, "failed", text) for request in case.requests]
        return
    names = [request.name for request in case.requests] + ([] if whole else ["(exit)"])
    for name in names:
        outcome = judge(name, case, theirs, ours, self_check)
        if outcome:
            result.outcomes.append(outcome)


class Runner:
    def __init__(self, options):
        self.options = options
        self.root = tempfile.mkdtemp(prefix="wd", dir="/tmp")
        os.chmod(self.root, 0o755)
        self.count = 0
        self.lock = threading.Lock()

    def folder(self):
        with self.lock:
            self.count += 1
            return f"{self.root}/{self.count:04d}"

    def once(self, case):
        result = CaseResult(case)
        start = time.monotonic()
        base = self.folder()
        binaries = {"n": self.options.nginx, "w": self.options.weir or self.options.nginx}
        seen = {}

        def work(label):
            try:
                seen[label] = run_side(label, binaries[label], case, base + label, self.options.keep)
            except Exception as error:  # a mistake in the case or the harness
                seen[label] = error

        threads = [threading.Thread(target=work, args=(label,)) for label in binaries]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        broken = [value for value in seen.values() if isinstance(value, Exception)]
        if broken:
            result.outcomes = [Outcome("*", "failed", f"  harness: {broken[0]!r}")]
        else:
            result.observed = seen
            compare(result, seen["n"], seen["w"], self.options.weir is None)
        result.seconds = time.monotonic() - start
        return result

    def run(self, case):
        result = self.once(case)
        for _ in range(self.options.retries):
            if not result.failed():
                break
            second = self.once(case)
            second.again = not second.failed()
            result = second
        return result


def load(options):
    cases = []
    paths = sorted(pathlib.Path(options.cases).glob("**/*.case"))
    for path in paths:
        name = str(path.relative_to(options.cases))[:-5]
        try:
            cases.append(casefile.parse(name, path.read_text(encoding="utf-8")))
        except (casefile.CaseError, ValueError, IndexError) as error:
            sys.exit(f"{path}: {error}")
    if options.shard:
        index, count = (int(part) for part in options.shard.split("/"))
        cases = cases[index - 1::count]
    if options.filter:
        cases = [case for case in cases if re.search(options.filter, case.name)]
    return cases


def print_observation(result):
    for label, seen in sorted(result.observed.items()):
        if label == "n" and not result.failed():
            continue
        for name, parts in seen.items():
            print(f"=== {result.case.name} / {name} [{'nginx' if label == 'n' else 'weir'}]")
            for part in PARTS:
                if parts.get(part):
                    print(f"-- {part}")
                    print("\n".join(show(parts[part])))


def report(results, options, seconds):
    outcomes = [(result, outcome) for result in results for outcome in result.outcomes]
    count = {verdict: sum(outcome.verdict == verdict for _, outcome in outcomes)
             for verdict in ("agreed", "since", "differs", "failed")}
    for kind, title in (("since", "Differ because Debian's nginx is older:"), ("differs", "Declared disagreements:")):
        lines = []
        for result, outcome in outcomes:
            if outcome.verdict == kind:
                declaration = result.case.declared.get(outcome.request) or result.case.declared["*"]
                version = f"since {declaration.version}: " if declaration.version else ""
                lines.append(f"  {result.case.name} / {outcome.request}: {version}{declaration.reason}")
        if lines:
            print(title)
            print("\n".join(lines))
    for result in results:
        if result.again:
            print(f"Agreed only on the second run: {result.case.name}")
    print(f"{len(results)} configurations, {len(outcomes)} request cases in {seconds:.1f} s: {count['agreed']} agreed, "
          f"{count['since']} differ by version, {count['differs']} declared, {count['failed']} undeclared disagreements"
          + ("" if options.weir else " (nginx against itself)"))
    return 1 if count["failed"] else 0


def enter_own_network():
    """Goes on in a network of its own, where nobody else takes a port that was chosen here; stays where it may not."""
    inside = "WEIR_DIFFERENTIAL_INSIDE"
    if os.environ.get(inside):
        return
    enter = ["unshare", "-n", "sh", "-c", 'ip link set lo up && exec "$@"', "sh"]
    if shutil.which("ip") and subprocess.run([*enter, "true"], capture_output=True, check=False).returncode == 0:
        sys.stdout.flush()
        os.execvpe(enter[0], [*enter, sys.executable, *sys.argv], {**os.environ, inside: "1"})


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--weir", help="the binary under test; without it nginx runs on both sides (a check of the cases)")
    parser.add_argument("--nginx", default="/usr/sbin/nginx")
    parser.add_argument("--cases", default=str(HERE / "cases"))
    parser.add_argument("--jobs", type=int, default=8)
    parser.add_argument("--retries", type=int, default=1, help="runs again of a configuration that disagreed")
    parser.add_argument("--shard", help="K/N: the Kth of N parts")
    parser.add_argument("--filter", help="regular expression on the case's name")
    parser.add_argument("--show", action="store_true", help="print what was observed")
    parser.add_argument("--keep", action="store_true", help="leave the folders under /tmp")
    parser.add_argument("--slow", action="store_true", help="print the time of every configuration")
    options = parser.parse_args()
    global SLOW
    SLOW = options.slow
    if not os.access(options.nginx, os.X_OK):
        print(f"SKIPPED: no nginx at {options.nginx}")
        return 77
    enter_own_network()
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(limit, 8192) if limit > 0 else 8192, limit))
    cases = load(options)
    runner = Runner(options)
    start = time.monotonic()
    results = []
    try:
        with concurrent.futures.ThreadPoolExecutor(options.jobs) as pool:
            for result in pool.map(runner.run, cases):
                results.append(result)
                if options.show:
                    print_observation(result)
                if options.slow:
                    print(f"{result.seconds:6.2f} s  {result.case.name}")
                shown = set()
                for outcome in result.outcomes:
                    if outcome.verdict == "failed":
                        print(f"DISAGREE {result.case.name} / {outcome.request}")
                        if outcome.text not in shown:
                            print(outcome.text)
                            shown.add(outcome.text)
                sys.stdout.flush()
    finally:
        if not options.keep:
            shutil.rmtree(runner.root, ignore_errors=True)
    return report(results, options, time.monotonic() - start)


if __name__ == "__main__":
    sys.exit(main())
