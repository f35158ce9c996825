# SPDX-License-Identifier: GPL-2.0-or-later
"""Where pages come from: flat files, ELF core dumps, standard input, live processes.

::

    with open_pages(pids=[1234]) as pages:
        for piece in pages.pieces():            # 16 MiB at a time
            ...
        print(pages.pages_read, "of", pages.pages_total, pages.not_read.as_dict())

All sources of a set are read in one pass, whole or as one sample over all of them. Memory of processes is what reclaim
could swap of it: see :mod:`zswap_py.procmem`.
"""

from __future__ import annotations

import importlib
import io
import mmap
import os
import random
import stat
import sys
from array import array
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from itertools import accumulate
from typing import IO, Literal, Protocol, cast, final

from zswap_py.names import operand, shown
from zswap_py.procmem import (
    ANON,
    PAGE_SIZE,
    SHMEM,
    SUDO,
    NotRead,
    Process,
    ProcessDenied,
    ProcessGone,
    SourceError,
    Survey,
    Want,
    all_pids,
    denial,
)

__all__ = ["DEFAULT_SAMPLE", "PIECE", "NotRead", "Pages", "Source", "SourceError", "open_pages"]

DEFAULT_SAMPLE = 64 << 20  #: bytes read of processes unless all is asked for
PIECE = 16 << 20  #: bytes of a piece


@dataclass
class Source:
    """One of a set's sources."""

    kind: Literal["file", "core", "stdin", "process"]
    label: str  #: for people: ``pid 1234 "redis-server"``, or the file's name
    path: str | None = None
    pid: int | None = None
    pages: int | None = None  #: swappable pages; of shmem those no earlier source has; None until EOF on standard input
    tail_bytes: int = 0  #: left out at the end, as they fill no page

    def __post_init__(self) -> None:
        self.label = shown(self.label)


class _Reader(Protocol):
    """Gives the pages of one source that a plan names."""

    def read(self, where: int, pages: int, out: memoryview) -> int:
        """Reads ``pages`` pages at ``where`` into ``out``; returns how many were got, the others are counted."""

    def close(self) -> None:
        """Gives back what it holds; the next ``read`` takes it again."""


@dataclass
class _Extents:
    """Runs of pages to read, in order; compact, for there may be millions."""

    readers: list[_Reader] = field(default_factory=list)
    reader: array[int] = field(default_factory=lambda: array("L"))  #: index into readers
    where: array[int] = field(default_factory=lambda: array("Q"))  #: address or file offset, in bytes
    pages: array[int] = field(default_factory=lambda: array("Q"))

    def add(self, reader: int, where: int, pages: int) -> None:
        self.reader.append(reader)
        self.where.append(where)
        self.pages.append(pages)

    @property
    def total(self) -> int:
        return sum(self.pages)

    def sample(self, pages: int, run: int, page_size: int, seed: int) -> _Extents:
        """About ``pages`` pages, in runs of ``run``. The extents are cut into runs, of which each is as likely to be
        chosen as another, and so is each page."""
        total = self.total
        if pages >= total:
            return self
        last = array("Q", accumulate(-(-count // run) for count in self.pages))  # an extent's runs end before this one
        chosen = max(1, pages * last[-1] // total)
        picked = _Extents(self.readers)
        for number in sorted(random.Random(seed).sample(range(last[-1]), chosen)):
            i = bisect_right(last, number)
            skip = (number - (last[i - 1] if i else 0)) * run
            picked.add(self.reader[i], self.where[i] + skip * page_size, min(run, self.pages[i] - skip))
        return picked


@final
class Pages:
    """An opened set of sources, to be read once. A context manager; ``open_pages`` makes it."""

    def __init__(self, page_size: int) -> None:
        self.page_size = page_size
        self.sources: list[Source] = []
        self.not_read = NotRead()
        self.pages_read = 0  #: pages in the pieces so far
        self.processes_denied = 0  #: processes skipped as they may not be read, when all were asked for
        self._extents = _Extents()
        self._plan = self._extents
        self._stdin: Source | None = None
        self._started = False

    @property
    def pages_total(self) -> int | None:
        """Swappable pages over all sources, whether read or not; None until EOF on standard input. ``not_read`` is not
        in it, except for what vanished or was unreadable while the pieces were read."""
        pages = [source.pages for source in self.sources]
        return None if None in pages else sum(n for n in pages if n)

    @property
    def pages_planned(self) -> int | None:
        """Pages that ``pieces`` will read: the sample, or all; None with standard input."""
        return None if self._stdin else self._plan.total

    @property
    def sampled(self) -> bool:
        """Whether the pieces are a sample, so that figures must be scaled by pages_total / pages_read."""
        return self._plan is not self._extents

    @property
    def tail_bytes(self) -> int:
        """Bytes left out at the ends of sources, as they fill no page."""
        return sum(source.tail_bytes for source in self.sources)

    def pieces(self, nbytes: int = PIECE) -> Iterator[memoryview]:
        """The pages, ``nbytes`` (a multiple of page_size) at a time, the last piece shorter. Every piece is the same
        buffer: use it before the next. Once only: the sources are read in one pass."""
        if nbytes <= 0 or nbytes % self.page_size:
            raise ValueError(f"nbytes is {nbytes}: give a multiple of the page size, {self.page_size}")
        if self._started:
            raise ValueError("the pages were read already: open the sources again")
        self._started = True
        return self._pieces(memoryview(mmap.mmap(-1, nbytes)))

    def _pieces(self, buffer: memoryview) -> Iterator[memoryview]:
        room, filled = len(buffer), 0
        for got in self._reads(buffer):
            filled += got
            self.pages_read += got // self.page_size
            if filled == room:
                yield buffer
                filled = 0
        if filled:
            yield buffer[:filled]

    def _reads(self, buffer: memoryview) -> Iterator[int]:
        """Fills the buffer, round and round; the bytes got, at most up to the buffer's end."""
        at, room = 0, len(buffer)
        plan, last = self._plan, None
        try:
            for which, where, pages in zip(plan.reader, plan.where, plan.pages, strict=True):
                reader = plan.readers[which]
                if last and last is not reader:
                    last.close()
                last = reader
                while pages:
                    count = min(pages, (room - at) // self.page_size)
                    got = reader.read(where, count, buffer[at:]) * self.page_size
                    at = (at + got) % room
                    where += count * self.page_size
                    pages -= count
                    yield got
        finally:
            if last:
                last.close()
        if self._stdin:
            yield from self._read_stdin(self._stdin, buffer, at)

    def _read_stdin(self, source: Source, buffer: memoryview, at: int) -> Iterator[int]:
        pages = 0
        while True:
            got = _read_full(cast(io.BufferedIOBase, sys.stdin.buffer).readinto, buffer[at:])
            if not pages and _is_core(bytes(buffer[at:at + 18])) and got >= 18:
                raise SourceError("standard input is an ELF core, which must be a file: "
                                  "cat > core && zswap-py report core")
            whole, tail = divmod(got, self.page_size)
            pages += whole
            if whole:
                yield whole * self.page_size
            if got < len(buffer) - at:
                break
            at = 0
        if not pages:
            raise SourceError(f"standard input has {tail} bytes, not one page of {self.page_size}: pipe memory into it")
        source.pages, source.tail_bytes = pages, tail

    def close(self) -> None:
        """Closes what is open. Idempotent."""
        for reader in self._extents.readers:
            reader.close()

    def __enter__(self) -> Pages:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def open_pages(files: Iterable[str | os.PathLike[str]] = (), pids: Iterable[int] = (), all_processes: bool = False, *,
               page_size: int = 4096, sample_bytes: int | None = None, full: bool = False, seed: int = 0,
               run_pages: int = 8) -> Pages:
    """Opens files (``-``: standard input), core dumps and processes as one set of pages.

    With no source: all processes that the user may read, this one left out. A set with a process in it is sampled,
    DEFAULT_SAMPLE bytes in runs of ``run_pages`` pages, chosen by ``seed`` over all its sources; others are read whole.
    ``sample_bytes`` samples any set (except standard input), ``full`` none. Raises SourceError for a source that cannot
    be read, ValueError for a wrong argument.
    """
    if page_size < 4096 or page_size & (page_size - 1):
        raise ValueError(f"page_size is {page_size}: give a power of two from 4096 on")
    if sample_bytes is not None and (full or sample_bytes < page_size):
        raise ValueError(f"sample_bytes is {sample_bytes}: give at least a page ({page_size}), and not with full")
    if run_pages < 1:
        raise ValueError(f"run_pages is {run_pages}: give 1 or more")
    names = list(dict.fromkeys(os.fspath(file) for file in files))
    wanted = list(dict.fromkeys(pids))
    all_processes = all_processes or not (names or wanted)
    pages = Pages(page_size)
    for name in names:
        _add_file(pages, name)
    if wanted or all_processes:
        _add_processes(pages, wanted, all_processes)
        if sample_bytes is None and not full:
            sample_bytes = DEFAULT_SAMPLE
    if sample_bytes is not None:
        if "-" in names:
            raise SourceError("standard input cannot be sampled, nor read together with a sample of processes: "
                              "give it alone, or add --full")
        pages._plan = pages._extents.sample(sample_bytes // page_size, run_pages, page_size, seed)
    return pages


# --- files ---


@dataclass
class _FileReader:
    path: str
    page_size: int
    not_read: NotRead
    fd: int = -1

    def read(self, where: int, pages: int, out: memoryview) -> int:
        try:
            if self.fd < 0:
                self.fd = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC)
            os.lseek(self.fd, where, os.SEEK_SET)
            filled = _read_full(lambda rest: os.readv(self.fd, [rest]), out[:pages * self.page_size])
        except OSError as e:
            raise _file_error(self.path, e) from None
        got = filled // self.page_size
        self.not_read.vanished += pages - got  # truncated meanwhile
        return got

    def close(self) -> None:
        if self.fd >= 0:
            os.close(self.fd)
        self.fd = -1


def _read_full(readinto: Callable[[memoryview], int], out: memoryview) -> int:
    """The bytes read into ``out``: fewer than it holds only at EOF."""
    filled = 0
    while filled < len(out) and (n := readinto(out[filled:])):
        filled += n
    return filled


def _file_error(path: str, e: OSError) -> SourceError:
    remedy = {FileNotFoundError: ": check the name", PermissionError: f". Run it as root: {SUDO} {operand(path)}"}
    return SourceError(f"cannot read {path}: {e.strerror}{remedy.get(type(e), '')}")


def _is_core(head: bytes) -> bool:
    """Whether a file that begins with these 18 bytes is an ELF core: e_type, in its own byte order, is ET_CORE."""
    return head[:4] == b"\x7fELF" and int.from_bytes(head[16:18], "big" if head[5:6] == b"\2" else "little") == 4


# What systemd-coredump leaves in /var/lib/systemd/coredump: by their suffixes, how to unpack them.
_UNPACK = {".zst": "zstd -d -o core", ".lz4": "lz4 -d", ".xz": "xz -dkc"}


def _add_file(pages: Pages, name: str) -> None:
    if name == "-":
        if sys.stdin is None:
            raise SourceError("standard input is closed: pipe memory into it: zswap-py report - < FILE")
        if sys.stdin.isatty():
            raise SourceError("standard input is a terminal: pipe memory into it: zswap-py report - < FILE")
        pages._stdin = Source("stdin", "standard input", path="-")
        pages.sources.append(pages._stdin)
        return
    try:
        mode = os.stat(name).st_mode
        if not stat.S_ISREG(mode) and not stat.S_ISBLK(mode):
            kind = "a directory" if stat.S_ISDIR(mode) else "a pipe or device"
            raise SourceError(f"{name} is {kind}: give files, or pipe it in: ... | zswap-py report -")
        with open(name, "rb", buffering=0) as f:
            size = f.seek(0, os.SEEK_END)
            f.seek(0)
            head = f.read(18)
            reader = len(pages._extents.readers)
            pages._extents.readers.append(_FileReader(name, pages.page_size, pages.not_read))
            if _is_core(head):
                pages.sources.append(_add_core(pages, name, f, size, reader))
                return
    except OSError as e:
        raise _file_error(name, e) from None
    base, suffix = os.path.splitext(os.path.basename(name))
    if base.startswith("core.") and suffix in _UNPACK:
        raise SourceError(f"{name} is a compressed core. Unpack it: {_UNPACK[suffix]} {operand(name)}"
                          f"{'' if ' -o ' in _UNPACK[suffix] else ' > core'} && zswap-py report core")
    count, tail = divmod(size, pages.page_size)
    if not count:
        raise SourceError(f"{name} has {size} bytes, not one page of {pages.page_size}: give a file of memory pages")
    pages._extents.add(reader, 0, count)
    pages.sources.append(Source("file", name, path=name, pages=count, tail_bytes=tail))


def _add_core(pages: Pages, name: str, f: IO[bytes], size: int, reader: int) -> Source:
    """The contents of a core's PT_LOAD segments. The kernel leaves holes for pages that were never written to: these
    are counted as zero_mapped. What a truncated core lacks is unreadable."""
    source = Source("core", name, path=name, pages=0)
    for offset, length in _load_segments(name, f):
        count, tail = divmod(length, pages.page_size)
        there = max(0, min(count, (size - offset) // pages.page_size))
        source.tail_bytes += tail
        pages.not_read.unreadable += count - there
        data = 0
        for start, end in _data(f.fileno(), offset, there, pages.page_size):
            pages._extents.add(reader, offset + start * pages.page_size, end - start)
            data += end - start
        pages.not_read.zero_mapped += there - data
        source.pages = (source.pages or 0) + data
    if not source.pages:
        raise SourceError(f"{name} is a core without memory, or truncated: see readelf -l {operand(name)}")
    return source


def _load_segments(name: str, f: IO[bytes]) -> list[tuple[int, int]]:
    """File offset and length in bytes of each PT_LOAD segment."""
    try:
        elffile = importlib.import_module("elftools.elf.elffile")
        exceptions = importlib.import_module("elftools.common.exceptions")
    except ImportError:
        raise SourceError(f"{name} is an ELF core, and pyelftools, which reads it, is missing. "
                          "Install it: pip install 'zswap-py[core]'") from None
    try:
        segments = [s.header for s in elffile.ELFFile(f).iter_segments()]
    except (exceptions.ELFError, ValueError) as e:
        raise SourceError(f"{name} is a damaged ELF core ({e}): see readelf -l {operand(name)}") from None
    return [(s.p_offset, s.p_filesz) for s in segments if s.p_type == "PT_LOAD"]


def _data(fd: int, offset: int, pages: int, page_size: int) -> Iterator[tuple[int, int]]:
    """Runs of pages, counted from ``offset``, that are not wholly in a hole of the file."""
    at, end = offset, offset + pages * page_size
    while at < end:
        try:
            start = os.lseek(fd, at, os.SEEK_DATA)
        except OSError:  # ENXIO: nothing but a hole from here on
            return
        if start >= end:
            return
        stop = min(end, os.lseek(fd, start, os.SEEK_HOLE))
        first, last = (start - offset) // page_size, -(-(stop - offset) // page_size)
        yield first, last
        at = offset + last * page_size


# --- processes ---


@dataclass
class _ProcessReader:
    process: Process
    want: Want
    not_read: NotRead

    def read(self, where: int, pages: int, out: memoryview) -> int:
        try:
            self.process.open()
            return self.process.read(where, pages, self.want, out, self.not_read)
        except PermissionError:  # it has become another user's, say
            self.not_read.unreadable += pages
        except (FileNotFoundError, ProcessLookupError):
            self.not_read.vanished += pages
        return 0

    def close(self) -> None:
        self.process.close()


def _add_processes(pages: Pages, pids: list[int], all_processes: bool) -> None:
    if pages.page_size != PAGE_SIZE:
        raise SourceError(f"this machine's processes have pages of {PAGE_SIZE} bytes, not {pages.page_size}: "
                          "give another page size only with files")
    if os.getpid() in pids:
        raise SourceError(f"pid {os.getpid()} is this very process, whose memory changes as it is read: leave it out")
    survey = Survey(pages.not_read)
    for pid in dict.fromkeys([*pids, *(all_pids() if all_processes else ())]):
        try:
            with Process.find(pid) as process:
                survey.add(process)
        except ProcessGone:
            if pid in pids:
                raise
        except ProcessDenied:
            if pid in pids:
                raise
            pages.processes_denied += 1
    segments = survey.segments()
    if not segments:
        raise SourceError(f"none of {pages.processes_denied} processes can be read: {denial(None)}"
                          if pages.processes_denied else "there is no other process here: give files or cores")
    for process, anonymous, shmem in segments:
        before = pages._extents.total
        for want, runs in ((ANON, anonymous), (SHMEM, shmem)):
            reader = len(pages._extents.readers)
            pages._extents.readers.append(_ProcessReader(process, want, pages.not_read))
            for starts, ends in runs:
                for start, end in zip(starts, ends, strict=True):
                    pages._extents.add(reader, start, (end - start) // PAGE_SIZE)
        pages.sources.append(Source("process", f'pid {process.pid} "{process.comm}"', pid=process.pid,
                                    pages=pages._extents.total - before))
