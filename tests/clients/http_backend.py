"""An HTTP/1.1 backend, and what it got."""

import asyncio
import threading

from waiting import PATIENCE, run
from websockets.server import ServerConnection


class Request:
    """What a backend got."""

    def __init__(self, head, body=b""):
        self.head = head
        self.body = body
        lines = head.decode("latin-1").split("\r\n")
        self.line = lines[0]
        self.method, self.target, self.version = self.line.split(" ", 2)
        self.fields = []
        for line in lines[1:]:
            if line:
                name, _, value = line.partition(":")
                self.fields.append((name, value.strip()))

    def all(self, name):
        return [value for field, value in self.fields if field.lower() == name.lower()]

    def get(self, name):
        values = self.all(name)
        return ", ".join(values) if values else None


def reply(body=b"", status="200 OK", fields=(), close=False):
    """The bytes of an answer."""
    if isinstance(body, str):
        body = body.encode()
    head = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}"]
    head += [f"{name}: {value}" for name, value in fields]
    if close:
        head.append("Connection: close")
    return "\r\n".join(head).encode() + b"\r\n\r\n" + body


class Backend:
    """An HTTP/1.1 server that echoes WebSocket messages and keeps what it was asked.

    `answer`, a coroutine (request, reader, writer), writes the answer to an ordinary request; it
    returns False to end the connection. Without it the answer is 200 with the backend's name.
    """

    def __init__(self, name="backend", answer=None, websocket=True):
        self.name = name
        self.answer = answer
        self.websocket = websocket
        self.requests = []
        self.connections = 0
        self.tunnels = 0
        self.messages = []
        self._writers = set()
        self._seen = threading.Condition()
        self._server = run(self._start())
        self.port = self._server.sockets[0].getsockname()[1]

    async def _start(self):
        return await asyncio.start_server(self._serve, "127.0.0.1", 0, backlog=1024)

    async def _serve(self, reader, writer):
        self.connections += 1
        self._writers.add(writer)
        try:
            while await self._exchange(reader, writer):
                pass
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass
        finally:
            self._writers.discard(writer)
            writer.close()

    async def _exchange(self, reader, writer):
        try:
            head = await reader.readuntil(b"\r\n\r\n")
        except asyncio.IncompleteReadError:
            return False
        request = Request(head[:-4])
        request.body = await self._body(request, reader)
        with self._seen:
            self.requests.append(request)
            self._seen.notify_all()
        wants_upgrade = (request.get("Upgrade") or "").lower() == "websocket"
        if self.websocket and wants_upgrade and "upgrade" in (request.get("Connection") or "").lower():
            await self._tunnel(head, reader, writer)
            return False
        if self.answer:
            more = await self.answer(request, reader, writer)
        else:
            writer.write(reply(f"{self.name}\n", fields=[("Content-Type", "text/plain")]))
            more = True
        await writer.drain()
        close = (request.get("Connection") or "").lower() == "close" or request.version == "HTTP/1.0"
        return more is not False and not close

    async def _body(self, request, reader):
        if "chunked" in (request.get("Transfer-Encoding") or "").lower():
            body = b""
            while True:
                size = int((await reader.readline()).split(b";")[0], 16)
                body += await reader.readexactly(size)
                await reader.readline()
                if size == 0:
                    return body
        return await reader.readexactly(int(request.get("Content-Length") or 0))

    async def _tunnel(self, head, reader, writer):
        self.tunnels += 1
        protocol = ServerConnection()
        protocol.receive_data(head)
        while True:
            for event in protocol.events_received():
                if hasattr(event, "headers"):
                    protocol.send_response(protocol.accept(event))
                elif event.opcode in (1, 2):
                    self.messages.append(event.data)
                    send = protocol.send_text if event.opcode == 1 else protocol.send_binary
                    send(event.data)
            for data in protocol.data_to_send():
                if not data:
                    return
                writer.write(data)
            await writer.drain()
            data = await reader.read(65536)
            if not data:
                protocol.receive_eof()
                return
            protocol.receive_data(data)

    def wait_requests(self, count, patience=PATIENCE):
        with self._seen:
            if not self._seen.wait_for(lambda: len(self.requests) >= count, patience):
                raise AssertionError(f"{self.name} got {len(self.requests)} requests, not {count}")
            return self.requests[:count]

    def last(self):
        return self.requests[-1]

    def open_connections(self):
        return len(self._writers)

    def stop(self):
        async def end():
            self._server.close()
            for writer in list(self._writers):
                writer.transport.abort()

        run(end())
