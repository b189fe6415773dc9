"""What a configuration offers: where it listens, under which names and paths, what it proxies to, where it logs."""

import os
import random
import re

try:
    from re import _parser as expressions
except ImportError:  # before Python 3.11
    import sre_parse as expressions

from serving import blocks

HOST = re.compile(r"[\w.-]+")
CATEGORIES = {"CATEGORY_DIGIT": "7", "CATEGORY_WORD": "w", "CATEGORY_SPACE": " "}
MOST_REPEATS = 2


class Place:
    """One `listen`: family is "unix", "ipv4", "ipv6"."""

    def __init__(self, family, address, port, options):
        self.family = family
        self.address = address
        self.port = port
        self.options = options
        self.tls = "ssl" in options
        self.http2 = "http2" in options
        self.datagrams = "udp" in options

    def __str__(self):
        return f"unix:{self.address}" if self.family == "unix" else f"{self.address}:{self.port}"


def place_of(listen):
    where, options = listen.words[0], listen.words[1:]
    if where.startswith("unix:"):
        return Place("unix", where[5:], 0, options)
    match = re.fullmatch(r"(?:(\[.*\]|[^:]+):)?(\d+)", where)
    host, port = (match.group(1), int(match.group(2))) if match else (where, 80)
    if host and host.startswith("["):
        return Place("ipv6", "::1", port, options)
    numeric = host and re.fullmatch(r"[\d.]+", host) and host != "0.0.0.0"
    return Place("ipv4", host if numeric else "127.0.0.1", port, options)


def places(server):
    found = [place_of(listen) for listen in server.all("listen") if listen.words] or [Place("ipv4", "127.0.0.1", 80, [])]
    if any(block.words == ["on"] for block in server.all("ssl")):
        for place in found:
            place.tls = True
    return found


def servers(tree, section):
    return [block for outer in tree if outer.name == section for block in outer.all("server") if block.inner is not None]


# --- names and paths


def sample_item(name, value, chance):
    """A text that one item of a parsed regular expression matches."""
    if name == "LITERAL":
        return chr(value)
    if name == "NOT_LITERAL":
        return "q" if value != ord("q") else "w"
    if name == "ANY":
        return "z"
    if name == "IN":
        kind, inner = str(value[0][0]), value[0][1]
        return {"NEGATE": lambda: "n", "LITERAL": lambda: chr(inner), "RANGE": lambda: chr(inner[0]),
                "CATEGORY": lambda: CATEGORIES.get(str(inner), "c")}[kind]()
    if name == "BRANCH":
        return sample_items(value[1][chance.randrange(len(value[1]))], chance)
    if name in ("MAX_REPEAT", "MIN_REPEAT"):
        return sample_items(value[2], chance) * max(value[0], min(MOST_REPEATS, value[1]))
    if name == "SUBPATTERN":
        return sample_items(value[3], chance)
    return ""


def sample_items(items, chance):
    return "".join(sample_item(str(name), value, chance) for name, value in items)


def samples(pattern):
    """Up to two texts that the pattern matches; none of a pattern that is not Python's."""
    try:
        parsed = expressions.parse(pattern)
    except Exception:  # whatever Python thinks of PCRE
        return []
    chance = random.Random(1)
    return [sample_items(parsed, chance) for _ in range(2)]


def path(text):
    text = re.sub(r"[\s#?]", "", text).encode("ascii", "ignore").decode()
    return text if text.startswith("/") else "/" + text


def location_paths(words):
    if words[0] in ("~", "~*") and len(words) > 1:
        return [path(text) for text in samples(words[1])]
    if words[0] in ("=", "^~") and len(words) > 1:
        return [path(words[1]), path(words[1]) + "x"]
    if words[0].startswith("@"):
        return []
    if words[0].startswith(("=", "^~", "~")):
        return [path(words[0].lstrip("=^~*"))]
    plain = path(words[0])
    return [plain, plain + "x/y?z=1", plain.rstrip("/") or "/"]


def paths(inner):
    found = []
    for block in inner or []:
        if block.name == "location" and block.words and block.inner is not None:
            found += location_paths(block.words) + paths(block.inner)
        elif block.name in ("if", "limit_except"):
            found += paths(block.inner)
    return found


def host_of(name):
    name = name.strip("\"'")
    if name.startswith("~"):
        found = samples(name[1:])
        return found[0] if found and HOST.fullmatch(found[0]) else "re.example.com"
    if name.startswith("."):
        return "sub" + name
    if name.startswith("*"):
        return "any" + name[1:]
    if name.endswith("*"):
        return name[:-1] + "org"
    return name if HOST.fullmatch(name) else "x.example.com"


def hosts(server):
    names = [word for block in server.all("server_name") for word in block.words if word not in ("_", "")]
    return [host_of(name) for name in dict.fromkeys(names[:1] + names[-1:])] or ["localhost"]


# --- what is behind it


def target(text, kind):
    """(kind, host, port) of what stands in `server` and `proxy_pass`."""
    secure = text.startswith(("https://", "grpcs://"))
    text = re.sub(r"^[a-z]+://", "", text)
    if text.startswith("unix:"):
        return "unix" if kind == "http" else f"unix-{kind}", text[5:].split(":")[0], 0
    text = re.split(r"[/?]", text)[0]
    match = re.search(r":(\d+)$", text)
    return kind, re.sub(r":\d+$", "", text), int(match.group(1)) if match else (443 if secure else 80)


def targets_in(section, kind):
    for block in blocks.everything(section.inner):
        if block.inner is not None or not block.words:
            continue
        if block.name in ("server", "proxy_pass", "grpc_pass"):
            yield target(block.words[0], kind)
        elif block.name == "set" and len(block.words) == 2:
            if re.match(r"https?://[\w.-]+", block.words[1]):
                yield target(block.words[1], kind)
            elif re.fullmatch(r"\d{2,5}", block.words[1]):
                yield kind, "far", int(block.words[1])


def targets(tree):
    """What has to answer behind the configuration: (kind, host or path, port), the first kind of a port counts."""
    found = {}
    for section in tree:
        if section.name == "http":
            wanted = list(targets_in(section, "http"))
        elif section.name == "stream":
            wanted = [(kind, *rest) for _, *rest in targets_in(section, "echo") for kind in ("echo", "datagrams")]
        else:
            continue
        for kind, host, port in wanted:
            found.setdefault((kind == "datagrams", host, port), kind)
    return [(kind, host, port) for (_, host, port), kind in sorted(found.items())]


def logs(tree, prefix):
    """The paths of (access logs, error logs) that are plain files."""
    access, error = {"/var/log/nginx/access.log", prefix + "logs/access.log"}, {prefix + "logs/error.log"}
    for block in blocks.everything(tree):
        if block.name not in ("access_log", "error_log") or not block.words:
            continue
        name = block.words[0]
        if name.split(":")[0] in ("syslog", "off", "stderr", "memory") or "$" in name or name.startswith("/dev"):
            continue
        (access if block.name == "access_log" else error).add(os.path.normpath(os.path.join(prefix, name)))
    return sorted(access - error), sorted(error)
