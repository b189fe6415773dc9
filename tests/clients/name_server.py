"""A name server for tests, and backends on many addresses."""

import socket
import struct
import threading


class NameServer:
    """Answers A questions from `names`; None: no such name; absent: silence. TTL 1. `services`: name to SRV
    records, (priority, weight, port, target)."""

    def __init__(self, names, address=("127.0.0.1", 0)):
        self.names = names
        self.services = {}
        self.asked = 0
        self.log = []
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind(address)
        self.port = self.socket.getsockname()[1]
        threading.Thread(target=self.serve, daemon=True).start()

    def serve(self):
        while True:
            try:
                query, peer = self.socket.recvfrom(4096)
            except OSError:
                return
            answer = self.answer(query)
            if answer:
                self.socket.sendto(answer, peer)

    def answer(self, query):
        labels, at = [], 12
        while query[at]:
            labels.append(query[at + 1:at + 1 + query[at]].decode().lower())
            at += query[at] + 1
        kind = query[at + 1:at + 3]
        question = query[12:at + 5]
        name = ".".join(labels)
        self.asked += 1
        self.log.append(name)
        if kind == b"\0\x21" and name in self.services:
            return self.service(query, question, self.services[name])
        if name not in self.names:
            return None
        addresses = self.names[name]
        if addresses is None:
            return query[:2] + b"\x81\x83" + b"\0\1\0\0\0\0\0\0" + question
        found = addresses if kind == b"\0\1" else []
        answer = query[:2] + b"\x81\x80" + b"\0\1" + len(found).to_bytes(2, "big") + b"\0\0\0\0" + question
        for address in found:
            answer += b"\xc0\x0c\0\1\0\1\0\0\0\1\0\4" + socket.inet_aton(address)
        return answer

    @staticmethod
    def service(query, question, records):
        answer = query[:2] + b"\x81\x80" + b"\0\1" + len(records).to_bytes(2, "big") + b"\0\0\0\0" + question
        for priority, weight, port, target in records:
            data = struct.pack(">HHH", priority, weight, port)
            data += b"".join(bytes([len(label)]) + label.encode() for label in target.split(".")) + b"\0"
            answer += b"\xc0\x0c\0\x21\0\1\0\0\0\1" + len(data).to_bytes(2, "big") + data
        return answer

    def close(self):
        self.socket.close()


class Backends:
    """The same port on several addresses; each answers with its own."""

    def __init__(self, addresses):
        self.sockets = {}
        self.served = 0
        self.broken = False
        port = 0
        for address in addresses:
            listener = socket.create_server((address, port))
            port = listener.getsockname()[1]
            self.sockets[address] = listener
            threading.Thread(target=self.serve, args=(address, listener), daemon=True).start()
        self.port = port

    def serve(self, address, listener):
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return
            with client:
                client.recv(65536)
                self.served += 1
                if self.broken:
                    continue
                body = address.encode()
                client.sendall(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%s"
                               % (len(body), body))

    def close(self):
        for listener in self.sockets.values():
            listener.close()
