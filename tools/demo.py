"""The demo behind tools/demo: a backend, weir in front of it, and two clients that show it works."""

import asyncio
import http
import os
import signal
import subprocess
import sys
import tempfile

import websockets

sys.path.insert(0, f"{os.path.dirname(os.path.abspath(__file__))}/../tests/support")
from watch import Watch  # noqa: E402

WEIR, BACKEND = 8080, 9001
EXAMPLE = "conf.examples/websocket-map.conf"


async def page(path, headers):
    """The backend's answer to what is not WebSocket."""
    if headers.get("Upgrade", "").lower() == "websocket":
        return None
    return http.HTTPStatus.OK, [("Content-Type", "text/plain")], f"the backend got GET {path}\n".encode()


async def echo(connection):
    async for message in connection:
        await connection.send(f"echo: {message}")


async def start_weir(binary):
    folder = tempfile.mkdtemp(prefix="weir-demo-")
    os.chmod(folder, 0o755)
    os.mkdir(f"{folder}/logs")
    weir = await asyncio.create_subprocess_exec(
        binary, "-p", folder, "-e", "logs/error.log", "-c", os.path.abspath(EXAMPLE),
        "-g", "daemon off; pid logs/weir.pid;", stdin=subprocess.DEVNULL)
    watch = Watch(f"{folder}/logs")
    ended = asyncio.ensure_future(weir.wait())
    # The pid file is there when weir listens.
    while not ended.done() and not os.path.exists(f"{folder}/logs/weir.pid"):
        change = asyncio.to_thread(watch.wait, 1)
        await asyncio.wait([ended, asyncio.ensure_future(change)], return_when=asyncio.FIRST_COMPLETED)
    if weir.returncode is not None:
        raise SystemExit(f"weir did not start; see {folder}/logs/error.log")
    return weir, folder


async def show():
    """One request and one WebSocket message through weir."""
    url = f"127.0.0.1:{WEIR}"
    print(f"\n$ curl http://{url}/hello", flush=True)
    curl = await asyncio.create_subprocess_exec("curl", "-sS", f"http://{url}/hello",
                                                stdout=subprocess.PIPE)
    answer = (await curl.communicate())[0].decode()
    print(answer, end="")
    print(f"\n$ python3 -m websockets ws://{url}/chat", flush=True)
    async with websockets.connect(f"ws://{url}/chat") as connection:
        print("> hi")
        await connection.send("hi")
        reply = await connection.recv()
        print(f"< {reply}")
    return answer == "the backend got GET /hello\n" and reply == "echo: hi"


async def main(binary, once):
    ended = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, ended.set)
    async with websockets.serve(echo, "127.0.0.1", BACKEND, process_request=page):
        weir, folder = await start_weir(binary)
        try:
            shown = await show()
            if not once:
                print(f"\nweir serves {EXAMPLE} on 127.0.0.1:{WEIR}, logs in {folder}/logs.")
                print("Try the two commands above in another terminal. Ctrl-C ends it.", flush=True)
                waits = [asyncio.ensure_future(ended.wait()), asyncio.ensure_future(weir.wait())]
                await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            if weir.returncode is None:
                weir.terminate()
            await weir.wait()
    return 0 if shown else 1


if __name__ == "__main__":
    sys.exit(asyncio.run(main(sys.argv[1], "--once" in sys.argv[2:])))
