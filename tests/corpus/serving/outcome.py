"""Answers and logs without what may differ between two runs, and how they differ."""

import collections
import re

VERSION = re.compile(r"\b(nginx|weir)/\d+\.\d+\.\d+")
IDENTIFIER = re.compile(r"\b[0-9a-f]{32}\b")
DURATION = (re.compile(r"(?<![\d.])\d+\.\d{3}(?![.\d])"), "DURATION")
TIME = (re.compile(r"\[?\d\d/\w{3}/\d{4}:[\d:]+ [+-]\d+\]?|\d{4}-\d\d-\d\dT[\d:]+[+-][\d:]+"), "TIME")
CHANGES = (
    TIME,
    DURATION,
    (re.compile(r"^Date: .*\n", re.M | re.I), ""),
    (re.compile(r"^(Expires): (?!Thu, 01 Jan 1970).*", re.M | re.I), r"\1: TIME"),
    (VERSION, "SERVER"),
    (IDENTIFIER, "IDENTIFIER"),
    (re.compile(r"(?i)(x-forwarded-port|remote.?port|client-port): ?\d+"), r"\1: PORT"),
    (re.compile(r"\b\d{10}(\.\d+)?\b"), "SECONDS"),
    (re.compile(r"\b\d{20}\b"), "BOUNDARY"),
    (re.compile(r"\b127\.0\.0\.1:\d{5}\b"), "127.0.0.1:PORT"),
)
LOG_CHANGES = (
    TIME,
    DURATION,
    (VERSION, "SERVER"),
    (IDENTIFIER, "IDENTIFIER"),
    (re.compile(r"\b127\.0\.0\.1:\d{5}\b"), "127.0.0.1:PORT"),
    (re.compile(r"(?<=to a temporary file )[^, ]+"), "NAME"),
)
ERROR_LINE = re.compile(r"\d{4}/\d\d/\d\d [\d:]{8} \[(warn|error|crit|alert|emerg)\] \d+#\d+: (?:\*\d+ )?(.*)")


REPEATED = re.compile(r"(.)\1{99,}")


def changed(text, changes):
    for pattern, replacement in changes:
        text = pattern.sub(replacement, text)
    return REPEATED.sub(lambda match: f"<{len(match.group(0))} times {match.group(1)}>", text)


def answer(text):
    return changed(text, CHANGES)


def access_lines(text):
    return collections.Counter(changed(text, LOG_CHANGES).splitlines())


def cut(text):
    """Where a long line ends depends on the process's number."""
    return re.sub(r"<\d+ times (.)>", r"<\1...>", text)


def error_lines(text):
    """What was said at `warn` and above."""
    found = (ERROR_LINE.match(line) for line in text.splitlines())
    return collections.Counter(f"[{match.group(1)}] {cut(changed(match.group(2), LOG_CHANGES))}" for match in found if match)


def only_in(theirs, ours):
    """Lines that only one side has, with a mark whose they are: n is nginx, w is weir."""
    theirs, ours = collections.Counter(theirs), collections.Counter(ours)
    return [f"n {line}" for line in (theirs - ours).elements()] + [f"w {line}" for line in (ours - theirs).elements()]
