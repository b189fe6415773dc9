"""Waiting for what should happen, and the loop that backends and WebSocket clients live on."""

import asyncio
import os
import sys
import threading
import time

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, f"{ROOT}/tests/support")
from watch import Watch  # noqa: E402

# How long anything that should happen may take: sanitizers on a busy machine are slow.
PATIENCE = float(os.environ.get("WEIR_PATIENCE", "30"))

# Of the logs and pid files of all services.
changes = Watch()


def wait_until(condition, what="condition", patience=PATIENCE):
    """Asks again until it holds, at each change in a service's folder; now and then for what no event
    tells of (other processes)."""
    deadline = time.monotonic() + patience
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise AssertionError(f"waited {patience} s in vain for: {what}")
        changes.wait(0.02)


class _Loop:
    def __init__(self):
        self.loop = asyncio.new_event_loop()
        threading.Thread(target=self.loop.run_forever, daemon=True).start()

    def run(self, coroutine, patience=PATIENCE * 2):
        return asyncio.run_coroutine_threadsafe(coroutine, self.loop).result(patience)


LOOP = _Loop()


def run(coroutine, patience=PATIENCE * 2):
    """Runs a coroutine of the test on the shared loop and returns its result."""
    return LOOP.run(coroutine, patience)
