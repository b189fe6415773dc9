"""Differences that are meant or that no two runs share, each with its reason."""

import re


class Declared:
    """`line` has to be found in every differing line; `name` in the file's name, `probe` in what was asked."""

    def __init__(self, reason, line="", name="", probe=""):
        self.reason = reason
        self.line = line
        self.name = name
        self.probe = probe

    def covers(self, name, probe, line):
        return re.search(self.name, name) and re.search(self.probe, probe) and re.search(self.line, line)


ANSWERS = (
    Declared("nginx 1.22 refuses the target of CONNECT, later ones the method", probe="CONNECT$"),
    Declared("a random identifier decides", "X-Rollout-Group", "0038_split_clients"),
    Declared("the status of the page changes the connection's end: 1.22 waits for the upgrade that an error page names",
             name="octane.conf", probe="websocket"),
    Declared("a client that has no certificate is refused: by an alert, or by a reset when it sent more", name="0032_stream_ssl",
             probe="8443"),
)
LOGS = (
    Declared("a client that has no certificate may have sent more already", "SSL_shutdown", "0032_stream_ssl"),
    Declared("tables have no sizes to set", "could not build optimal"),
    Declared("1.22 tells where a request was when it was refused before its locations", "client sent invalid chunked body"),
    Declared("nginx 1.22 refuses the target of CONNECT, later ones the method", r'CONNECT a\.example|"uri":"","status":40[05]'),
    Declared("a server whose pooled connection ended without an answer is asked once more",
             "upstream prematurely closed connection|no live upstreams"),
    Declared("... so that another server's turn comes next", "upstream sent invalid header|redirection cycle",
             "lasseh__nginx-conf/sites-available/load-balancer"),
    Declared("what ends an answer that began as an upgrade", 'GET /(favicon.ico|robots.txt) HTTP/1.1" 404', "octane.conf"),
    Declared("it is its own upstream, asked in HTTP/1.1 since 1.29.7", r'HTTP/1\.[01]"', "CVE-2017-7529|njs-examples"),
    Declared("the warning came with 1.25.1", r'"listen \.\.\. http2" directive is deprecated'),
    Declared("HTTP/2 frames are read by a library, which does not tell a length", r"upstream sent (too large|invalid) http2 frame"),
)


def reason(table, name, probe, lines):
    """Why all of the differing lines are as they should be, or None."""
    reasons = set()
    for line in lines:
        found = next((row.reason for row in table if row.covers(name, str(probe), line)), None)
        if found is None:
            return None
        reasons.add(found)
    return "; ".join(sorted(reasons))
