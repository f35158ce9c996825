# SPDX-License-Identifier: GPL-2.0-or-later
"""Parses /proc/PID/smaps, which describes each mapping."""

from __future__ import annotations

import os
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


_SMAPS_FIELDS = frozenset(
    b"Rss Pss Shared_Clean Shared_Dirty Anonymous Referenced Swap SwapPss".split()
)


def parse_smaps(smaps: bytes) -> Iterator[Mapping]:
    """Yields the mappings in the text of /proc/PID/smaps, by address."""
    header: list[bytes] = []
    kb: dict[bytes, int] = {}
    for line in smaps.splitlines():
        key, _, value = line.partition(b":")
        if key in _SMAPS_FIELDS:
            kb[key] = int(value.split()[0])
        elif key == b"VmFlags":  # a mapping's last line
            start, _, end = header[0].partition(b"-")
            pages = {key: n * 1024 / PAGE_SIZE for key, n in kb.items()}
            rss, swapped = int(pages[b"Rss"]), int(pages.get(b"Swap", 0))
            yield Mapping(
                start=int(start, 16),
                end=int(end, 16),
                perms=header[1],
                offset=int(header[2], 16),
                device=header[3],
                inode=int(header[4]),
                path=header[5].strip() if len(header) > 5 else b"",
                rss=rss,
                pss=pages.get(b"Pss", rss),
                shared=int(pages.get(b"Shared_Clean", 0) + pages.get(b"Shared_Dirty", 0)),
                anonymous=int(pages.get(b"Anonymous", 0)),
                referenced=int(pages.get(b"Referenced", 0)),
                swapped=swapped,
                swapped_pss=pages.get(b"SwapPss", swapped),
                vm_flags=frozenset(value.split()),
            )
            kb = {}
        elif line[:1] in b"0123456789abcdef":  # field names begin with a capital
            header = line.split(None, 5)


def shmem_devices(mountinfo: str) -> frozenset[bytes]:
    """Returns the devices, as in maps, that hold swappable shmem: the tmpfs mounts, and
    the kernel's own mount of memfd, SysV and MAP_SHARED|MAP_ANONYMOUS memory.
    """
    devices = {_internal_shmem()}
    for line in mountinfo.splitlines():
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
