# SPDX-License-Identifier: GPL-2.0-or-later
"""Finds the memory that processes and cgroups have not touched for some seconds, by
the way that this machine has.

::

    found = find_cold([1234], [], 120)
    if isinstance(found, Unknown):
        print(f"cold memory unknown: {found.reason}. {found.remedy}")
    elif found.by_pid:
        cold = found.by_pid[1234].within(pages_of_the_survey)

DAMON (:mod:`zswap_py.sources.damon`) tells which memory is cold. Without it, and only
if the caller allows to disturb what the kernel itself knows of the use of memory, the
multi-generational LRU (:mod:`zswap_py.sources.lru_gen`) tells how many bytes of a
cgroup are cold, and clear_refs (:mod:`zswap_py.sources.clear_refs`) how many of a
process. None of these guesses; where none can be had, the answer is Unknown.

Find cold memory first and read it afterwards: reading may heat it.
"""

from __future__ import annotations

from collections.abc import Sequence

from zswap_py.sources import clear_refs, lru_gen
from zswap_py.sources.coldness import (
    CannotTell,
    Cold,
    Progress,
    Unknown,
    no_progress,
    valid_seconds,
)
from zswap_py.sources.damon import ColdSearch

__all__ = ["Cold", "Progress", "Unknown", "find_cold"]


def find_cold(
    pids: Sequence[int],
    cgroups: Sequence[str],
    seconds: float,
    *,
    intrusive: bool = False,
    progress: Progress = no_progress,
) -> Cold | Unknown:
    """Returns the memory that was not touched for ``seconds``; takes as long, and some
    seconds more.

    ``cgroups`` are paths below the mount of cgroup v2, or of v1's memory controller
    (``/app/api``). With DAMON only ``pids`` count, so give the groups' processes too.
    ``intrusive`` allows what changes the order of reclaim: to age the cgroups' LRU, and
    without cgroups to clear the processes' referenced bits. Raises ValueError for wrong
    seconds, KeyboardInterrupt on SIGINT, SIGTERM and SIGHUP, and OSError if the kernel
    answers as none should.
    """
    valid_seconds(seconds)
    try:
        with ColdSearch() as search:
            return search.find(pids, seconds, progress=progress)
    except CannotTell as e:
        unknown = e.unknown
    if not intrusive:
        return unknown
    remarks = [f"by bytes alone, as {unknown.reason}"]
    try:
        if cgroups:
            groups = lru_gen.cold_bytes_of(cgroups, seconds, progress=progress)
            return Cold(
                "lru_gen",
                seconds,
                bytes_by_cgroup={path: sum(nodes.values()) for path, nodes in groups.items()},
                remarks=[*remarks, lru_gen.REMARK],
            )
    except CannotTell as e:
        if not pids:
            return e.unknown
    try:
        processes = clear_refs.cold_bytes(pids, seconds, progress=progress)
    except CannotTell as e:
        return e.unknown
    return Cold(
        "clear_refs", seconds, bytes_by_pid=processes, remarks=[*remarks, clear_refs.REMARK]
    )
