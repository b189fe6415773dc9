"""A loopback network of the benchmark's own, with the congestion control that is asked for."""

import ctypes
import fcntl
import os
import socket
import struct

from services import Wrong

CLONE_NEWUSER = 0x10000000
CLONE_NEWNET = 0x40000000
SIOCSIFFLAGS = 0x8914
IFF_UP = 0x1
SETTING = "/proc/sys/net/ipv4/tcp_congestion_control"


def congestion_control():
    with open(SETTING, encoding="ascii") as file:
        return file.read().strip()


def write(path, text):
    with open(path, "w", encoding="ascii") as file:
        file.write(text)


def unshare(what):
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(what) != 0:
        raise Wrong(f"no network namespace: {os.strerror(ctypes.get_errno())}")


def enter(congestion):
    """This process and what it starts move into a network where connections use `congestion`.

    One that is not the system's own has to be among net.ipv4.tcp_allowed_congestion_control; "reno"
    always is.
    """
    user, group = os.getuid(), os.getgid()
    if user == 0:
        unshare(CLONE_NEWNET)
    else:
        unshare(CLONE_NEWUSER | CLONE_NEWNET)
        write("/proc/self/setgroups", "deny")
        write("/proc/self/uid_map", f"{user} {user} 1")
        write("/proc/self/gid_map", f"{group} {group} 1")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        fcntl.ioctl(any_socket, SIOCSIFFLAGS, struct.pack("16sH14x", b"lo", IFF_UP))
    try:
        write(SETTING, congestion)
    except OSError as error:
        raise Wrong(f"congestion control {congestion}: {error.strerror}") from error
