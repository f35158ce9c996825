# SPDX-License-Identifier: GPL-2.0-or-later
"""A live process: opens it and reads its memory."""

from __future__ import annotations

import ctypes
import errno
import os
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import final

from zswap_py.sources.denial import core_command, denied
from zswap_py.sources.kcore import Kcore, obstacle
from zswap_py.sources.pagemap import PAGE_SIZE, Kind, PageTable, Runs
from zswap_py.sources.procfs import (
    ProcessGone,
    live_thread,
    no_process,
    open_names,
    read_stat,
    read_status,
)
from zswap_py.sources.smaps import Mapping, parse_smaps
from zswap_py.sources.source import NotRead, SourceError

_PF_KTHREAD = 0x00200000
_ZERO_PAGE = bytes(PAGE_SIZE)
_AT_ONCE = 512  # pages whose frames are checked together


class KernelThread(SourceError):
    """The process is a kernel thread, which has no memory of its own."""


class ProcessDenied(SourceError):
    """The process exists, but its memory may not be read."""


@final
@dataclass
class Process:
    """A process with readable memory. Call ``open()`` before reading and ``close()``
    afterwards. While it is open, an exec() or a reuse of the pid cannot put another
    memory in its place.
    """

    pid: int
    comm: str  #: unprintable characters escaped
    start_time: int  #: clock ticks after boot: tells it from a later process with the same pid
    proc: str = ""  #: while open: the directory in /proc of a live thread, the main one if it lives
    #: pages read through /proc/PID/mem so far, which the kernel now takes for used
    heated: int = 0
    _mem: int = field(default=-1, repr=False)
    _pagemap: int = field(default=-1, repr=False)
    _kcore: Kcore | None = field(default=None, repr=False)

    @classmethod
    def find(cls, pid: int) -> Process:
        """Opens the process of the thread ``pid``. Raises ProcessGone, KernelThread or
        ProcessDenied, with the cause and the remedy.
        """
        pid = int(read_status(pid).get("Tgid", pid))
        comm, fields = read_stat(pid)
        name = f"pid {pid} ({comm})"
        if int(fields[6]) & _PF_KTHREAD:
            raise KernelThread(
                f"{name} is a kernel thread, without memory of its own. Give a user-space process"
            )
        if live_thread(pid, fields[0]) is None:
            raise ProcessGone(f"{name} is a zombie: it has exited, and its memory is gone")
        process = cls(pid, comm, int(fields[19]))
        try:
            process.open()
        except PermissionError as e:
            raise ProcessDenied(denied(pid, comm, e)) from None
        except FileNotFoundError as e:
            if e.filename and e.filename.endswith("pagemap") and os.path.exists(f"/proc/{pid}"):
                raise SourceError(
                    f"{e.filename} is missing: this kernel was built without "
                    f"CONFIG_PROC_PAGE_MONITOR. Give a core file: {core_command(pid)}"
                ) from None
            raise ProcessGone(no_process(pid)) from None
        except ProcessLookupError:
            raise ProcessGone(no_process(pid)) from None
        return process

    def __enter__(self) -> Process:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def open(self) -> None:
        """Opens it, if it is not open. Raises the errors of os.open(), and
        ProcessLookupError if the process has exited or another process has its pid.
        """
        if self._mem >= 0:
            return
        try:
            self.proc = live_thread(self.pid, read_stat(self.pid)[1][0]) or f"/proc/{self.pid}"
            self._mem = os.open(f"{self.proc}/mem", os.O_RDONLY | os.O_CLOEXEC)
            self._pagemap = os.open(f"{self.proc}/pagemap", os.O_RDONLY | os.O_CLOEXEC)
            if int(read_stat(self.pid)[1][19]) != self.start_time:
                raise ProcessLookupError(errno.ESRCH, "another process has its pid")
            self.page_table = PageTable(self._pagemap)
        except ProcessGone:
            self.close()
            raise ProcessLookupError(errno.ESRCH, "it has exited") from None
        except OSError:
            self.close()
            raise

    def close(self) -> None:
        for fd in (self._mem, self._pagemap):
            if fd >= 0:
                os.close(fd)
        self._mem = self._pagemap = -1
        if self._kcore:
            self._kcore.close()
        self._kcore = None

    def exists(self) -> bool:
        """Returns whether one of its threads is alive."""
        try:
            fields = read_stat(self.pid)[1]
        except ProcessGone:
            return False
        return int(fields[19]) == self.start_time and live_thread(self.pid, fields[0]) is not None

    def mappings(self) -> list[Mapping]:
        """Returns the mappings. Raises OSError if the process has exited."""
        with open(f"{self.proc}/smaps", "rb", buffering=0) as f:
            return list(parse_smaps(f.read()))

    def mountinfo(self) -> str:
        with open_names(f"{self.proc}/mountinfo") as f:
            return f.read()

    def read(self, start: int, pages: int, kind: Kind, out: memoryview, not_read: NotRead) -> int:
        """Reads those of the ``pages`` pages at ``start`` that are still of the kind
        into ``out``, which holds ``pages`` pages or more. Returns the number of pages
        read, and counts the others in ``not_read``.

        Reads by the pages' frames where that can be, which leaves no mark on them
        (:mod:`zswap_py.sources.kcore`); else through /proc/PID/mem, and counts the
        pages in ``heated``. Whether a page was marked before, the kernel shows only
        per mapping, so ``heated`` has these pages too.
        """
        if self._kcore is None:
            if obstacle():
                return self._read_mapped(start, pages, kind, out, not_read)
            self._kcore = Kcore.open()
        got = 0
        for at in range(0, pages, _AT_ONCE):
            count = min(_AT_ONCE, pages - at)
            address = start + at * PAGE_SIZE
            part = out[got * PAGE_SIZE :]
            if (n := self._read_frames(self._kcore, address, count, kind, part)) is None:
                n = self._read_moving(self._kcore, address, count, kind, part, not_read)
            else:
                not_read.vanished += count - n
            got += n
        return got

    def _read_frames(
        self, kcore: Kcore, start: int, pages: int, kind: Kind, out: memoryview
    ) -> int | None:
        """Reads the pages by their frames. Returns the number of pages read; None if
        one of them has another frame afterwards, or cannot be read.
        """
        end = start + pages * PAGE_SIZE
        before = self.page_table.frames(start, end, kind)
        frames = [frame for frame in before if frame]
        if not kcore.read(frames, out) or self.page_table.frames(start, end, kind) != before:
            return None
        return len(frames)

    def _read_moving(
        self, kcore: Kcore, start: int, pages: int, kind: Kind, out: memoryview, not_read: NotRead
    ) -> int:
        """Does the same a page at a time, and reads a page that its frame does not give
        through /proc/PID/mem.
        """
        got = 0
        for at in range(start, start + pages * PAGE_SIZE, PAGE_SIZE):
            part = out[got * PAGE_SIZE :]
            if (n := self._read_frames(kcore, at, 1, kind, part)) is None:
                n = self._read_mapped(at, 1, kind, part, not_read)
            else:
                not_read.vanished += 1 - n
            got += n
        return got

    def _read_mapped(
        self, start: int, pages: int, kind: Kind, out: memoryview, not_read: NotRead
    ) -> int:
        """Does what read() does, through /proc/PID/mem."""
        got = unreadable = 0
        runs = self.page_table.find(start, start + pages * PAGE_SIZE)[kind]
        for at, end in zip(runs.starts, runs.ends, strict=True):
            while at < end:
                n = self._read(at, out[got * PAGE_SIZE : got * PAGE_SIZE + end - at])
                if not n:  # this page cannot be read
                    unreadable += self.page_table.find(at, at + PAGE_SIZE)[kind].pages
                    n = 1
                else:
                    got += n
                at += n * PAGE_SIZE
        not_read.unreadable += unreadable
        not_read.vanished += pages - got - unreadable
        return got

    def without_zero_pages(self, runs: Runs, zeros: int) -> Runs:
        """Returns the anonymous pages without ``zeros`` zero-filled ones. Which of
        these map the zero page makes no difference.
        """
        kept, buffer, step = Runs.none(), bytearray(256 * PAGE_SIZE), 256 * PAGE_SIZE
        for start, end in zip(*runs, strict=True):
            at = start
            while at < end:
                stop = min(end, at + step)
                filled = 0
                if (
                    zeros
                    and self.page_table.find(at, stop)[Kind.ANON].pages * PAGE_SIZE == stop - at
                ):
                    filled = self._read(at, memoryview(buffer)[: stop - at])
                pages = range(at, at + filled * PAGE_SIZE, PAGE_SIZE)
                dropped = [
                    page
                    for page in pages
                    if buffer[page - at : page - at + PAGE_SIZE] == _ZERO_PAGE
                ][:zeros]
                zeros -= len(dropped)
                for page in (*dropped, stop):
                    if at < page:
                        kept.append(at, page)
                    at = page + PAGE_SIZE
                at = stop
        return kept

    def _read(self, start: int, out: memoryview) -> int:
        """Reads from ``start`` to the first unreadable page. Returns the pages read."""
        try:
            pages = os.preadv(self._mem, [out], start) // PAGE_SIZE
        except OSError as e:
            if e.errno not in (errno.EIO, errno.EFAULT):
                raise
            return 0
        self.heated += pages
        return pages


def readable(pids: Iterable[int]) -> list[int]:
    """Returns the pids of the processes of these threads that can be read."""
    found = []
    for pid in pids:
        try:
            with Process.find(pid) as process:
                found.append(process.pid)
        except (KernelThread, ProcessDenied, ProcessGone):
            continue
    return list(dict.fromkeys(found))


_KCMP = {"x86_64": 312, "ppc64le": 354, "s390x": 343, "i686": 349, "armv7l": 378}
_KCMP_VM = 1


class Memories:
    """Recognizes processes that share one memory, after vfork() or clone(CLONE_VM)."""

    def __init__(self) -> None:
        self._threads: list[int] = []  # one thread of each memory, in the kernel's own order
        self._syscall = ctypes.CDLL(None).syscall
        self._number = _KCMP.get(os.uname().machine, 272)

    def add(self, process: Process) -> bool:
        """Returns whether the open process shares no memory with a process added
        before. Without kcmp() the kernel cannot tell, and each process counts as
        separate.
        """
        thread = int(os.path.basename(process.proc))
        low, high = 0, len(self._threads)
        while low < high:
            middle = (low + high) // 2
            order = self._syscall(self._number, thread, self._threads[middle], _KCMP_VM, 0, 0)
            if order == 0:
                return False
            if order == 1:
                high = middle
            elif order == 2:
                low = middle + 1
            else:
                return True
        self._threads.insert(low, thread)
        return True
