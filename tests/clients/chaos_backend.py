#!/usr/bin/python3
"""A server that test_chaos.py kills, stops and spoils.

    chaos_backend.py NAME PORT [BACKLOG]

Answers every request with its name and the request's line. `GET /control?delay=S` makes it wait S seconds before
each answer from now on, `close=1` close instead of answering. Says "ready" when it listens, and ends with its parent.
"""

import ctypes
import signal
import socket
import sys
import threading
import time
import urllib.parse


class Server:
    def __init__(self, name):
        self.name = name
        self.delay = 0.0
        self.close = False

    def serve(self, client):
        received = b""
        with client:
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            while True:
                while b"\r\n\r\n" not in received:
                    data = client.recv(65536)
                    if not data:
                        return
                    received += data
                head, received = received.split(b"\r\n\r\n", 1)
                lines = head.decode("latin-1").split("\r\n")
                fields = {name.lower(): value.strip() for name, _, value in
                          (line.partition(":") for line in lines[1:])}
                length = int(fields.get("content-length", 0))
                while len(received) < length:
                    received += client.recv(65536)
                body, received = received[:length], received[length:]
                if not self.answer(client, lines[0], body):
                    return
                if fields.get("connection", "").lower() == "close":
                    return

    def answer(self, client, line, body):
        target = line.split(" ")[1]
        if target.startswith("/control?"):
            asked = dict(urllib.parse.parse_qsl(target.partition("?")[2]))
            self.delay = float(asked.get("delay", 0))
            self.close = asked.get("close") == "1"
        elif self.close:
            return False
        elif self.delay:
            time.sleep(self.delay)  # what the test is about: a server that is slow
        text = f"{self.name} {line.rsplit(' ', 1)[0]} {body.decode()}".encode()
        client.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(text), text))
        return True

    def guarded(self, client):
        try:
            self.serve(client)
        except OSError:
            pass


def main():
    ctypes.CDLL(None).prctl(1, signal.SIGKILL, 0, 0, 0)
    name, port = sys.argv[1], int(sys.argv[2])
    backlog = int(sys.argv[3]) if len(sys.argv) > 3 else 512
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind(("127.0.0.1", port))
    listener.listen(backlog)
    print("ready", flush=True)
    server = Server(name)
    while True:
        client, _ = listener.accept()
        threading.Thread(target=server.guarded, args=(client,), daemon=True).start()


if __name__ == "__main__":
    main()
