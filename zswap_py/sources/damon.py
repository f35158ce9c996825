# SPDX-License-Identifier: GPL-2.0-or-later
"""Finds cold memory by DAMON, the kernel's monitor of memory accesses, through sysfs.

::

    with ColdSearch() as search:
        cold = search.find([1234, 1235], 120)
    cold.by_pid[1234].within(pages_of_the_survey)

The search gives DAMON (its operations ``fvaddr``) the swappable memory that is present
at the start, in pieces. Memory that appears later was touched later, so it is not cold.
Each half a second DAMON looks at one page of each piece, or of each part that it has
split a piece into. A piece is cold if none of the pages that it looked at was touched
for ``seconds``. So a piece with few used pages may count as cold, and a huge page is
used as a whole.

DAMON sees what a process touches by its own page table. A page that several of the
searched processes map counts as cold only where it is cold in all of them.

One kdamond, the kernel's thread, watches all processes. It runs until the search ends:
after exceptions, SIGINT, SIGTERM and SIGHUP too. After SIGKILL it runs on, and the next
search recognizes it by :mod:`zswap_py.sources.damon_state` and ends it. Another tool's
kdamond or settings are left alone: the search then raises CannotTell. DAMON_STAT, which
keeps statistics and holds DAMON alone, is off during the search.
"""

from __future__ import annotations

import itertools
import math
import os
import time
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from types import TracebackType

from zswap_py._lib.signals import Check, interruptions
from zswap_py.sources.coldness import (
    CannotTell,
    Cold,
    Progress,
    no_progress,
    valid_seconds,
    wait,
)
from zswap_py.sources.damon_state import Lock, Started
from zswap_py.sources.damon_sysfs import AGGREGATION, MAX_REGIONS, Damon, Sysfs
from zswap_py.sources.pagemap import PAGE_SIZE, Kind, Runs, Taken
from zswap_py.sources.process import Process
from zswap_py.sources.source import SourceError
from zswap_py.sources.swappable import swappable_mappings

PIECE = 256 << 10  #: bytes of a piece, at most, while the pieces are few enough
RUN = Path("/run/zswap-py")  #: the directory of the state file, root's own


class ColdSearch:
    """A context manager that holds DAMON for one search or several. Needs root.

    Entering raises CannotTell if DAMON is absent or another tool uses it.
    """

    def __init__(self, *, sysfs: Sysfs | None = None, run: Path = RUN) -> None:
        self._damon = Damon(sysfs or Sysfs())
        self._run = run
        self._remarks: list[str] = []
        self._stack = ExitStack()
        self._check: Check = lambda: None

    def __enter__(self) -> ColdSearch:
        with ExitStack() as stack:
            self._check = stack.enter_context(interruptions())
            self._damon.must_be_there()
            self._lock = stack.enter_context(Lock(self._run))
            self._recover()
            self._damon.must_be_free()
            self._started = Started(stat=self._damon.stat_enabled())
            stack.callback(self._put_back)
            if self._started.stat:
                self._lock.save(self._started)
                self._damon.enable_stat(False)
                self._remarks.append("DAMON_STAT was off meanwhile")
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stack.__exit__(kind, error, trace)

    def find(
        self,
        pids: Sequence[int],
        seconds: float,
        *,
        piece: int = PIECE,
        progress: Progress = no_progress,
    ) -> Cold:
        """Returns the memory of the processes that was not touched for ``seconds``, 1
        or more. Takes as long, and some seconds more.

        ``piece`` is in bytes. The pieces are larger if there would be more than
        MAX_REGIONS; a remark says so. Processes that exit are absent from the result.
        Raises CannotTell if DAMON cannot watch, ValueError for a wrong argument, and
        KeyboardInterrupt on SIGINT, SIGTERM and SIGHUP.
        """
        valid_seconds(seconds)
        if piece < PAGE_SIZE or piece % PAGE_SIZE:
            raise ValueError(f"piece is {piece}: give a multiple of the page size, {PAGE_SIZE}")
        remarks = self._remarks.copy()
        processes, present = _survey(pids, remarks)
        ranges, used = _cut(present, piece)
        if used > piece:
            remarks.append(
                f"pieces of {used >> 10:,} KiB instead of {piece >> 10:,} KiB, so that DAMON "
                f"watches at most {MAX_REGIONS:,}: less is found cold"
            )
        found = self.watch(ranges, seconds, progress)
        for pid in [pid for pid in found if not processes[pid].exists()]:
            del found[pid]
            remarks.append(f"pid {pid} exited meanwhile")
        shared = _drop_used_elsewhere(processes, ranges, found)
        if shared >= 1 << 20:
            remarks.append(
                f"{shared >> 20:,} MiB of the cold memory is mapped by several processes: which "
                "others than those searched use it is unknown"
            )
        return Cold("damon", seconds, by_pid=found, remarks=remarks)

    def watch(
        self, ranges: dict[int, Runs], seconds: float, progress: Progress = no_progress
    ) -> dict[int, Runs]:
        """Returns the parts of the ranges, by pid, that were not touched for
        ``seconds``.
        """
        targets = {pid: runs for pid, runs in ranges.items() if runs.starts}
        cold = {pid: Runs.none() for pid in ranges}
        if not targets:
            return cold
        try:
            self._started = self._started._replace(targets=[*targets])
            self._lock.save(self._started)
            self._damon.configure(targets, self._check)
            self._damon.start()
            # one more than asked for: memory that is used once in ``seconds`` may rest
            # for as many whole aggregations between two uses
            age = math.ceil(seconds / AGGREGATION) + 1
            began, left = time.monotonic(), age
            while left > 0:  # a busy machine's aggregations take longer
                wait(left * AGGREGATION, progress, self._check)
                passed = int((time.monotonic() - began) / AGGREGATION)
                left = age - min(passed, self._damon.aggregations(_alive(targets)))
            cold |= self._damon.untouched(targets, age, _alive)
        finally:
            if self._damon.is_set_to([*targets]):  # else another tool has taken it
                self._damon.stop()
            self._started = self._started._replace(targets=[])
            self._lock.save(self._started)
        return cold

    def _put_back(self) -> None:
        if self._started.stat:
            try:
                self._damon.enable_stat(True)
            except OSError as e:  # another tool started a kdamond meanwhile
                raise CannotTell(
                    f"DAMON_STAT cannot be switched on again: {e.strerror}",
                    "When DAMON is free, run the search again, or: "
                    f"echo Y >{self._damon.stat_file}",
                ) from None
        self._lock.save(None)

    def _recover(self) -> None:
        """Ends what a killed search left. Keeps its state if another tool has DAMON."""
        left = self._lock.load()
        if left is None:
            return
        if left.targets and self._damon.is_set_to(left.targets):
            kdamond = self._damon.kdamond()
            self._damon.stop()
            whose = f"a killed zswap-py (pid {left.pid})"
            self._remarks.append(
                f"ended the kdamond (pid {kdamond}) that {whose} left running"
                if kdamond
                else f"removed the DAMON settings of {whose}"
            )
        if left.stat:
            self._damon.must_be_free()
            self._damon.enable_stat(True)
            self._remarks.append(f"a killed zswap-py (pid {left.pid}) had left DAMON_STAT off")
        self._lock.save(None)


def _survey(
    pids: Sequence[int], remarks: list[str]
) -> tuple[dict[int, Process], dict[int, list[Runs]]]:
    """Returns the processes that can be read, and their swappable pages by mapping."""
    processes: dict[int, Process] = {}
    present: dict[int, list[Runs]] = {}
    for pid in pids:
        try:
            with Process.find(pid) as process:
                if process.pid in processes:
                    continue
                pages = []
                for mapping, is_shmem in swappable_mappings(process):
                    found = process.page_table.find(mapping.start, mapping.end)
                    pages.append(found[Kind.ANON])
                    pages += [found[Kind.FILE]] if is_shmem else []
                processes[process.pid], present[process.pid] = process, pages
        except (SourceError, OSError) as e:
            remarks.append(str(e))
    return processes, present


def _alive(targets: dict[int, Runs]) -> dict[int, Runs]:
    """Returns the targets that still have a process."""
    return {pid: runs for pid, runs in targets.items() if os.path.exists(f"/proc/{pid}")}


def _cut(present: dict[int, list[Runs]], piece: int) -> tuple[dict[int, Runs], int]:
    """Returns the pages in pieces of at most ``piece`` bytes, with gaps inside a piece
    filled, by pid; and the bytes of a piece that keep their number below MAX_REGIONS.
    """
    while True:
        ranges = {pid: _pieces(runs, piece) for pid, runs in present.items()}
        if sum(len(runs.starts) for runs in ranges.values()) <= MAX_REGIONS:
            return ranges, piece
        piece *= 2


def _pieces(present: list[Runs], piece: int) -> Runs:
    cells: dict[int, tuple[int, int]] = {}  # by number of the piece: first and last address
    for start, end in itertools.chain.from_iterable(zip(*runs, strict=True) for runs in present):
        for at in range(start - start % piece, end, piece):
            low, high = max(at, start), min(at + piece, end)
            before = cells.get(at, (low, high))
            cells[at] = min(low, before[0]), max(high, before[1])
    runs = Runs.none()
    for at in sorted(cells):
        runs.append(*cells[at])
    return runs


def _drop_used_elsewhere(
    processes: dict[int, Process], ranges: dict[int, Runs], cold: dict[int, Runs]
) -> int:
    """Removes pages that one process touched and another only maps. Returns the bytes
    that are left in pages with several mappings.
    """
    used, shared = Taken(), 0
    if len(cold) > 1:
        for pid, found in cold.items():
            with suppress(OSError), processes[pid] as process:
                process.open()
                process.page_table.take_shared(ranges[pid].without(found), used)
    for pid, found in cold.items():
        with suppress(OSError), processes[pid] as process:
            process.open()
            cold[pid], pages = process.page_table.drop_shared(found, used)
            shared += pages * PAGE_SIZE
    return shared
