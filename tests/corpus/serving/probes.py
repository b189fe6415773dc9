"""What a configuration is asked."""

from serving import origin, sites

ALWAYS = ["/", "/test.txt", "/nope.php", "/a/../b//c?x=1&y=%20", "/.hidden", "/index.html"]
MOST_SERVERS = 12
MOST_PLACES = 2  # of a server
MOST_PATHS = 40
MOST_VARIED = 3  # paths of a server that are asked in every way
MOST_FOLLOWED = 2  # paths of each kind that are asked for more once nginx answered

COMMON = (("User-Agent", "probe"), ("Accept", "*/*"), ("Cookie", "a=1; session=abc"))
LAST = ("Connection", "close")
WEBSOCKET = (("Upgrade", "websocket"), ("Connection", "Upgrade"), ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="),
             ("Sec-WebSocket-Version", "13"))
VARIANTS = [(name, value) for name, values in {
    "User-Agent": ["curl/8.1", "Mozilla/5.0 (iPhone; CPU iPhone OS 15_0 like Mac OS X)", "Googlebot/2.1", "sqlmap", ""],
    "Cookie": ["route=b; sessionid=42; lang=de; nocache=1"],
    "Referer": ["http://evil.example/x", "https://www.google.com/search?q=x"],
    "X-Forwarded-For": ["203.0.113.7, 10.1.1.1", "nonsense", "2001:db8::1"],
    "X-Real-IP": ["203.0.113.8"],
    "X-Forwarded-Proto": ["https"],
    "Accept-Encoding": ["gzip, br"],
    "Accept-Language": ["de,en;q=0.5"],
    "Accept": ["image/webp,*/*", "application/json"],
    "Authorization": ["Basic dXNlcjpwYXNz"],
    "Origin": ["https://app.example.com"],
    "Range": ["bytes=0-3"],
    "Pragma": ["no-cache"],
    "X-Requested-With": ["XMLHttpRequest"],
}.items() for value in values]
CONDITIONS = [("Range", "bytes=2-4"), ("Range", "bytes=-3"), ("Range", "bytes=0-0,2-3"), ("Range", "bytes=900-"),
              ("If-Modified-Since", "Sun, 09 Sep 2001 01:46:40 GMT"), ("If-Modified-Since", "Sat, 08 Sep 2001 01:46:40 GMT"),
              ("If-Unmodified-Since", "Sat, 08 Sep 2001 01:46:40 GMT"), ("If-None-Match", "*"), ("If-None-Match", '"x"'),
              ("If-Match", '"x"')]


class Probe:
    """One exchange. `what` tells what it is for; requests are bytes, of HTTP/2 lists of fields."""

    def __init__(self, place, host, requests, kind="http1", what="", path=None):
        self.place = place
        self.host = host
        self.requests = requests
        self.kind = kind
        self.what = what
        self.path = path  # of those that may be followed by more questions

    def __str__(self):
        first = self.requests[0]
        first = first.split(b"\r\n")[0].decode("latin-1") if isinstance(first, bytes) else dict(first)[":path"]
        return f"{self.place} {self.host} {self.kind} {first[:80]!r} {self.what}"


def request(method, target, host, fields=(), body=b"", version="1.1"):
    named = {name.lower() for name, _ in fields}
    lines = [f"{method} {target} HTTP/{version}"] + ([f"Host: {host}"] if host is not None else [])
    lines += [f"{name}: {value}" for name, value in (*COMMON, *fields) if (name, value) in fields or name.lower() not in named]
    if body and "transfer-encoding" not in named:
        lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + body


def single(place, host, method, target, fields=(), body=b"", what="", path=None):
    end = () if any(name == "Connection" for name, _ in fields) else (LAST,)
    return Probe(place, host, [request(method, target, host, (*fields, *end), body)], what=what, path=path)


def lines(place, host, text, what):
    return Probe(place, host, [text.replace("\n", "\r\n").encode("latin-1")], what=what)


def manners(place, host):
    """What belongs to HTTP/1.1 itself; asked of one server of a configuration."""
    keep = [request("GET", target, host) for target in ("/", "/test.txt", "/nope.php")]
    post = request("POST", "/", host, body=b"hello")
    last = request("GET", "/", host, [LAST])
    chunked = [("Transfer-Encoding", "chunked"), LAST]
    yield Probe(place, host, [*keep, post, request("HEAD", "/", host), last], what="kept alive")
    yield Probe(place, host, [*keep, last], kind="pipelined", what="pipelined")
    yield Probe(place, host, [request("GET", "/", host, [("Connection", "keep-alive")], version="1.0"),
                              request("GET", "/test.txt", host, version="1.0")], what="kept alive by HTTP/1.0")
    yield single(place, host, "GET", "/" + "a" * 5000, what="long URI")
    yield single(place, host, "GET", "/" + "a" * 9000, what="longer URI")
    yield single(place, host, "GET", "/", [("X-Long", "b" * 5000)], what="long field")
    yield single(place, host, "GET", "/", [("X-Long", "b" * 9000)], what="longer field")
    yield single(place, host, "GET", f"http://{host}/test.txt?q", what="absolute form")
    yield single(place, host, "GET", "/%2e%2e/%2e%2e/etc/passwd", what="out of the root")
    yield single(place, host, "GET", "/%00", what="zero byte")
    yield single(place, host, "GET", "/a%", what="half an escape")
    yield single(place, host, "OPTIONS", "*", what="asterisk form")
    yield single(place, host, "CONNECT", "a.example:443", what="CONNECT")
    yield single(place, host, "TRACE", "/", what="TRACE")
    yield single(place, host, "get", "/", what="method in lower case")
    yield single(place, host, "POST", "/", chunked, b"3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n", "chunked body")
    yield single(place, host, "POST", "/", chunked, b"zz\r\n", "bad chunk")
    yield single(place, host, "POST", "/", [("Expect", "100-continue"), LAST], b"hello", "Expect")
    yield lines(place, host, "GET / HTTP/1.0\n\n", "HTTP/1.0 without Host")
    yield lines(place, host, "GET / HTTP/1.1\nConnection: close\n\n", "no Host")
    yield lines(place, host, "GET / HTTP/1.1\nHost: a b\n\n", "bad Host")
    yield lines(place, host, f"GET / HTTP/1.1\nHost: {host}\nHost: {host}\n\n", "two Hosts")
    yield lines(place, host, f"GET / HTTP/1.1\nHost: {host}\nContent-Length: x\n\n", "bad length")
    yield lines(place, host, "GET / HTTP/3.0\nHost: x\n\n", "unknown version")
    yield lines(place, host, "nonsense\n\n", "no request line")
    yield lines(place, host, f"GET / HTTP/1.1\nHost: {host}:8080\nConnection: close\n\n", "port in Host")
    yield lines(place, host, f"GET / HTTP/1.1\nHost: {host.upper()}.\nConnection: close\n\n", "dot after Host")


def of_server(server, place):
    hosts = sites.hosts(server)
    paths = list(dict.fromkeys(ALWAYS + sites.paths(server.inner)))[:MOST_PATHS]
    host = hosts[0]
    for target in paths:
        yield single(place, host, "GET", target, path=target.split("?")[0])
    for other in [*hosts[1:], "unknown.invalid"]:
        for target in ("/", "/test.txt"):
            yield single(place, other, "GET", target)
    bare = [target for target in paths if "?" not in target]
    for target in bare[:12]:
        yield single(place, host, "POST", target, body=b"hello")
        yield single(place, host, "HEAD", target)
        yield single(place, host, "GET", target, (*WEBSOCKET, ("Origin", f"http://{host}")), what="websocket")
    own = [target for target in bare if target not in ALWAYS]
    for target in ["/", *own][:MOST_VARIED]:
        for method in ("PUT", "DELETE", "OPTIONS", "PATCH", "PROPFIND"):
            yield single(place, host, method, target, body=b"x=1" if method == "PUT" else b"")
        for name, value in VARIANTS:
            yield single(place, host, "GET", target, [(name, value)], what=f"{name}: {value}")


def over_http2(server, place):
    host = sites.hosts(server)[0]
    paths = list(dict.fromkeys(ALWAYS + sites.paths(server.inner)))[:MOST_PATHS]
    scheme = "https" if place.tls else "http"

    def head(method, target, *more):
        return [(":method", method), (":scheme", scheme), (":path", target), (":authority", host),
                ("user-agent", "probe"), ("accept", "*/*"), ("cookie", "a=1"), ("cookie", "session=abc"), *more]
    for target in paths:
        yield Probe(place, host, [head("GET", target)], "http2")
    yield Probe(place, host, [head("HEAD", "/"), head("GET", "/"), head("GET", "/nope.php"), head("DELETE", "/")], "http2",
                "one connection")
    for kind in ("chunked", "until-close", "large", "cookies", "204", "many-fields", "nothing"):
        yield Probe(place, host, [head("GET", "/", ("x-answer", kind))], "http2", kind)


def of_http(tree):
    asked = False
    for server in sites.servers(tree, "http")[:MOST_SERVERS]:
        reachable = [place for place in sites.places(server) if place.family != "ipv6"]
        for place in reachable[:MOST_PLACES]:
            if place.http2:
                yield from over_http2(server, place)
            if place.http2 and not place.tls:
                continue  # nginx 1.22 speaks HTTP/2 alone there
            yield from of_server(server, place)
            if not asked:
                yield from manners(place, sites.hosts(server)[0])
                asked = True


def of_streams(tree):
    for server in sites.servers(tree, "stream")[:MOST_SERVERS]:
        for place in sites.places(server)[:MOST_PLACES]:
            if place.family == "ipv6":
                continue
            place.tls = place.tls or any(block.words == ["on"] for block in server.all("ssl_preread"))
            if place.datagrams:
                yield Probe(place, "", [b"first", b"second"], "datagrams")
            else:
                yield Probe(place, "app1.example.com", [b"hello\n", b"x" * 100_000], "connection")


def following(asked):
    """More questions where nginx answered `asked`, a list of (probe, answer), from a backend or from a file."""
    followed = {}
    for probe, answer in asked:
        status = answer.split(" ", 2)[1] if answer.startswith("HTTP/1.1") else ""
        kind = "backend" if origin.MARK in answer else "file" if status == "200" else None
        if not kind or probe.path is None:
            continue
        paths = followed.setdefault((str(probe.place), probe.host, kind), [])
        if probe.path in paths or len(paths) == MOST_FOLLOWED:
            continue
        paths.append(probe.path)
        if kind == "file":
            for name, value in CONDITIONS:
                yield single(probe.place, probe.host, "GET", probe.path, [(name, value)], what=f"{name}: {value}")
            continue
        for name in ("slow", *origin.KINDS):
            yield single(probe.place, probe.host, "GET", probe.path, [("X-Answer", name)], what=f"answer {name}")
        for name in ("404", "chunked", "large"):
            yield single(probe.place, probe.host, "HEAD", probe.path, [("X-Answer", name)], what=f"answer {name}")
        yield single(probe.place, probe.host, "POST", probe.path, [("X-Answer", "500")], b"z" * 70_000, "large body")
