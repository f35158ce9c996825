# SPDX-License-Identifier: GPL-2.0-or-later
"""Files and streams as sources of pages: flat ones and ELF cores, compressed or not.

A file's content decides how it is read. A regular file is read at the places that the
plan names. A pipe or a compressed file is a stream, read once from the front. A core in
a stream is planned by the headers at its front and read in the file's order. Flat pages
in a stream are read to its end.
"""

from __future__ import annotations

import errno
import io
import os
import select
import stat
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Protocol

from zswap_py._lib.names import operand
from zswap_py.sources import corefile, formats
from zswap_py.sources.decompress import Decompressed, Ended
from zswap_py.sources.denial import SUDO
from zswap_py.sources.source import Reader, Source, SourceError, Tally

_HOLE = 2 << 20  # granularity of holes in flat files: the largest folio
_LAYERS = 4  # limit of compressed streams in one another
_REST = 64 << 20  # limit of bytes read behind a core's memory, such as section headers
_STEP = 1 << 20  # bytes of a stream read at once


# --- bytes ---


def _read_full(readinto: Callable[[memoryview], int | None], out: memoryview) -> int:
    """Fills ``out``. Returns the bytes read: fewer than it holds only at the end."""
    filled = 0
    while filled < len(out) and (n := readinto(out[filled:])):
        filled += n
    return filled


class Stream(io.RawIOBase):
    """Bytes that are read once, from the front. Peeked bytes are read again."""

    def __init__(self, source: Any, size: int | None = None, owned: bool = True) -> None:
        self._source, self._size, self._owned = source, size, owned
        self._front = bytearray()
        self.position = 0  #: bytes read so far
        self.ended: str | None = None  #: the reason, if it ended early: truncated or damaged

    def decompressed(self, kind: str) -> Stream:
        """Returns the decompressed stream, for compression ``kind``."""
        return _Inner(kind, self)

    def readable(self) -> bool:
        return True

    def readinto(self, out: Any) -> int:
        """Reads some bytes into ``out``. Returns their number, 0 at the end."""
        if self._front:
            count = min(len(out), len(self._front))
            out[:count] = self._front[:count]
            del self._front[:count]
        else:
            count = self._more(out)
        self.position += count
        return count

    def _more(self, out: Any) -> int:
        if self.ended:
            return 0
        try:
            # None: it is non-blocking, and has no bytes yet
            while (count := self._source.readinto(out)) is None:
                select.select([self._source], [], [])
        except Ended as e:
            self.ended = str(e)
        except OSError as e:
            self.ended = _medium_error(e)
        else:
            return int(count)
        return 0

    def peek(self, length: int) -> bytes:
        """Returns the next ``length`` bytes, fewer only at the end."""
        more = memoryview(bytearray(min(length, _STEP)))
        while (missing := length - len(self._front)) > 0 and (count := self._more(more[:missing])):
            self._front += more[:count]
        return bytes(memoryview(self._front)[:length])

    def skip_to(self, position: int) -> None:
        """Reads and drops the bytes before ``position``."""
        waste = memoryview(bytearray(max(0, min(_STEP, position - self.position))))
        while self.position < position and self.readinto(waste[: position - self.position]):
            pass

    def share(self) -> float | None:
        """Returns the share of the file that was read, 0 to 1; None for an unknown
        size.
        """
        return min(1.0, self.position / self._size) if self._size else None

    def close(self) -> None:
        if self._owned:
            self._source.close()
        super().close()


class _Inner(Stream):
    def __init__(self, kind: str, outer: Stream) -> None:
        super().__init__(Decompressed(kind, outer))
        self._outer = outer

    def share(self) -> float | None:
        return self._outer.share()

    def close(self) -> None:
        self._outer.close()
        super().close()


class _File(Protocol):
    """The file or stream that holds a core's pages."""

    short: str  #: the message for an early end without ``ended``

    @property
    def ended(self) -> str | None:
        """The reason, if it ended early."""

    def read_at(self, where: int, out: memoryview) -> int:
        """Returns the bytes read into ``out``: fewer than it holds only at the end."""

    def close(self) -> None:
        """Closes it; the next ``read_at`` opens it again."""


class _RandomAccess:
    """A regular file or block device."""

    short = "was truncated while it was read"

    def __init__(self, path: str) -> None:
        self._path, self._fd = path, -1
        self.ended: str | None = None

    @property
    def fd(self) -> int:
        if self._fd < 0:
            self._fd = os.open(self._path, os.O_RDONLY | os.O_CLOEXEC)
        return self._fd

    def read_at(self, where: int, out: memoryview) -> int:
        filled = 0
        try:
            while filled < len(out) and (
                count := os.preadv(self.fd, [out[filled:]], where + filled)
            ):
                filled += count
        except OSError as e:
            self.ended = _medium_error(e)
        return filled

    def close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
        self._fd = -1


class _OnceThrough:
    """A stream, read in the order of its bytes. After byte ``end`` it reads up to _REST
    bytes more, since a compressed stream ends with its checksum.
    """

    short = "is truncated: it ends before its memory does"

    def __init__(self, make: Callable[[], Stream], end: int | None = None) -> None:
        self._make, self._end = make, end
        self._stream: Stream | None = None

    @property
    def stream(self) -> Stream:
        if self._stream is None:
            self._stream = self._make()
        return self._stream

    @property
    def ended(self) -> str | None:
        return self.stream.ended

    def read_at(self, where: int, out: memoryview) -> int:
        self.stream.skip_to(where)
        filled = _read_full(self.stream.readinto, out)
        if self.stream.position == self._end:
            self.stream.skip_to(self._end + _REST)
        return filled

    def close(self) -> None:
        if self._stream:
            self._stream.close()
        self._stream = None


def _data(fd: int, start: int, end: int) -> Iterator[tuple[int, int]]:
    """Yields the runs of bytes outside the file's holes."""
    while start < end:
        try:
            data = os.lseek(fd, start, os.SEEK_DATA)
            stop = os.lseek(fd, data, os.SEEK_HOLE) if data < end else end
        except OSError as e:
            if e.errno == errno.ENXIO:  # a hole up to the end
                return
            data, stop = start, end  # a block device, or a file system without SEEK_DATA
        if data < end:
            yield data, min(end, stop)
        start = stop


def _medium_error(e: OSError) -> str:
    """Returns the message for EIO in the middle of a file. Raises any other error."""
    if e.errno != errno.EIO:
        raise e
    return f"cannot be read to its end: {e.strerror}"


# --- readers ---


@dataclass
class _FlatReader:
    """Reads the pages of a flat file. The tally can count its holes, which are pages of
    zeros, in place of reading them.
    """

    source: Source
    file: _RandomAccess
    page_size: int
    tally: Tally

    def read(self, where: int, pages: int, out: memoryview) -> int:
        if self.file.ended:
            raise EOFError
        try:
            there = min(
                pages, max(0, os.lseek(self.file.fd, 0, os.SEEK_END) - where) // self.page_size
            )
            hole = self._hole(where, there * self.page_size) if self.tally.skip_holes else 0
            filled = self.file.read_at(where + hole, out[: there * self.page_size - hole])
        except OSError as e:
            raise _file_error(self.source, e) from None
        self.tally.hole_pages += hole // self.page_size
        got = filled // self.page_size
        missing = pages - got - hole // self.page_size
        if missing and self.file.ended:
            self.source.incomplete = self.file.ended
            self.tally.not_read.unreadable += missing
        elif missing:
            self.source.incomplete = self.file.short
            self.tally.not_read.vanished += missing
        return got

    def _hole(self, where: int, length: int) -> int:
        """Returns the bytes from ``where`` on that lie in a hole, cut to a multiple of
        _HOLE, so that folios keep their places.
        """
        data = next(
            (start for start, _ in _data(self.file.fd, where, where + length)), where + length
        )
        return (data - where) // _HOLE * _HOLE

    def close(self) -> None:
        self.file.close()


@dataclass
class _CoreReader:
    """Reads the pages of a core, without pages of zeros."""

    source: Source
    file: _File
    page_size: int
    tally: Tally
    at_end: bool = False

    def read(self, where: int, pages: int, out: memoryview) -> int:
        if self.at_end:
            raise EOFError
        try:
            got = self.file.read_at(where, out[: pages * self.page_size]) // self.page_size
        except OSError as e:
            raise _file_error(self.source, e) from None
        if got < pages or self.file.ended:
            self.at_end = True
            self.source.incomplete = self.file.ended or self.file.short
            self.tally.not_read.unreadable += pages - got
        kept = _without_zeros(out, got, self.page_size)
        self.tally.drop(self.source, got - kept)
        return kept

    def close(self) -> None:
        self.file.close()


def _without_zeros(pages: memoryview, count: int, page_size: int) -> int:
    """Moves the pages that are not all zeros to the front. Returns their number."""
    zero = bytes(page_size)
    kept = i = 0
    while i < count:
        if bytes(pages[i * page_size : (i + 1) * page_size]) == zero:
            i += 1
            continue
        end = i + 1
        while end < count and bytes(pages[end * page_size : (end + 1) * page_size]) != zero:
            end += 1
        if kept < i:
            pages[kept * page_size : (kept + end - i) * page_size] = pages[
                i * page_size : end * page_size
            ]
        kept += end - i
        i = end
    return kept


# --- sources ---


@dataclass
class PlannedFile:
    """A source with pages that are known before the reading."""

    source: Source
    reader: Reader
    runs: list[tuple[int, int]]  #: byte in the file, pages; in the file's order


class FlatStream:
    """Flat pages, read to the stream's end. ``close`` ends it."""

    def __init__(self, source: Source, make: Callable[[], Stream], page_size: int) -> None:
        self.source = source
        self._file = _OnceThrough(make)
        self._page_size = page_size

    def read(self, out: memoryview) -> int:
        """Returns the bytes read into ``out``: fewer than its length only at the end,
        where the source gets its size.
        """
        stream = self._file.stream
        try:
            filled = _read_full(stream.readinto, out)
        except OSError as e:
            raise _file_error(self.source, e) from None
        if filled < len(out):
            pages, self.source.tail_bytes = divmod(stream.position, self._page_size)
            self.source.pages, self.source.incomplete = pages, stream.ended
        return filled

    @property
    def bytes_expected(self) -> int | None:
        """An estimate of all its bytes, by the share of the compressed file that was
        read; None without one.
        """
        if self.source.pages is not None:
            return self.source.pages * self._page_size
        share = self._file.stream.share()
        return round(self._file.stream.position / share) if share else None

    def close(self) -> None:
        self._file.close()


def open_source(name: str, page_size: int, tally: Tally) -> PlannedFile | FlatStream:
    """Opens a file (``-``: standard input) as a source. Raises SourceError."""
    source = Source("file", name, path=name)
    try:
        if name == "-":
            source = Source("stdin", "standard input", path="-")
            return _stream_source(source, _standard_input(), page_size, tally)
        mode = os.stat(name).st_mode
        if stat.S_ISFIFO(mode):
            return _stream_source(source, Stream(open(name, "rb", buffering=0)), page_size, tally)
        if not stat.S_ISREG(mode) and not stat.S_ISBLK(mode):
            kind = "a directory" if stat.S_ISDIR(mode) else "a device or socket"
            raise SourceError(
                f"{name} is {kind}: give a file, or pipe it in: ... | zswap-py report -"
            )
        return _file_source(source, name, page_size, tally)
    except OSError as e:
        raise _file_error(source, e) from None


def _file_error(source: Source, e: OSError) -> SourceError:
    as_root = f". Run as root: {SUDO} {_operand(source)}"
    remedy = {FileNotFoundError: ": check the name", PermissionError: as_root}
    return SourceError(f"cannot read {source.label}: {e.strerror}{remedy.get(type(e), '')}")


def _operand(source: Source) -> str:
    """Returns the source as an operand of a suggested command."""
    return "FILE" if source.path in (None, "-") else operand(source.path or "")


def _standard_input() -> Stream:
    if sys.stdin is None:
        raise SourceError("standard input is closed: pipe memory into it: zswap-py report - < FILE")
    if sys.stdin.isatty():
        raise SourceError(
            "standard input is a terminal: pipe memory into it: zswap-py report - < FILE"
        )
    return Stream(sys.stdin.buffer, owned=False)


def _file_source(
    source: Source, name: str, page_size: int, tally: Tally
) -> PlannedFile | FlatStream:
    with open(name, "rb", buffering=0) as f:
        size = f.seek(0, os.SEEK_END)

        def read(offset: int, length: int) -> bytes:
            data = bytearray(length)
            f.seek(offset)
            return bytes(data[: _read_full(f.readinto, memoryview(data))])

        head = read(0, min(size, formats.HEAD))
        if formats.compression(head):
            return _stream_source(
                source, lambda: Stream(open(name, "rb", buffering=0), size), page_size, tally
            )
        _refuse_foreign(source, head)
        if formats.is_core(head):
            core = _parse_core(source, read, page_size)
            return _whole_core(source, core, f.fileno(), size, page_size, tally)
    if size < page_size:
        raise _too_short(source, size, page_size)
    source.pages, source.tail_bytes = divmod(size, page_size)
    source.remark = _remark(head)
    return PlannedFile(
        source, _FlatReader(source, _RandomAccess(name), page_size, tally), [(0, source.pages)]
    )


def _stream_source(
    source: Source, origin: Stream | Callable[[], Stream], page_size: int, tally: Tally
) -> PlannedFile | FlatStream:
    """Returns a source that is read once. Looks at its front, then closes it if it can
    be opened again.
    """
    stream = _innermost(source, origin() if callable(origin) else origin)
    try:
        head = stream.peek(max(formats.HEAD, page_size))
        _refuse_foreign(source, head)
        core = (
            _parse_core(source, _reach(stream, far=callable(origin)), page_size, stream)
            if formats.is_core(head)
            else None
        )
        if core is None and len(head) < page_size:
            if stream.ended:
                raise SourceError(f"{source.label} {stream.ended}")
            raise _too_short(source, len(head), page_size)
    except BaseException:
        stream.close()
        raise
    make = lambda: stream  # noqa: E731
    if callable(origin):
        stream.close()
        make = lambda: _innermost(source, origin())  # noqa: E731
    if core is None:
        source.remark = _remark(head)
        return FlatStream(source, make, page_size)
    end = max((offset + pages * page_size for offset, pages in core.runs), default=0)
    return _core_source(source, core, core.runs, _OnceThrough(make, end), page_size, tally)


def _innermost(source: Source, stream: Stream) -> Stream:
    """Returns the stream inside all layers of compression."""
    for _ in range(_LAYERS):
        kind = formats.compression(stream.peek(formats.HEAD))
        if kind is None:
            return stream
        stream = stream.decompressed(kind)
    stream.close()
    raise SourceError(
        f"{source.label} is compressed more than {_LAYERS} times: decompress it and pipe it in: "
        "... | zswap-py report -"
    )


def _reach(stream: Stream, far: bool) -> corefile.Read:
    """Returns a reader of the stream's front; with ``far`` also of later bytes, as the
    stream can be opened again.
    """

    def read(offset: int, length: int) -> bytes:
        if not stream.position and offset + length <= corefile.FRONT:
            return stream.peek(offset + length)[offset:]
        if not far or offset < stream.position:
            raise corefile.OutOfReach
        stream.skip_to(offset)
        return stream.peek(length)

    return read


def _refuse_foreign(source: Source, head: bytes) -> None:
    if said := formats.foreign(head, _operand(source)):
        raise SourceError(f"{source.label} {said}")


def _too_short(source: Source, size: int, page_size: int) -> SourceError:
    return SourceError(
        f"{source.label} has {size} bytes, less than a page of {page_size}: give a larger file"
    )


def _remark(head: bytes) -> str | None:
    if formats.is_swap_area(head):
        return "is a swap area: its free slots count too"
    return None


# --- cores ---


def _parse_core(
    source: Source, read: corefile.Read, page_size: int, stream: Stream | None = None
) -> corefile.Core:
    try:
        return corefile.parse(read, page_size)
    except corefile.CoreError as e:
        if stream and stream.ended:
            raise SourceError(f"{source.label} {stream.ended}") from None
        raise SourceError(f"{source.label} {e}: {_readelf(source)}") from None


def _readelf(source: Source) -> str:
    return f"see readelf -l {_operand(source)}"


def _whole_core(
    source: Source, core: corefile.Core, fd: int, size: int, page_size: int, tally: Tally
) -> PlannedFile:
    """Returns a core in a file. Its missing pages and holes are known in advance. The
    kernel leaves holes for pages that were never written to, other tools for any page
    of zeros.
    """
    runs: list[tuple[int, int]] = []
    missing = holes = 0
    for offset, pages in core.runs:
        there = min(pages, max(0, size - offset) // page_size)
        missing += pages - there
        holes += there
        end = 0
        for start, stop in _data(fd, offset, offset + there * page_size):
            first, last = max(end, (start - offset) // page_size), -(-(stop - offset) // page_size)
            if first < last:
                runs.append((offset + first * page_size, last - first))
                holes -= last - first
            end = last
    if missing:
        tally.not_read.unreadable += missing
        total = sum(pages for _, pages in core.runs)
        source.incomplete = f"is truncated: {missing:,} of its {total:,} pages are missing"
    tally.not_read.zero_mapped += holes
    return _core_source(source, core, runs, _RandomAccess(source.path or ""), page_size, tally)


def _core_source(
    source: Source,
    core: corefile.Core,
    runs: list[tuple[int, int]],
    file: _File,
    page_size: int,
    tally: Tally,
) -> PlannedFile:
    source.kind = "core"
    source.pages = sum(pages for _, pages in runs)
    source.tail_bytes, source.remark = core.tail_bytes, core.remark
    if core.cut_notes and not source.incomplete:
        source.incomplete = "is truncated: it ends before its notes"
    if not source.pages:
        why = source.incomplete or "is a core without swappable memory"
        file.close()
        raise SourceError(f"{source.label} {why}: {_readelf(source)}")
    tally.not_read.file_backed += core.file_backed
    tally.not_read.hugetlb += core.hugetlb
    return PlannedFile(source, _CoreReader(source, file, page_size, tally), runs)
