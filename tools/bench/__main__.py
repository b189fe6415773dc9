"""weir and nginx side by side: CPU time, memory, startup, reload, each as a ratio to nginx.

    /usr/bin/python3 tools/bench                      everything, about two minutes
    /usr/bin/python3 tools/bench load|memory|startup|reload|tls|http2
    /usr/bin/python3 tools/bench load --only small,tunnel --rounds 15
    /usr/bin/python3 tools/bench load --only stream-bulk --congestion reno

Both run one worker, pinned on the same processor; clients and backend run on another. Rounds are
interleaved and each answer is checked byte by byte. CPU time is the worker's own, in nanoseconds, from
the kernel's scheduler. A ratio is the median of the ratios of paired rounds.
"""

import argparse
import os
import shutil
import sys
import tempfile

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

# pylint: disable=wrong-import-position
import http2  # noqa: E402
import load  # noqa: E402
import network  # noqa: E402
import report  # noqa: E402
import services  # noqa: E402
import startup  # noqa: E402
import tls  # noqa: E402

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))


def arguments():
    parser = argparse.ArgumentParser(prog="tools/bench", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", nargs="*", default=[], help="load, memory, startup, reload, tls, http2; all")
    build = f"{ROOT}/build/release"
    parser.add_argument("--weir", default=f"{build}/weir", help="the program to measure")
    parser.add_argument("--nginx", default="/usr/sbin/nginx", help="the program to compare with")
    parser.add_argument("--tools", default=build, help="folder of bench_client, bench_backend and so on")
    parser.add_argument("--rounds", type=int, default=15, help="paired rounds of each load")
    parser.add_argument("--scale", type=float, default=1.0, help="length of a round")
    parser.add_argument("--connections", type=int, default=4000, help="idle connections to hold")
    parser.add_argument("--servers", type=int, default=3000, help="virtual servers for startup")
    parser.add_argument("--only", default="", help="loads to run, separated by commas")
    parser.add_argument("--congestion", default="",
                        help="in a network namespace of its own, with this congestion control (reno)")
    parser.add_argument("--quick", action="store_true", help="a short round of everything, as a test")
    parser.add_argument("--strict", action="store_true", help="exit with 1 when a target is missed")
    options = parser.parse_args()
    if options.quick:
        options.rounds, options.scale, options.connections, options.servers = 1, 0.05, 200, 100
    return options


def main():
    options = arguments()
    tools = ("bench_client", "bench_backend", "bench_h2_client", "bench_h2_backend")
    for program in (options.weir, options.nginx, *(f"{options.tools}/{name}" for name in tools)):
        if not shutil.which(program):
            sys.exit(f"tools/bench: {program} is missing (cmake --preset release, "
                     "cmake --build --preset release)")
    jobs = {"load": load.measure_load, "memory": load.measure_memory,
            "startup": startup.measure_startup, "reload": startup.measure_reload,
            "tls": tls.measure_tls, "http2": http2.measure_http2}
    unknown = set(options.what) - set(jobs)
    if unknown:
        sys.exit(f"tools/bench: nothing is called {', '.join(sorted(unknown))}")
    folder = tempfile.mkdtemp(prefix="weir-bench-")
    os.chmod(folder, 0o755)
    try:
        if options.congestion:
            network.enter(options.congestion)
        print(f"congestion control: {network.congestion_control()}")
        table = report.Table()
        for name in options.what or jobs:
            jobs[name](options, folder, table)
    except services.Wrong as error:
        sys.exit(f"tools/bench: {error}")
    finally:
        services.end_all()
        shutil.rmtree(folder, ignore_errors=True)
    table.summary()
    return 1 if options.strict and table.missed else 0


if __name__ == "__main__":
    sys.exit(main())
