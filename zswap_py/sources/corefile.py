# SPDX-License-Identifier: GPL-2.0-or-later
"""ELF cores: the places in the file of the pages that reclaim could swap.

A core has a PT_LOAD segment for each mapping, and an NT_FILE note that names the
mappings of files. Of these the kernel drops clean pages and swaps written copies. A
core does not tell one from the other, so a mapping counts as a whole. Writable
mappings, and those that the dynamic linker wrote before it made them read-only, are
swappable; others are not. Mappings of shmem are known by their names. A core does not
show which pages were locked, or in swap already.
"""

from __future__ import annotations

import importlib
import io
import struct
from bisect import bisect_right
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple

#: bytes at a core's front that must hold its headers, and in a pipe its notes; limit of
#: the notes' bytes
FRONT = 64 << 20

Read = Callable[[int, int], bytes]
"""Returns ``length`` bytes at ``offset``, fewer at the file's end. Raises OutOfReach.
"""

_PT_LOAD, _PT_NOTE = 1, 4
_PF_W = 2
_PN_XNUM = 0xFFFF
_AT_SYSINFO_EHDR = 33
_VSYSCALL = 0xFFFFFFFFFF600000  # of x86, which the kernel writes to every core
_SHMEM = (b"/dev/shm/", b"/memfd:", b"/SYSV", b"/dev/zero")
_HUGETLB = (b"/anon_hugepage", b"/dev/hugepages/")
_MACHINE = ("VMCOREINFO", "QEMU", "VBCORE")  # note names in the core of a whole machine


class CoreError(Exception):
    """A core cannot be read. The message continues the file's name."""


class OutOfReach(Exception):
    """The bytes of a pipe come too late, after the memory, or are read already."""


@dataclass
class Core:
    """The content of a core, by the headers at its front."""

    #: offset in the file, number of pages; ascending, not overlapping
    runs: list[tuple[int, int]] = field(default_factory=list)
    file_backed: int = 0  #: pages of files and of the kernel, which are never swapped
    hugetlb: int = 0  #: pages of the report's size
    written: int = 0  #: pages of writable mappings of files
    tail_bytes: int = 0  #: at the ends of segments, where they fill no page
    remark: str | None = None  #: a limit of the figures
    cut_notes: bool = False  #: whether the file ends before its notes do


class _ProgramHeader(NamedTuple):
    kind: int
    flags: int
    offset: int
    address: int
    length: int  #: in the file


class _Load(NamedTuple):
    offset: int
    address: int
    length: int
    writable: bool


class _FileMapping(NamedTuple):
    start: int
    end: int
    bias: int  #: address minus offset in the file
    name: bytes


@dataclass
class _Notes:
    files: list[_FileMapping] | None = None
    vdso: int | None = None
    machine: bool = False
    missing: str = "has no NT_FILE note"  #: the reason, if ``files`` is None
    cut: bool = False


def parse(read: Read, page_size: int) -> Core:
    """Reads the headers and notes of a core. Raises CoreError."""
    try:
        importlib.import_module("elftools.elf.elffile")
    except ImportError:
        raise CoreError(
            "is an ELF core, which needs pyelftools, and that is missing: "
            "pip install 'zswap-py[core]'"
        ) from None
    try:
        return _parse(read, page_size)
    except (CoreError, OSError):
        raise
    except Exception as e:  # pyelftools raises exceptions of any class
        raise CoreError(f"is a damaged ELF core ({type(e).__name__}: {e})") from None


def _parse(read: Read, page_size: int) -> Core:
    elf = _elf(_exactly(read, 0, 52 if read(4, 1) == b"\1" else 64))
    headers = _program_headers(elf, read)
    notes = _notes(elf, [header for header in headers if header.kind == _PT_NOTE], read)
    loads = sorted(
        _Load(header.offset, header.address, header.length, bool(header.flags & _PF_W))
        for header in headers
        if header.kind == _PT_LOAD
    )
    for load in loads:
        if load.offset + load.length >= 1 << 63:
            raise CoreError(
                f"is a damaged ELF core (a segment of {load.length} bytes at byte {load.offset})"
            )
    core = _Sorter(page_size, notes, loads).core
    core.cut_notes = notes.cut
    if notes.machine:
        core.remark = (
            "is the memory of a whole machine: the kernel, its page cache and free pages count too"
        )
    elif notes.files is None:
        core.remark = (
            f"{notes.missing}: its file-backed pages cannot be told from the others, and all count"
        )
    elif core.written:
        core.remark = (
            f"does not tell which pages of writable file mappings were written: all "
            f"{core.written:,} count"
        )
    return core


def _exactly(read: Read, offset: int, length: int) -> bytes:
    if offset + length > FRONT:
        raise CoreError(
            f"is a damaged ELF core (its headers end at byte {offset + length}, "
            f"and must end within its first {FRONT >> 20} MiB)"
        )
    data = read(offset, length)
    if len(data) < length:
        raise CoreError("is truncated within its headers, and holds no memory")
    return data


def _elf(head: bytes) -> Any:
    """Returns the ELFFile of a header, without the section headers, which stand at the
    file's end.
    """
    masked = bytearray(head.ljust(256, b"\0"))
    # e_shoff; e_shnum, e_shstrndx
    for at, length in ((40, 8), (60, 4)) if head[4:5] != b"\1" else ((32, 4), (48, 4)):
        masked[at : at + length] = bytes(length)
    return importlib.import_module("elftools.elf.elffile").ELFFile(io.BytesIO(masked))


def _program_headers(elf: Any, read: Read) -> list[_ProgramHeader]:
    """Reads the table. pyelftools would take minutes for some hundred thousand."""
    wide = elf.elfclass == 64
    entry = struct.Struct(
        ("<" if elf.little_endian else ">") + ("IIQQQQQQ" if wide else "IIIIIIII")
    )
    offset, count, size = elf["e_phoff"], elf["e_phnum"], entry.size
    if count and elf["e_phentsize"] != size:
        raise CoreError(
            f"is a damaged ELF core (program headers of {elf['e_phentsize']} bytes, not {size})"
        )

    def table(count: int) -> list[_ProgramHeader]:
        fields = entry.iter_unpack(_exactly(read, offset, count * size))
        if wide:
            return [_ProgramHeader(f[0], f[1], f[2], f[3], f[5]) for f in fields]
        return [_ProgramHeader(f[0], f[6], f[1], f[2], f[4]) for f in fields]

    # the count stands at the file's end, but the first segment follows the table
    if count == _PN_XNUM:
        count = (table(1)[0].offset - offset) // size
        if count < _PN_XNUM:
            raise CoreError(
                f"is a damaged ELF core ({count} program headers, where there must be "
                f"{_PN_XNUM} or more)"
            )
    return table(count)


def _notes(elf: Any, headers: list[_ProgramHeader], read: Read) -> _Notes:
    iter_notes = importlib.import_module("elftools.elf.notes").iter_notes
    found = _Notes()
    auxv = False
    for header in headers:
        if header.length > FRONT:
            raise CoreError(f"is a damaged ELF core ({header.length} bytes of notes)")
        try:  # the kernel writes the notes before the memory, gdb after it
            data = read(header.offset, header.length)
        except OutOfReach:
            found.missing = "has its notes at its end, too late in a pipe (give it as a file)"
            continue
        if len(data) < header.length:
            found.missing, found.cut = "lacks its notes", True
            continue
        elf.stream = io.BytesIO(data)
        for note in iter_notes(elf, 0, len(data)):
            found.machine = found.machine or note["n_name"] in _MACHINE
            if note["n_type"] == "NT_FILE":
                found.files = _files(note["n_desc"])
            elif note["n_type"] == "NT_AUXV":
                found.vdso, auxv = _vdso(elf, note["n_descdata"]), True
            if found.files is not None and auxv:
                return found  # the notes of a thousand threads may follow
    return found


def _files(note: Any) -> list[_FileMapping]:
    return sorted(
        _FileMapping(
            entry.vm_start, entry.vm_end, entry.vm_start - entry.page_offset * note.page_size, name
        )
        for entry, name in zip(note.Elf_Nt_File_Entry, note.filename, strict=True)
        if entry.vm_start < entry.vm_end
    )


def _vdso(elf: Any, auxv: bytes) -> int | None:
    word = ("<" if elf.little_endian else ">") + ("Q" if elf.elfclass == 64 else "I")
    words = [value for (value,) in struct.iter_unpack(word, auxv)]
    return dict(zip(words[::2], words[1::2], strict=True)).get(_AT_SYSINFO_EHDR)


class _Sorter:
    """Sorts a core's memory by how reclaim would treat it."""

    def __init__(self, page_size: int, notes: _Notes, loads: list[_Load]) -> None:
        self.core = Core()
        self._page_size = page_size
        self._vdso = notes.vdso
        self._process = not notes.machine
        self._files = notes.files or []
        self._starts = [mapping.start for mapping in self._files]
        self._writable = {load.address for load in loads if load.writable}
        end = 0
        for load in loads:
            # the part seen already: a dump of a machine may map its memory twice
            skip = max(0, end - load.offset)
            self._add(
                load._replace(
                    offset=load.offset + skip,
                    address=load.address + skip,
                    length=load.length - skip,
                )
            )
            end = max(end, load.offset + load.length)

    def _add(self, load: _Load) -> None:
        for start, end, i in self._cut(load.address, load.address + load.length):
            first = -(-start // self._page_size) * self._page_size
            pages = max(0, end - first) // self._page_size
            if self._is_kernels(load):
                self.core.file_backed += pages
            elif i is not None and self._files[i].name.startswith(_HUGETLB):
                self.core.hugetlb += pages
            elif i is not None and not self._is_swappable(i, load):
                self.core.file_backed += pages
            else:
                self.core.tail_bytes += end - start - pages * self._page_size
                if i is not None and not self._files[i].name.startswith(_SHMEM):
                    self.core.written += pages
                if pages:
                    self.core.runs.append((load.offset + first - load.address, pages))

    def _cut(self, start: int, end: int) -> Iterator[tuple[int, int, int | None]]:
        """Yields parts of the range, each with the index of its mapping, or None."""
        i = max(0, bisect_right(self._starts, start) - 1)
        while start < end:
            while i < len(self._files) and self._files[i].end <= start:
                i += 1
            if i == len(self._files) or self._files[i].start >= end:
                yield start, end, None
                return
            if start < self._files[i].start:
                yield start, self._files[i].start, None
                start = self._files[i].start
            stop = min(end, self._files[i].end)
            yield start, stop, i
            start = stop

    def _is_kernels(self, load: _Load) -> bool:
        vdso = self._vdso is not None and load.address <= self._vdso < load.address + load.length
        return vdso or (self._process and load.address == _VSYSCALL)

    def _is_swappable(self, i: int, load: _Load) -> bool:
        """Returns whether reclaim would swap pages of this file mapping: shmem, or a
        mapping that was or may be written. The dynamic linker writes the first part of
        a program's data segment and then makes it read-only.
        """
        mapping = self._files[i]
        if load.writable or mapping.name.startswith(_SHMEM):
            return True
        after = self._files[i + 1] if i + 1 < len(self._files) else None
        return (
            after is not None
            and after[0] == mapping.end
            and after[2:] == mapping[2:]
            and after.start in self._writable
        )
