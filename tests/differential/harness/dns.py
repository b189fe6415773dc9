"""A name server with a handful of names: `name address...`, `name -` for no such name, `name ?` for silence."""

import socket
import struct
import threading


class Server:
    def __init__(self):
        self.names = {}
        self.sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.sock.bind(("127.0.0.1", 0))
        self.port = self.sock.getsockname()[1]

    def start(self, lines):
        for line in lines:
            words = line.split()
            if words:
                self.names[words[0].lower()] = words[1:]
        threading.Thread(target=self.serve, daemon=True).start()

    def serve(self):
        while True:
            try:
                query, client = self.sock.recvfrom(4096)
            except OSError:
                return
            if not query:
                return
            answer = self.answer(query)
            if answer:
                self.sock.sendto(answer, client)

    def stop(self):
        try:
            self.sock.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        self.sock.close()

    def answer(self, query):
        serial, = struct.unpack("!H", query[:2])
        labels, position = [], 12
        while query[position]:
            length = query[position]
            labels.append(query[position + 1:position + 1 + length].decode("latin-1"))
            position += 1 + length
        question = query[12:position + 5]
        kind, = struct.unpack("!H", query[position + 1:position + 3])
        values = self.names.get(".".join(labels).lower(), ["-"])
        if values == ["?"]:
            return None
        code = 3 if values == ["-"] else 0
        records = b""
        count = 0
        for value in values if code == 0 else []:
            family = socket.AF_INET6 if ":" in value else socket.AF_INET
            if kind != (28 if ":" in value else 1):
                continue
            data = socket.inet_pton(family, value)
            records += b"\xc0\x0c" + struct.pack("!HHIH", kind, 1, 60, len(data)) + data
            count += 1
        return struct.pack("!HHHHHH", serial, 0x8180 | code, 1, count, 0, 0) + question + records
