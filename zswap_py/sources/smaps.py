# SPDX-License-Identifier: GPL-2.0-or-later
"""Parses /proc/PID/smaps, which describes each mapping."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from typing import NamedTuple

from zswap_py.sources.pagemap import PAGE_SIZE


class Mapping(NamedTuple):
    """One mapping, as /proc/PID/smaps shows it."""

    start: int
    end: int
    perms: bytes  #: as in maps: ``rw-p``
    offset: int  #: of its start in the file, in bytes
    device: bytes  #: ``major:minor`` of the file, as in maps
    inode: int  #: 0: no file
    path: bytes
    rss: int  #: pages mapped, without the zero page
    pss: float  #: the same, each page divided by the number of its mappings
    shared: int  #: of the pages mapped: those that other mappings share
    anonymous: int  #: of the pages mapped: anonymous
    referenced: int  #: of the pages mapped: used since they were looked at last
    swapped: int  #: pages in swap
    swapped_pss: float  #: the same, each page divided by the number of its mappings
    vm_flags: frozenset[bytes]

    @property
    def locked(self) -> bool:
        return b"lo" in self.vm_flags

    @property
    def hugetlb(self) -> bool:
        return b"ht" in self.vm_flags

    @property
    def droppable(self) -> bool:
        return b"dp" in self.vm_flags

    @property
    def mergeable(self) -> bool:
        """Whether KSM may have merged pages of the mapping with each other."""
        return b"mg" in self.vm_flags

    @property
    def private(self) -> bool:
        return self.perms.endswith(b"p")

    @property
    def share(self) -> float:
        """The mean share that the mapping has in its shared pages."""
        # smaps cuts Pss to whole kilobytes
        return max(0.0, self.pss - self.rss + self.shared) / self.shared if self.shared else 1.0

    @property
    def swapped_share(self) -> float:
        """The mean share that the mapping has in its swapped pages."""
        return self.swapped_pss / self.swapped if self.swapped else 1.0


# a line of a mapping; VmFlags is its last
_LINE = re.compile(
    rb"\n(?:(Rss|Pss|Shared_Clean|Shared_Dirty|Anonymous|Referenced|Swap|SwapPss): +(\d+)"
    rb"|VmFlags:(.*))"
)


def parse_smaps(smaps: bytes) -> Iterator[Mapping]:
    """Yields the mappings in the text of /proc/PID/smaps, by address."""
    same: dict[bytes, bytes] = {}  # equal values are one object, as there may be 100,000
    flags: dict[bytes, frozenset[bytes]] = {}
    kb: dict[bytes, int] = {}
    at, pages = 0, 1024 / PAGE_SIZE
    for line in _LINE.finditer(smaps):
        key, value, text = line.groups()
        if key:
            kb[key] = int(value)
            continue
        addresses, perms, offset, device, inode, *path = smaps[at : smaps.index(b"\n", at)].split(
            None, 5
        )
        start, _, end = addresses.partition(b"-")
        name = path[0].strip() if path else b""
        if text not in flags:
            flags[text] = frozenset(text.split())
        rss, swapped = kb[b"Rss"], kb.get(b"Swap", 0)
        yield Mapping(
            start=int(start, 16),
            end=int(end, 16),
            perms=same.setdefault(perms, perms),
            offset=int(offset, 16),
            device=same.setdefault(device, device),
            inode=int(inode),
            path=same.setdefault(name, name),
            rss=int(rss * pages),
            pss=kb.get(b"Pss", rss) * pages,
            shared=int((kb.get(b"Shared_Clean", 0) + kb.get(b"Shared_Dirty", 0)) * pages),
            anonymous=int(kb.get(b"Anonymous", 0) * pages),
            referenced=int(kb.get(b"Referenced", 0) * pages),
            swapped=int(swapped * pages),
            swapped_pss=kb.get(b"SwapPss", swapped) * pages,
            vm_flags=flags[text],
        )
        at, kb = line.end() + 1, {}


def shmem_devices(mountinfo: str) -> frozenset[bytes]:
    """Returns the devices, as in maps, that hold swappable shmem: the tmpfs mounts, and
    the kernel's own mount of memfd, SysV and MAP_SHARED|MAP_ANONYMOUS memory.
    """
    devices = {_internal_shmem()}
    for line in filter(None, mountinfo.split("\n")):
        mount, _, filesystem = line.partition(" - ")
        kind, _, options = filesystem.partition(" ")
        if kind in ("tmpfs", "devtmpfs") and "noswap" not in options.rpartition(" ")[2].split(","):
            major, _, minor = mount.split()[2].partition(":")
            devices.add(b"%02x:%02x" % (int(major), int(minor)))
    return frozenset(devices)


def _internal_shmem() -> bytes:
    fd = os.memfd_create("zswap_py")
    try:
        device = os.fstat(fd).st_dev
    finally:
        os.close(fd)
    return b"%02x:%02x" % (os.major(device), os.minor(device))
