# SPDX-License-Identifier: GPL-2.0-or-later
"""How many bytes of processes are cold, by clearing the referenced bits of their pages
(/proc/PID/clear_refs) and counting later which were set again (smaps).

It needs no DAMON and no root, but disturbs: reclaim goes by the same bits, and a page
whose bit was cleared looks unused to it. It tells no addresses.
"""

from __future__ import annotations

from collections.abc import Sequence

from zswap_py._lib.signals import interruptions
from zswap_py.sources.coldness import CannotTell, Progress, no_progress, valid_seconds, wait
from zswap_py.sources.pagemap import PAGE_SIZE
from zswap_py.sources.process import Process
from zswap_py.sources.procfs import ProcessGone
from zswap_py.sources.source import SourceError
from zswap_py.sources.swappable import swappable_mappings

REMARK = (
    "cold by clear_refs, which cleared the processes' referenced bits; memory that several "
    "processes map counts in each"
)


def cold_bytes(
    pids: Sequence[int], seconds: float, *, progress: Progress = no_progress
) -> dict[int, int]:
    """Returns the bytes of each process's swappable memory that it does not touch in
    ``seconds`` from now on. Leaves out processes that exit. In a private mapping of a
    file they are at least as many. Raises CannotTell if a process may not be read.
    """
    valid_seconds(seconds)
    processes = []
    for pid in pids:
        try:
            with Process.find(pid) as process, open(f"{process.proc}/clear_refs", "wb", 0) as f:
                f.write(b"1")
                processes.append(process)
        except (ProcessGone, ProcessLookupError, FileNotFoundError):
            continue
        except (SourceError, PermissionError) as e:
            raise CannotTell(str(e), "Give processes of your own, or run as root") from None
    with interruptions() as check:
        wait(seconds, progress, check)
    cold = {}
    for process in processes:
        try:
            process.open()
            with process:
                cold[process.pid] = PAGE_SIZE * sum(
                    max(0, (m.rss if is_shmem else m.anonymous) - m.referenced)
                    for m, is_shmem in swappable_mappings(process)
                )
        except (FileNotFoundError, ProcessLookupError, PermissionError):
            continue
    return cold
