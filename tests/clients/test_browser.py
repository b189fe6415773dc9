#!/usr/bin/python3
"""A page in headless Chromium: fetches over HTTP/2, and a secure WebSocket."""

import json
import shutil
import subprocess
import tempfile
import unittest
import urllib.parse

import harness
from harness import wait_until

CONFIGURATION = """
events {}
http {
    access_log logs/access.log;
    map $http_upgrade $connection_upgrade { default upgrade; "" ""; }
    server {
        listen 127.0.0.1:8443 ssl;
        http2 on;
        server_name localhost;
        ssl_certificate certs/localhost.pem;
        ssl_certificate_key certs/localhost.key;
        %s
        location = / { types {} default_type text/html; root html; try_files /page.html =404; }
        location / {
            proxy_pass http://127.0.0.1:9001;
            proxy_http_version 1.1;
            proxy_set_header Upgrade $http_upgrade;
            proxy_set_header Connection $connection_upgrade;
            proxy_set_header X-Protocol $server_protocol;
        }
    }
}
"""

PAGE = """<!doctype html><script>
const told = {};
function socket() {
  return new Promise((done, failed) => {
    const socket = new WebSocket("wss://" + location.host + "/chat");
    socket.onopen = () => socket.send("from the page");
    socket.onmessage = event => { done(event.data); socket.close(); };
    socket.onerror = () => failed("the WebSocket failed");
  });
}
async function all() {
  told.page = performance.getEntriesByType("navigation")[0].nextHopProtocol;
  const many = await Promise.all([...Array(20).keys()].map(
      i => fetch("/fetch/" + i).then(answer => answer.text())));
  told.fetched = many.length;
  told.same = many.every(text => text == many[0]) ? many[0] : "not the same";
  const big = new Uint8Array(1000000).fill(65);
  told.posted = (await (await fetch("/post", {method: "POST", body: big})).text());
  told.socket = await socket();
}
all().catch(error => told.error = String(error)).finally(
    () => fetch("/told?" + encodeURIComponent(JSON.stringify(told))));
</script>
"""


class Browser(harness.TestCase):
    def visit(self, more=""):
        async def answer(request, reader, writer):
            target = request.target
            if target == "/post":
                writer.write(harness.reply(str(len(request.body)).encode()))
            else:
                writer.write(harness.reply(request.get("X-Protocol").encode()))
            return True
        backend = self.backend(answer=answer)
        weir = self.service(CONFIGURATION % more, {9001: backend}, start=False,
                            files={"html/page.html": PAGE})
        harness.put_certificates(weir)
        weir.start()
        profile = tempfile.mkdtemp(prefix="weir-browser-")
        self.addCleanup(shutil.rmtree, profile, ignore_errors=True)
        browser = subprocess.Popen(
            ["chromium", "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage",
             "--ignore-certificate-errors", "--no-first-run", "--disable-background-networking",
             "--remote-debugging-port=0", f"--user-data-dir={profile}",
             f"https://localhost:{weir.port(8443)}/"],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            found = []

            def told():
                found[:] = [r.target for r in backend.requests if r.target.startswith("/told?")]
                return bool(found)
            wait_until(told, "the page's report", patience=harness.PATIENCE * 3)
        finally:
            browser.terminate()
            browser.wait()
        wait_until(lambda: "/chat" in weir.read("logs/access.log"), "the WebSocket's line in the log")
        self.socket_line = next(line for line in weir.read("logs/access.log").splitlines() if "/chat" in line)
        return json.loads(urllib.parse.unquote(found[0].partition("?")[2]))

    def test_page(self):
        told = self.visit()
        self.assertEqual(told, {"page": "h2", "fetched": 20, "same": "HTTP/2.0", "posted": "1000000",
                                "socket": "from the page"})
        self.assertIn("HTTP/1.1", self.socket_line)

    def test_page_with_websocket_over_http2(self):
        told = self.visit("http2_extended_connect on;")
        self.assertEqual(told.get("error"), None)
        self.assertEqual(told["socket"], "from the page")
        self.assertIn("HTTP/2.0", self.socket_line)


if __name__ == "__main__":
    unittest.main()
