"""What the tests of HTTP/2 to clients share: a configuration and its service."""

import asyncio
import threading

import harness
from harness import wait_until

LISTEN = "listen 127.0.0.1:8080 http2;" if harness.IS_ORACLE else "listen 127.0.0.1:8080; http2 on;"

CONF = """
events {}
http {
    log_format test '"$request" $status $bytes_sent $body_bytes_sent $request_length '
                    '$server_protocol "$http2" "$http_host" "$http_cookie"';
    access_log logs/access.log test;
    error_log logs/error.log info;
    SETTINGS
    server {
        LISTEN
        root html;
        location / { proxy_pass http://127.0.0.1:9001; proxy_http_version 1.1; }
        location /stream/ {
            proxy_pass http://127.0.0.1:9001; proxy_http_version 1.1;
            proxy_request_buffering off; proxy_buffering off;
        }
        location /here { return 200 "here\\n"; }
        location /static/ { }
        location /gone { return 444; }
    }
}
"""


class Http2Case(harness.TestCase):
    def start(self, settings="", answer=None, files=None):
        self.upstream = self.backend(answer=answer)
        text = CONF.replace("LISTEN", LISTEN).replace("SETTINGS", settings)
        self.weir = self.service(text, {9001: self.upstream}, files=files)
        return self.weir.port()

    def held(self):
        """An event, and an answer of the upstream that waits for it."""
        released = threading.Event()
        self.addCleanup(released.set)

        async def answer(_request, _reader, writer):
            await asyncio.get_running_loop().run_in_executor(None, released.wait, harness.PATIENCE)
            writer.write(harness.reply("late"))
            return True

        return released, answer

    def log_line(self, start, patience=harness.PATIENCE):
        def find():
            for line in self.weir.read("logs/access.log").splitlines():
                if line.startswith(f'"{start}'):
                    return line
            return None
        return wait_until(find, f"a line that begins with {start}", patience)
