#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""What a report does to the process that it reads: the latency of touching a page,
alone and while reports read it one after another, in turns.

    python bench/victim.py 8G                     as the default report reads
    python bench/victim.py 2G --seconds 5 --rounds 3 -- --precision 0.1%

Needs a C compiler, memory for the process, a CPU for it and one for the report, and a
machine that does nothing else. Arguments behind -- are those of zswap-py report.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import threading
from pathlib import Path
from typing import NamedTuple

from zswap_py.cli.options import size
from zswap_py.report.format import size as shown

MOST = 1.05  # of the p99 alone


class Latency(NamedTuple):
    """Of a touch, in nanoseconds."""

    touches: int
    p50: int
    p99: int
    p999: int
    worst: int


class Victim:
    """The process."""

    def __init__(self, directory: Path, nbytes: int) -> None:
        program = directory / "victim"
        source = Path(__file__).with_suffix(".c")
        subprocess.run(
            [os.environ.get("CC", "cc"), "-O2", "-Wall", "-o", program, source], check=True
        )
        self.process = subprocess.Popen(
            [program, str(nbytes)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        if self._line() != "ready":
            raise SystemExit(f"the process could not be given {shown(nbytes)}")

    def _line(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline().strip()

    def touch(self, seconds: float) -> Latency:
        """Touches pages for so long."""
        assert self.process.stdin is not None
        self.process.stdin.write(f"{seconds}\n")
        self.process.stdin.flush()
        return Latency(*map(int, self._line().split()))

    def close(self) -> None:
        self.process.kill()
        self.process.wait()


class Reports:
    """Reports on a process, one after another, until it is left."""

    def __init__(self, pid: int, arguments: list[str]) -> None:
        report = [sys.executable, "-m", "zswap_py", "report", "--pid", str(pid), "--json"]
        self.command = [*report, *arguments]
        self.made = 0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def _run(self) -> None:
        while not self._stop.is_set():
            subprocess.run(self.command, stdout=subprocess.DEVNULL, check=True)
            self.made += 1

    def __enter__(self) -> Reports:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("size", type=size)
    parser.add_argument("--seconds", type=float, default=10.0, help="of a turn")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("arguments", nargs="*")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory:
        victim = Victim(Path(directory), args.size)
        try:
            victim.touch(args.seconds)  # to warm up
            turns = []
            for _ in range(args.rounds):
                alone = victim.touch(args.seconds)
                with Reports(victim.process.pid, args.arguments) as reports:
                    read = victim.touch(args.seconds)
                turns.append((alone, read))
                print(f"alone {alone}\nread  {read} by {reports.made} reports", flush=True)
        finally:
            victim.close()
    alone, read = (statistics.median(turn[i].p99 for turn in turns) for i in (0, 1))
    ratio = read / alone
    print(
        f"{shown(args.size)}, {args.rounds} turns of {args.seconds:g} s: p99 {alone:.0f} ns alone, "
        f"{read:.0f} ns while it is read: {ratio:.3f}{'' if ratio <= MOST else ' !'}"
    )


if __name__ == "__main__":
    main()
