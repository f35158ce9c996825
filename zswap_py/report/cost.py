# SPDX-License-Identifier: GPL-2.0-or-later
"""What a report costs the machine that it runs on: how it is kept low, and counted."""

from __future__ import annotations

import os
import resource
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from zswap_py.report.data import Cost

#: Seconds of CPU time of a report on live processes, unless another budget is given.
BUDGET = 30

_T = TypeVar("_T")


class Stopwatch:
    """Counts the CPU and wall time of this process from its construction on."""

    def __init__(self) -> None:
        self._cpu, self._wall = time.process_time(), time.monotonic()

    def cpu_seconds(self) -> float:
        """Returns the CPU time of all threads, user and system."""
        return time.process_time() - self._cpu

    def cost(self, bytes_read: int, threads: int, idle: bool) -> Cost:
        """Returns the cost so far. The peak memory is the process's, pools included."""
        return Cost(
            cpu_seconds=self.cpu_seconds(),
            wall_seconds=time.monotonic() - self._wall,
            bytes_read=bytes_read,
            peak_memory=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << 10,
            threads=threads,
            policy="idle" if idle else "other",
        )


def on_thread(work: Callable[[], _T], *, idle: bool, stop: Callable[[], None]) -> _T:
    """Runs `work` on a thread of its own, and returns its result or raises what it
    raises. If `idle`, the thread and those that it starts are scheduled as SCHED_IDLE,
    and run when a CPU has nothing else to do; the calling thread is not, since only
    root may leave SCHED_IDLE again. At a KeyboardInterrupt calls `stop`, which must
    make `work` return or raise soon, and waits for it.
    """
    with ThreadPoolExecutor(1, "zswap-report", _be_idle if idle else None) as thread:
        future = thread.submit(work)
        try:
            return future.result()
        except KeyboardInterrupt:
            stop()
            raise


def _be_idle() -> None:
    os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
