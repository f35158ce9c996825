# SPDX-License-Identifier: GPL-2.0-or-later
"""Reads pages by their frames, from /proc/kcore.

A read through /proc/PID/mem or process_vm_readv() marks each page of 4 KiB as used.
Reclaim then takes it for a hot page. A read by the frame leaves no mark. It needs root
(CAP_SYS_ADMIN for the frame numbers in pagemap, CAP_SYS_RAWIO for the file) and a
kernel with CONFIG_PROC_KCORE that is not locked down.

::

    if not (reason := obstacle()):
        with Kcore.open() as kcore:
            kcore.read(frames, out)     # then ask pagemap for the frames again
"""

from __future__ import annotations

import errno
import functools
import mmap
import os
import struct
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from typing import NamedTuple, final

from zswap_py.sources.pagemap import PAGE_SIZE, frame_of

PATH = "/proc/kcore"

_PT_LOAD, _ELFCLASS64 = 1, 2
_NO_ADDRESS = 2**64 - 1  # p_paddr of a segment that is not RAM
_TRIES = 3


class Segment(NamedTuple):
    """Consecutive frames, in a part of the file."""

    first: int  #: frame number
    end: int
    shift: int  #: byte ``a`` of physical memory is byte ``a + shift`` of the file


@final
class Kcore:
    """An open /proc/kcore. ``open()`` returns it; a context manager."""

    def __init__(self, fd: int, segments: Sequence[Segment]) -> None:
        self._fd = fd
        self._segments: list[Segment] = []
        for segment in sorted(segments):  # the kernel's text lies inside a segment of RAM
            if not self._segments or segment.end > self._segments[-1].end:
                self._segments.append(segment)
        self._starts = [segment.first for segment in self._segments]
        self._last = Segment(0, 0, 0)

    @classmethod
    def open(cls, path: str = PATH) -> Kcore:
        """Opens the file. Raises the errors of os.open(), and ValueError if it has no
        segment with physical addresses.
        """
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            segments = list(_segments(fd))
            if not segments:
                raise ValueError(f"{path} has no segment with physical addresses")
            return cls(fd, segments)
        except BaseException:
            os.close(fd)
            raise

    def read(self, frames: Sequence[int], out: memoryview) -> bool:
        """Reads the frames into ``out``, one after the other. Returns False if one of
        them cannot be read. The caller must check afterwards that the frames still
        belong to its pages.
        """
        at, count, fd = 0, len(frames), self._fd
        while at < count:
            first = frames[at]
            segment = self._last
            if not segment.first <= first < segment.end:
                segment = self._segments[bisect_right(self._starts, first) - 1]
                if not segment.first <= first < segment.end:
                    return False
                self._last = segment
            to = at + 1
            limit = min(count, at + segment.end - first)
            while to < limit and frames[to] - first == to - at:
                to += 1
            part = out[at * PAGE_SIZE : to * PAGE_SIZE]
            try:
                if os.preadv(fd, (part,), first * PAGE_SIZE + segment.shift) != len(part):
                    return False
            except OSError as e:
                if e.errno not in (errno.EIO, errno.EFAULT):
                    raise
                return False
            at = to
        return True

    def close(self) -> None:
        """Closes the file. Idempotent."""
        if self._fd >= 0:
            os.close(self._fd)
        self._fd = -1

    def __enter__(self) -> Kcore:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _segments(fd: int) -> Iterator[Segment]:
    """Yields the segments of a 64-bit ELF file that have physical addresses."""
    header = os.pread(fd, 64, 0)
    if len(header) < 64 or header[:4] != b"\x7fELF" or header[4] != _ELFCLASS64:
        return
    (table,) = struct.unpack_from("=Q", header, 32)
    size, count = struct.unpack_from("=2H", header, 54)
    headers = os.pread(fd, size * count, table)
    for at in range(0, len(headers), size):
        kind, _, offset, _, physical, length = struct.unpack_from("=2I4Q", headers, at)
        if kind == _PT_LOAD and physical != _NO_ADDRESS and length >= PAGE_SIZE:
            yield Segment(
                physical // PAGE_SIZE, (physical + length) // PAGE_SIZE, offset - physical
            )


@functools.cache
def obstacle() -> str | None:
    """Returns why pages cannot be read by their frames here, with the remedy; None if
    they can. Reads a page of this process in that way, once, and compares the bytes.
    """
    with mmap.mmap(-1, PAGE_SIZE, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS) as page:
        content = os.urandom(PAGE_SIZE)
        page[:] = content
        if not frame_of(page):
            return "/proc/PID/pagemap shows no frame numbers: run as root (CAP_SYS_ADMIN)"
        try:
            with Kcore.open() as kcore:
                for _ in range(_TRIES):  # the page may move meanwhile
                    out, frame = memoryview(bytearray(PAGE_SIZE)), frame_of(page)
                    if frame and kcore.read([frame], out) and out == content:
                        return None
        except FileNotFoundError:
            return f"{PATH} is missing: this kernel was built without CONFIG_PROC_KCORE"
        except PermissionError:
            return f"{PATH} may not be read: run as root (CAP_SYS_RAWIO), without kernel lockdown"
        except (OSError, ValueError) as e:
            return f"{PATH} cannot be read by frame here: {e}"
    return f"{PATH} does not have the bytes of a page at its frame on this machine"
