# SPDX-License-Identifier: GPL-2.0-or-later
"""What a report costs the machine that it runs on: how it is kept low, and counted."""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from zswap_py.report.data import Cost
from zswap_py.sources.procfs import read_status

#: CPU seconds of a report on live processes, unless another budget or amount is given.
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
            peak_memory=_peak_memory(),
            threads=threads,
            policy="idle" if idle else "other",
        )


def _peak_memory() -> int:
    """Returns the most memory that this process has had, in bytes. ru_maxrss may be
    that of the process that started this one: it outlives exec().
    """
    return int(read_status(os.getpid())["VmHWM"].split()[0]) << 10


def on_thread(work: Callable[[], _T], *, idle: bool, stop: Callable[[], None]) -> _T:
    """Runs `work`, and returns its result or raises what it raises. If `idle`, runs it
    on a thread of its own. This thread and those that it starts are scheduled as
    SCHED_IDLE, and run when a CPU has nothing else to do; the calling thread is not,
    since only root may leave SCHED_IDLE again. At a KeyboardInterrupt then calls
    `stop`, which must make `work` return or raise soon, and waits for it.
    """
    if not idle:  # Ctrl-C must end a read from a pipe that gives no more
        return work()
    submitted, go = False, threading.Event()

    def wait_and_work() -> _T:
        go.wait()
        if not submitted:
            raise KeyboardInterrupt
        return work()

    with ThreadPoolExecutor(1, "zswap-report", _be_idle) as thread:
        try:
            future = thread.submit(wait_and_work)
            submitted = True
            go.set()
            return future.result()
        except KeyboardInterrupt:
            stop()
            raise
        finally:
            go.set()  # an interrupted submit() may leave a thread that the pool does not know


@contextlib.contextmanager
def idle() -> Iterator[None]:
    """Schedules the calling thread, and those that it starts, as SCHED_IDLE, and as
    before afterwards. A thread without CAP_SYS_NICE stays at SCHED_IDLE, unless
    RLIMIT_NICE allows it to be nice 0: so this is for a process that ends soon.
    """
    policy, parameter = os.sched_getscheduler(0), os.sched_getparam(0)
    _be_idle()
    try:
        yield
    finally:
        with contextlib.suppress(PermissionError):
            os.sched_setscheduler(0, policy, parameter)


def _be_idle() -> None:
    os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
