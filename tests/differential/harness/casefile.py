"""Reads one case file: a configuration, its world, and the requests made of it. The format is in README.md."""

import re


class CaseError(Exception):
    pass


class Request:
    def __init__(self, name, steps, lines=None):
        self.name = name
        self.steps = steps
        self.lines = lines


class Declaration:
    """A disagreement that is known: why, and what weir does instead."""

    def __init__(self, kind, version, target, body):
        self.kind = kind
        self.version = version
        self.target = target
        self.expectations = []
        reason = []
        for line in body:
            match = re.match(r"(client|backend|log|error) (!?~) (.*)$", line)
            if match:
                self.expectations.append(match.groups())
            elif line.strip():
                reason.append(line.strip())
        self.reason = " ".join(reason)


class Case:
    def __init__(self, name):
        self.name = name
        self.about = ""
        self.config = None
        self.http = None
        self.stream = None
        self.main = ""
        self.events = ""
        self.files = []
        self.backends = {}
        self.dead = []
        self.syslogs = []
        self.dns = {}
        self.requests = []
        self.declared = {}
        self.normalise = []
        self.error_level = None
        self.logs_on_exit = False
        self.certificates = False


# Steps of HTTP/2: what follows them are frames, and an empty line only sets them apart.
FRAMED = ("h2", "ask", "data", "zeros", "trailers", "rst", "window", "ping", "frame", "answer", "rest", "noupdates",
          "over", "head", "goaway")

ESCAPES = {"r": "\r", "n": "\n", "t": "\t", "0": "\0", "\\": "\\", "@": "@", "-": "-"}


def unescape(text):
    def one(match):
        word = match.group(1)
        if word[0] == "x":
            return chr(int(word[1:], 16))
        return ESCAPES[word]

    return re.sub(r"\\(x[0-9a-fA-F]{2}|[rnt0\\@-])", one, text)


def steps_of(lines):
    """Text lines become ("send", bytes) steps, `@word rest` lines become (word, rest)."""
    steps = []
    text = ""

    def flush():
        nonlocal text
        if text:
            steps.append(("send", text.encode("latin-1")))
            text = ""

    for line in lines:
        if line.startswith("@"):
            word, _, rest = line[1:].partition(" ")
            if word == "fill":  # bytes made up on the spot: @fill COUNT [TEXT]
                count, _, pattern = rest.partition(" ")
                pattern = unescape(pattern) or "0123456789abcdef"
                count = int(count)
                text += (pattern * (count // len(pattern) + 1))[:count]
                continue
            flush()
            steps.append((word, unescape(rest)))
            continue
        if not line and steps and steps[-1][0] in FRAMED:  # no blank line is sent between frames
            continue
        if re.search(r"(?<!\\)(\\\\)*\\$", line):
            text += unescape(line[:-1])
        else:
            text += unescape(line) + "\r\n"
    flush()
    return steps


def get_line(line):
    """`name: [METHOD] /target [host] [| Header: value]...` as one request with the fields named."""
    name, _, rest = line.partition(": ")
    parts = rest.split(" | ")
    words = parts[0].split(" ")
    words = [word for word in words if word]
    method = "GET"
    if words and re.fullmatch(r"[A-Z]+", words[0]):
        method = words.pop(0)
    target = words[0]
    host = words[1] if len(words) > 1 else "localhost"
    fields = "".join(unescape(part) + "\r\n" for part in parts[1:])
    text = f"{method} {unescape(target)} HTTP/1.1\r\nHost: {host}\r\n{fields}\r\n"
    return Request(name.strip(), [("send", text.encode("latin-1"))])


def sections(text):
    current = None
    for number, line in enumerate(text.split("\n"), 1):
        if line.startswith("--- "):
            if current:
                yield current
            current = (line[4:].strip(), [], number)
        elif current:
            current[1].append(line)
        elif line.strip() and not line.startswith("#"):
            raise CaseError(f"line {number}: text before the first section")
    if current:
        lines = current[1]
        if lines and lines[-1] == "":  # the file's own last newline
            lines.pop()
        yield current


def parse(name, text):
    case = Case(name)
    for head, body, number in sections(text):
        word, _, rest = head.partition(" ")
        word = word.rstrip(":")
        rest = rest.strip()
        joined = "\n".join(body) + "\n"
        if word == "about":
            case.about = joined.strip()
        elif word in ("config", "http", "stream", "main", "events"):
            setattr(case, word, joined)
        elif word == "file":
            case.files.append(("text", rest, joined))
        elif word == "bytes":
            case.files.append(("text", rest, unescape("".join(body))))
        elif word == "bigfile":
            path, size = rest.split()
            case.files.append(("big", path, int(size)))
        elif word == "dir":
            case.files.append(("dir", rest, None))
        elif word == "link":
            path, target = rest.split()
            case.files.append(("link", path, target))
        elif word == "backend":
            name_, _, kind = rest.partition(" ")
            case.backends[name_] = (kind or "tcp", body)
        elif word == "dead":
            case.dead.append(rest)
        elif word == "dns":
            case.dns[rest] = body
        elif word == "certificates":
            case.certificates = True
        elif word == "syslog":
            case.syslogs.append(rest)
        elif word == "request":
            options = rest.split()
            lines = None
            for option in options[1:]:
                key, _, value = option.partition("=")
                if key != "lines":
                    raise CaseError(f"line {number}: unknown option {option}")
                lines = int(value)
            case.requests.append(Request(options[0], steps_of(body), lines))
        elif word == "gets":
            for line in body:
                if line.strip():
                    request = get_line(line)
                    if rest.startswith("lines="):
                        request.lines = int(rest[6:])
                    case.requests.append(request)
        elif word == "since":
            version, _, target = rest.partition(" ")
            case.declared[target] = Declaration("since", version, target, body)
        elif word == "differs":
            case.declared[rest] = Declaration("differs", None, rest, body)
        elif word == "normalise":
            for line in body:
                if line.strip():
                    pattern, _, replacement = line.partition(" => ")
                    case.normalise.append((re.compile(pattern.encode("latin-1")), replacement.encode("latin-1")))
        elif word == "error-log":
            case.error_level = rest
        elif word == "logs-on-exit":
            case.logs_on_exit = True
        else:
            raise CaseError(f"line {number}: unknown section {word}")
    check(case)
    return case


def check(case):
    if (case.config is None) == (case.http is None and case.stream is None):
        raise CaseError("one of `config`, and `http` or `stream`, is needed")
    names = [request.name for request in case.requests]
    for name in names:
        if names.count(name) > 1:
            raise CaseError(f"request {name} is there twice")
    if not names:
        raise CaseError("no request")
    for target, declaration in case.declared.items():
        if target not in names + ["*", "(exit)"]:
            raise CaseError(f"declaration for unknown request {target!r}")
        if not declaration.reason:
            raise CaseError(f"declaration for {target} gives no reason")
        if target not in ("*",) and not declaration.expectations:
            raise CaseError(f"declaration for {target} does not say what weir does")
