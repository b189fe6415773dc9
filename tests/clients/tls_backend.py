"""A backend that speaks HTTP/1.1 over TLS."""

import socket
import ssl
import threading

from harness import reply


class TlsBackend:
    """HTTP/1.1 over TLS; keeps what each handshake was."""

    def __init__(self, files, clients=None, greeting=b"", **limits):
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.load_cert_chain(*files)
        self.context.sni_callback = self._sni
        if clients:
            self.context.verify_mode = ssl.CERT_OPTIONAL
            self.context.load_verify_locations(clients)
        for name, value in limits.items():
            setattr(self.context, name, value)
        self.greeting = greeting
        self.names = []
        self.handshakes = []
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=32)
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def _sni(self, _socket, name, _context):
        self.names.append(name)

    def _accept(self):
        while True:
            try:
                plain, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(plain,), daemon=True).start()

    def _serve(self, plain):
        try:
            if self.greeting:
                plain.sendall(self.greeting)
            secure = self.context.wrap_socket(plain, server_side=True)
            self.handshakes.append((secure.version(), secure.session_reused, secure.getpeercert(),
                                    secure.cipher()[0]))
            reader = secure.makefile("rb")
            while reader.readline():
                while reader.readline().strip():
                    pass
                secure.sendall(reply(b"secret"))
            secure.close()
        except OSError:
            plain.close()

    def stop(self):
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
