"""Just enough HTTP/1 to find where a message ends, and to print one so that two can be compared."""

import hashlib
import re
import ssl
import time


class Stream:
    """Bytes from a socket with a deadline for each read; remembers how the other side ended."""

    def __init__(self, sock):
        self.sock = sock
        self.buffer = bytearray()
        self.ended = None

    def more(self, timeout):
        """Reads once. True when bytes came; False at the end (see ended) or when the time is up."""
        if self.ended:
            return False
        try:
            self.sock.settimeout(max(timeout, 0.001))
            data = self.sock.recv(262144)
        except (TimeoutError, BlockingIOError):
            return False
        except ssl.SSLWantReadError:
            return False
        except ssl.SSLEOFError:
            self.ended = "cut without a farewell"
            return False
        except OSError:
            self.ended = "reset"
            return False
        if not data:
            self.ended = "closed"
            return False
        self.buffer += data
        return True

    def take(self, count):
        data = bytes(self.buffer[:count])
        del self.buffer[:count]
        return data

    def need(self, count, timeout):
        while len(self.buffer) < count:
            if not self.more(timeout):
                return False
        return True

    def until(self, mark, timeout):
        """Offset after the mark, or -1."""
        while True:
            found = self.buffer.find(mark)
            if found >= 0:
                return found + len(mark)
            if not self.more(timeout):
                return -1


def pieces(data, size):
    """The data at once (size 0), or cut, with time for the other side to see each piece alone."""
    if not size:
        yield data
        return
    for start in range(0, len(data), size):
        yield data[start:start + size]
        time.sleep(0.001)


class Message:
    def __init__(self):
        self.head = b""
        self.body = b""
        self.chunked = False
        self.trailers = b""
        self.note = None
        self.close = False

    def render(self):
        out = self.head
        if self.body or self.chunked:
            out += show_body(self.body, self.chunked)
        if self.trailers:
            out += b"[trailers] " + self.trailers
        if self.note:
            out += b"\n[" + self.note.encode() + b"]"
        if not out.endswith(b"\n"):
            out += b"\n"
        return out


def show_body(body, chunked):
    return (b"[chunked] " if chunked else b"") + body


def shorten(data):
    """Long lines become their length and digest; called after everything variable was replaced."""
    return re.sub(rb"[^\n]{3000,}", lambda match: b"[%d bytes, sha1 %s, begins %s]" % (
        len(match.group(0)), hashlib.sha1(match.group(0)).hexdigest().encode(), match.group(0)[:60]), data)


def fields(head):
    found = {}
    for line in head.split(b"\r\n")[1:]:
        name, _, value = line.partition(b":")
        found.setdefault(name.strip().lower(), []).append(value.strip())
    return found


def read_chunked(stream, message, timeout):
    message.chunked = True
    while True:
        end = stream.until(b"\r\n", timeout)
        if end < 0:
            message.note = f"chunked body cut: {stream.ended or 'silence'}, left {bytes(stream.buffer[:80])!r}"
            message.close = True
            return
        line = stream.take(end)
        match = re.match(rb"([0-9a-fA-F]+)\s*(;.*)?\r\n$", line)
        if not match:
            message.note = f"bad chunk line {line!r}"
            message.close = True
            return
        size = int(match.group(1), 16)
        if size == 0:
            break
        if not stream.need(size + 2, timeout):
            message.body += stream.take(len(stream.buffer))
            message.note = f"chunked body cut: {stream.ended or 'silence'}"
            message.close = True
            return
        message.body += stream.take(size)
        stream.take(2)
    while True:
        end = stream.until(b"\r\n", timeout)
        if end < 0:
            message.note = f"trailers cut: {stream.ended or 'silence'}"
            message.close = True
            return
        line = stream.take(end)
        if line == b"\r\n":
            return
        message.trailers += line


def read_until_end(stream, message, timeout):
    while stream.more(timeout):
        pass
    message.body = stream.take(len(stream.buffer))
    message.close = True
    if not stream.ended:
        message.note = "no end of the connection"
    elif stream.ended == "reset":
        message.note = "reset"


def read_response(stream, method, timeout):
    """One response, or None at a clean end. 1xx heads are part of it; a 101 is an end of its own."""
    message = Message()
    while True:
        while len(stream.buffer) < 5 and stream.more(timeout):
            pass
        if not stream.buffer:
            if not stream.ended:
                message.note = "silence"
                return message
            return message if message.head else None
        if not stream.buffer.startswith(b"HTTP/"):
            message.head += b"[no status line]\n"  # HTTP/0.9
            read_until_end(stream, message, timeout)
            return message
        end = stream.until(b"\r\n\r\n", timeout)
        if end < 0:
            message.head += stream.take(len(stream.buffer))
            message.note = f"head cut: {stream.ended or 'silence'}"
            message.close = True
            return message
        head = stream.take(end)
        message.head += head
        match = re.match(rb"HTTP/1\.([01]) (\d\d\d)", head)
        status = int(match.group(2)) if match else 0
        if 100 <= status < 200 and status != 101:
            continue
        break
    named = fields(head)
    connection = b",".join(named.get(b"connection", [])).lower()
    message.close = b"close" in connection or (head.startswith(b"HTTP/1.0") and b"keep-alive" not in connection)
    if status == 101 or method == "HEAD" or status in (204, 304):
        return message
    if b"chunked" in b",".join(named.get(b"transfer-encoding", [])).lower():
        read_chunked(stream, message, timeout)
    elif b"content-length" in named:
        size = int(named[b"content-length"][0])
        if not stream.need(size, timeout):
            message.note = f"body cut: {stream.ended or 'silence'}"
            message.close = True
        message.body = stream.take(size)
    else:
        read_until_end(stream, message, timeout)
    return message


def read_request_head(stream, timeout):
    end = stream.until(b"\r\n\r\n", timeout)
    if end < 0:
        return None
    message = Message()
    message.head = stream.take(end)
    return message


def read_request_body(stream, message, timeout):
    named = fields(message.head)
    if b"chunked" in b",".join(named.get(b"transfer-encoding", [])).lower():
        read_chunked(stream, message, timeout)
    elif b"content-length" in named:
        size = int(named[b"content-length"][0])
        if not stream.need(size, timeout):
            message.note = f"body cut: {stream.ended or 'silence'}"
        message.body = stream.take(size)
