# SPDX-License-Identifier: GPL-2.0-or-later
"""Which mappings of a process have memory that reclaim could swap."""

from __future__ import annotations

from collections.abc import Iterator

from zswap_py.sources.process import Process
from zswap_py.sources.smaps import Mapping, shmem_devices

# VmFlags of mappings without pages for reclaim: device memory (io, pf, mm), the
# kernel's own (de), hugetlb (ht), locked (lo) and droppable (dp) memory
_NEVER_SWAPPED = frozenset((b"io", b"pf", b"mm", b"de", b"ht", b"lo", b"dp"))


def swappable_mappings(process: Process) -> Iterator[tuple[Mapping, bool]]:
    """Yields the mappings of an open process that have private anonymous pages or
    shmem, and whether it is shmem. Raises OSError if the process has exited.
    """
    shmem = shmem_devices(process.mountinfo())
    for mapping in process.mappings():
        if mapping.vm_flags & _NEVER_SWAPPED or not mapping.rss:
            continue
        if mapping.device in shmem:
            yield mapping, True
        elif mapping.private and mapping.anonymous:
            yield mapping, False
