"""nginx's words, well enough to know which directives a file uses and what they name."""

import glob
import os
import re


class Directive:
    def __init__(self, name, words, parents, line):
        self.name = name
        self.words = words
        self.parents = parents
        self.line = line


DATA_BLOCKS = ("map", "types", "geo", "split_clients", "charset_map", "geoip2")


def tokens(text):
    """Yields (word, quoted, line); `{`, `}` and `;` are words of their own."""
    position, line, size = 0, 1, len(text)
    while position < size:
        char = text[position]
        if char in " \t\r\n":
            line += char == "\n"
            position += 1
        elif char == "#":
            while position < size and text[position] != "\n":
                position += 1
        elif char in ";}" or char == "{":
            yield char, False, line
            position += 1
        else:
            word, quoted, position, used = word_at(text, position)
            yield word, quoted, line
            line += used


def word_at(text, position):
    start, size = position, len(text)
    quote = text[position] if text[position] in "\"'" else None
    word = ""
    position += quote is not None
    while position < size:
        char = text[position]
        if char == "\\" and position + 1 < size:
            word += text[position:position + 2]
            position += 2
            continue
        if quote and char == quote:
            position += 1
            break
        if not quote and (char in " \t\r\n;" or (char == "{" and not word.endswith("$"))):
            break
        word += char
        position += 1
    return word, quote is not None, position, text.count("\n", start, position)


def directives(text):
    found, parents, words, data = [], [], [], 0
    begin = 1
    for word, quoted, line in tokens(text):
        if not quoted and word == "{":
            if words and not data:
                found.append(Directive(words[0], words[1:], list(parents), begin))
            parents.append(words[0] if words else "")
            data += bool(data) or (bool(words) and words[0] in DATA_BLOCKS)
            words = []
        elif not quoted and word == "}":
            if words and not data:
                found.append(Directive(words[0], words[1:], list(parents), begin))
            if parents:
                parents.pop()
            data -= bool(data)
            words = []
        elif not quoted and word == ";":
            if words and (not data or words[0] == "include"):
                found.append(Directive(words[0], words[1:], list(parents), begin))
            words = []
        else:
            if not words:
                begin = line
            words.append(word)
    if words and not data:
        found.append(Directive(words[0], words[1:], list(parents), begin))
    return found


def with_includes(path, root, conf_folder, depth=0):
    """All directives of a file and of what it includes. Absolute paths are looked up under `root`."""
    try:
        with open(path, encoding="utf-8", errors="surrogateescape") as file:
            found = directives(file.read())
    except OSError:
        return []
    if depth > 5:
        return found
    out = []
    for directive in found:
        out.append(directive)
        if directive.name == "include" and directive.words and "types" not in directive.parents[-1:]:
            pattern = directive.words[0]
            pattern = root + pattern if pattern.startswith("/") else os.path.join(conf_folder, pattern)
            for name in sorted(glob.glob(pattern)):
                for inner in with_includes(name, root, conf_folder, depth + 1):
                    inner.parents = directive.parents + inner.parents
                    out.append(inner)
    return out


HOST = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9_.-]*[A-Za-z0-9_])?")


def host_names(found):
    """Every word that nginx may have to resolve."""
    names = set()
    for directive in found:
        if directive.name not in ("server", "proxy_pass", "listen", "resolver", "proxy_bind", "access_log", "error_log"):
            continue
        for word in directive.words[:1] if directive.name not in ("resolver", "access_log", "error_log") else directive.words:
            if directive.name.endswith("_log"):
                if "syslog:server=" not in word:
                    continue
                word = word.split("syslog:server=")[1].split(",")[0]
            word = re.sub(r"^[a-z]+://", "", word)
            match = HOST.match(word)
            if match and re.search("[A-Za-z]", match.group(0)) and not word.startswith("unix:"):
                names.add(match.group(0))
    return names


PATH_DIRECTIVES = {"access_log", "error_log", "pid", "lock_file", "client_body_temp_path", "proxy_temp_path",
                   "working_directory", "root", "alias"}


def folders(found, prefix):
    out = set()
    for directive in found:
        if directive.name in PATH_DIRECTIVES and directive.words:
            word = directive.words[0].split("$")[0]
            if not word or word.startswith(("syslog:", "memory:")) or word in ("off", "stderr"):
                continue
            path = word if word.startswith("/") else os.path.join(prefix, word)
            out.add(path if directive.name in ("root", "alias", "working_directory") else os.path.dirname(path))
    return out


CREDENTIALS = {"ssl_certificate": "certificate", "ssl_certificate_key": "key", "ssl_trusted_certificate": "authority",
               "ssl_client_certificate": "authority", "ssl_crl": "revoked", "ssl_session_ticket_key": "ticket",
               "ssl_password_file": "passwords", "ssl_dhparam": "parameters"}


def credentials(found, home):
    """(path, kind) of every file that TLS directives read."""
    out = set()
    for directive in found:
        kind = CREDENTIALS.get(re.sub("^(proxy|grpc)_", "", directive.name))
        if kind and directive.words and "$" not in directive.words[0] and ":" not in directive.words[0]:
            out.add((os.path.join(home, directive.words[0].strip("'\"")), kind))
    return out


def users(found):
    out = set()
    for directive in found:
        if directive.name == "user":
            out.update(directive.words)
    return out
