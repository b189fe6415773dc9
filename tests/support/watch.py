"""Changes in folders as events (inotify): what waits for a log line or a pid file wakes when it is written."""

import ctypes
import os
import select

_libc = ctypes.CDLL(None, use_errno=True)
# IN_MODIFY, IN_CLOSE_WRITE, IN_MOVED_TO, IN_CREATE, IN_DELETE
_CHANGES = 0x2 | 0x8 | 0x80 | 0x100 | 0x200


class Watch:
    def __init__(self, *folders):
        self.descriptor = _libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
        if self.descriptor < 0:
            raise OSError(ctypes.get_errno(), "inotify_init1")
        self.process = -1
        self.poll = select.poll()
        self.poll.register(self.descriptor, select.POLLIN)
        for folder in folders:
            self.add(folder)

    def add(self, folder):
        """Watches a folder (not those below it). One that is gone is left out."""
        _libc.inotify_add_watch(self.descriptor, os.fsencode(folder), _CHANGES)

    def add_process(self, pid):
        """The end of a child wakes the waiter too."""
        self.process = os.pidfd_open(pid)
        self.poll.register(self.process, select.POLLIN)

    def wait(self, seconds):
        """Until something has changed since the last wait; False: nothing did."""
        if not self.poll.poll(max(0, seconds) * 1000):
            return False
        try:
            os.read(self.descriptor, 65536)
        except BlockingIOError:
            pass
        return True

    def close(self):
        for descriptor in (self.descriptor, self.process):
            if descriptor >= 0:
                os.close(descriptor)
        self.descriptor = self.process = -1
