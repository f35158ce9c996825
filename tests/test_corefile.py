# SPDX-License-Identifier: GPL-2.0-or-later
"""corefile.py: which pages of an ELF core reclaim could swap; cores that are made here,
by the kernel and by gdb.
"""

from __future__ import annotations

import gzip
import io
import lzma
import mmap
import os
import random
import resource
import shutil
import signal
import struct
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import zstandard
from test_pages import Child, contents, once, page, tagged

from zswap_py import cli
from zswap_py.report.measure import measure
from zswap_py.sources import corefile
from zswap_py.sources.pages import NotRead, Pages, SourceError, open_pages

P = 4096
R, W, RW, X = 4, 2, 6, 5

pytestmark = [
    pytest.mark.skipif(mmap.PAGESIZE != P, reason="the report's pages are of 4,096 bytes here"),
    pytest.mark.timeout(60),
]
pytest.importorskip("elftools", reason="pyelftools is not installed")


@dataclass
class Segment:
    data: bytes
    address: int = 0x10000
    flags: int = RW
    in_file: int | None = None  #: bytes of it in the file, if not all


@dataclass
class Recipe:
    """A core to be made."""

    segments: list[Segment]
    # : start, end, page of the file, name
    files: list[tuple[int, int, int, str]] | None = field(default_factory=list)
    auxv: dict[int, int] = field(default_factory=dict)
    order: str = "<"
    wide: bool = True
    machine: int = 62
    extended: bool = False  #: as the kernel writes it for more than 65,534 segments
    notes: tuple[tuple[str, int, bytes], ...] = ()
    skew: int = 0  #: bytes that segments stand off a page boundary of the file
    notes_last: bool = False  #: as gdb writes it

    def bytes(self) -> bytes:
        notes = b"".join(
            self._note(*note) for note in (("CORE", 1, bytes(336)), *self.notes, *self._own_notes())
        )
        header_size, entry_size = (64, 56) if self.wide else (52, 32)
        at = header_size + entry_size * (len(self.segments) + 1)
        table = [self._header(4, 0, at, 0, len(notes), len(notes))]
        if self.notes_last:
            table = [
                self._header(
                    4,
                    0,
                    -(-at // P) * P + sum(len(s.data) for s in self.segments),
                    0,
                    len(notes),
                    0,
                )
            ]
            notes, last = b"", notes
        else:
            last = b""
        at = -(-(at + len(notes)) // P) * P + self.skew
        front, body = at, b""
        for segment in self.segments:
            length = len(segment.data) if segment.in_file is None else segment.in_file
            table.append(
                self._header(1, segment.flags, at, segment.address, length, len(segment.data))
            )
            body += segment.data[:length]
            at += length
        count = len(table)
        word = "Q" if self.wide else "I"
        ident = b"\x7fELF" + bytes([1 + self.wide, 1 + (self.order == ">"), 1]) + bytes(9)
        sections = at if self.extended else 0
        head = ident + struct.pack(
            f"{self.order}HHI{word}{word}{word}IHHHHHH",
            4,
            self.machine,
            1,
            0,
            header_size,
            sections,
            0,
            header_size,
            entry_size,
            0xFFFF if self.extended else count,
            64 if self.extended else 0,
            int(self.extended),
            0,
        )
        if self.extended:  # section header 0, at the file's end, has the count
            body += struct.pack(self.order + "IIQQQQIIQQ", 0, 0, 0, 0, 1, 0, 0, count, 0, 0)
        return (head + b"".join(table) + notes).ljust(front, b"\0") + body + last

    def _header(
        self, kind: int, flags: int, offset: int, address: int, in_file: int, in_memory: int
    ) -> bytes:
        if self.wide:
            return struct.pack(
                self.order + "IIQQQQQQ", kind, flags, offset, address, 0, in_file, in_memory, P
            )
        return struct.pack(
            self.order + "IIIIIIII", kind, offset, address, 0, in_file, in_memory, flags, P
        )

    def _note(self, name: str, kind: int, data: bytes) -> bytes:
        owner = name.encode() + b"\0"
        return (
            struct.pack(self.order + "III", len(owner), len(data), kind)
            + owner
            + bytes(-len(owner) % 4)
            + data
            + bytes(-len(data) % 4)
        )

    def _own_notes(self) -> Iterator[tuple[str, int, bytes]]:
        word = "Q" if self.wide else "I"
        values = [value for pair in self.auxv.items() for value in pair] + [0, 0]
        yield "CORE", 6, struct.pack(f"{self.order}{len(values)}{word}", *values)
        if self.files is not None:
            numbers = [len(self.files), P] + [
                n for start, end, offset, _ in self.files for n in (start, end, offset)
            ]
            yield (
                "CORE",
                0x46494C45,
                struct.pack(f"{self.order}{len(numbers)}{word}", *numbers)
                + b"".join(name.encode() + b"\0" for *_, name in self.files),
            )


def some(tag: bytes, count: int) -> bytes:
    return b"".join(page(tag, i) for i in range(count))


def write(path: Path, data: bytes, sparse: bool = False) -> Path:
    """With holes for pages of zeros."""
    if not sparse:
        path.write_bytes(data)
        return path
    with open(path, "wb") as f:
        for at in range(0, len(data), P):
            if any(data[at : at + P]):
                f.seek(at)
                f.write(data[at : at + P])
        f.truncate(len(data))
    return path


def read(core: Path | str, **how: int) -> tuple[Pages, bytes]:
    with open_pages([core], **how) as pages:
        data = contents(pages)
    assert len(data) == pages.pages_read * P
    return pages, data


def piped(monkeypatch: pytest.MonkeyPatch, data: bytes) -> tuple[Pages, bytes]:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(data)))
    return read("-")


# --- one core in every form ---

A, B = some(b"a", 10), some(b"b", 4)
RECIPE = [Segment(A + bytes(6 * P) + A, 0x10000), Segment(B + b"tail", 0x90000)]
FORMS = {
    "64_little": Recipe(RECIPE),
    "64_big": Recipe(RECIPE, order=">", machine=22),
    "32_little": Recipe(RECIPE, wide=False, machine=40),
    "32_big": Recipe(RECIPE, order=">", wide=False, machine=8),
    "off_the_files_pages": Recipe(RECIPE, skew=1000),
}


@pytest.mark.parametrize("form", FORMS)
def test_core_has_its_segments_without_zeros_in_every_form(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, form: str
) -> None:
    data = FORMS[form].bytes()
    found = [
        read(write(tmp_path / "dense", data)),
        read(write(tmp_path / "sparse", data, sparse=True)),
        read(write(tmp_path / "gz", gzip.compress(data))),
        read(write(tmp_path / "xz", lzma.compress(data))),
        read(write(tmp_path / "zst", zstandard.ZstdCompressor().compress(data))),
        piped(monkeypatch, data),
        piped(monkeypatch, gzip.compress(data)),
    ]
    if form != "off_the_files_pages":
        assert (tmp_path / "sparse").stat().st_blocks < (tmp_path / "dense").stat().st_blocks
    for pages, got in found:
        assert pages.sources[0].kind == "core"
        assert got == A + A + B
        assert (pages.pages_total, pages.pages_planned, pages.tail_bytes) == (24, 24, 4)
        assert pages.not_read == NotRead(zero_mapped=6)
        assert pages.sources[0].incomplete is None


def test_sample_of_a_core_tells_of_zeros_that_it_did_not_read(tmp_path: Path) -> None:
    data = Recipe([Segment(b"".join(page(b"a", i) + bytes(P) for i in range(4000)))]).bytes()
    for file in (
        write(tmp_path / "dense", data),
        write(tmp_path / "zst", zstandard.ZstdCompressor().compress(data)),
    ):
        pages, got = read(file, sample_bytes=1600 * P)
        assert pages.sampled
        assert len(tagged(got, b"a")) == pytest.approx(800, rel=0.05)
        assert pages.pages_total == pytest.approx(4000, rel=0.01)
        assert pages.not_read.zero_mapped == pytest.approx(4000, rel=0.01)
        assert (pages.pages_total or 0) + pages.not_read.zero_mapped == 8000


def test_pages_are_those_of_the_memory(tmp_path: Path) -> None:
    """A segment that begins and ends within pages: only whole pages count, cut where
    the memory has them.
    """
    memory = some(b"a", 6)
    core = Recipe([Segment(memory[P - 100 : -50], 0x10000 + P - 100)])
    pages, got = read(write(tmp_path / "c", core.bytes()))
    assert tagged(got, b"a") == once(range(1, 5))
    assert pages.tail_bytes == 100 + P - 50


def test_more_segments_than_a_header_can_count(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The count stands in a section header behind the memory: beyond reach in a pipe,
    and in a truncated core.
    """
    data = b"".join(struct.pack("<QQ", i, 1) * (P // 16) for i in range(65600))
    recipe = Recipe(
        [Segment(data[at : at + P], 0x10000 + 2 * at) for at in range(0, 8 * P, P)], extended=True
    )
    recipe.segments += [Segment(bytes(P), 0x1000000 + 2 * P * i, in_file=0) for i in range(65592)]
    for pages, got in (
        read(write(tmp_path / "c", recipe.bytes())),
        piped(monkeypatch, recipe.bytes()),
    ):
        assert got == data[: 8 * P]
        assert pages.pages_total == 8


def test_memory_that_is_twice_in_a_core_counts_once(tmp_path: Path) -> None:
    """As a dump with paging has it: two segments of the same bytes of the file."""
    data = bytearray(Recipe([Segment(A, 0x10000), Segment(b"", 0x90000)]).bytes())
    data[64 + 2 * 56 + 8 : 64 + 2 * 56 + 16] = data[64 + 56 + 8 : 64 + 56 + 16]  # p_offset
    struct.pack_into("<QQ", data, 64 + 2 * 56 + 32, len(A), len(A))
    assert read(write(tmp_path / "c", bytes(data)))[1] == A


# --- what reclaim would swap ---


def test_mappings_of_files_are_left_out_unless_they_were_written(tmp_path: Path) -> None:
    at = 0x10000

    def mapping(tag: bytes, flags: int, name: str | None, offset: int = 0, gap: int = 1) -> None:
        nonlocal at
        segments.append(Segment(some(tag, 4), at, flags))
        if name:
            files.append((at, at + 4 * P, offset, name))
        at += (4 + gap) * P

    segments: list[Segment] = []
    files: list[tuple[int, int, int, str]] = []
    mapping(b"heap", RW, None)
    mapping(b"text", X, "/lib/a.so")
    mapping(b"rodata", R, "/lib/a.so", 4, gap=0)
    mapping(b"relro", R, "/lib/a.so", 7, gap=0)  # made read-only by the linker after it wrote
    mapping(b"data", RW, "/lib/a.so", 11)
    # the next one is of another segment of the program's file
    mapping(b"const", R, "/lib/b.so", 0, gap=0)
    mapping(b"bdata", RW, "/lib/b.so", 3)
    mapping(b"memfd", RW, "/memfd:x (deleted)")
    mapping(b"sysv", R, "/SYSV00000000 (deleted)")
    mapping(b"shm", R, "/dev/shm/x")
    mapping(b"shared", RW, "/dev/zero (deleted)")
    mapping(b"huge", RW, "/anon_hugepage (deleted)")
    mapping(b"vdso", X, None)
    vdso = segments[-1].address
    mapping(b"jit", X, None)
    segments.append(Segment(some(b"vsys", 1), 0xFFFFFFFFFF600000, X))
    pages, got = read(write(tmp_path / "c", Recipe(segments, files, auxv={33: vdso, 6: P}).bytes()))
    kept = [b"heap", b"relro", b"data", b"bdata", b"memfd", b"sysv", b"shm", b"shared", b"jit"]
    assert got == b"".join(some(tag, 4) for tag in kept)
    assert pages.not_read == NotRead(file_backed=4 + 4 + 4 + 4 + 1, hugetlb=4)
    assert "all 12 count" in str(pages.sources[0].remark)


def test_one_segment_may_hold_several_mappings(tmp_path: Path) -> None:
    files = [
        (0x10000 + 4 * P, 0x10000 + 6 * P, 0, "/lib/a"),
        (0x10000 + 6 * P, 0x10000 + 7 * P, 0, "/lib/b"),
    ]
    pages, got = read(write(tmp_path / "c", Recipe([Segment(A, 0x10000, R)], files).bytes()))
    assert tagged(got, b"a") == once([0, 1, 2, 3, 7, 8, 9])
    assert pages.not_read.file_backed == 3


def test_mapping_that_ends_before_its_start_is_none(tmp_path: Path) -> None:
    recipe = Recipe([Segment(A, 0x10000)], [(0x12000, 0x11000, 0, "/lib/a")])
    assert read(write(tmp_path / "c", recipe.bytes()))[1] == A


def test_without_the_note_of_files_all_counts_and_that_is_said(tmp_path: Path) -> None:
    pages, got = read(write(tmp_path / "c", Recipe([Segment(A, flags=X)], files=None).bytes()))
    assert got == A
    assert "no NT_FILE note" in str(pages.sources[0].remark)


@pytest.mark.parametrize("name", ["VMCOREINFO", "QEMU"])
def test_core_of_a_whole_machine_is_said_to_be_one(tmp_path: Path, name: str) -> None:
    recipe = Recipe([Segment(A)], files=None, notes=((name, 0, b"x" * 20),))
    pages, got = read(write(tmp_path / "c", recipe.bytes()))
    assert got == A
    assert "memory of a whole machine" in str(pages.sources[0].remark)


# --- truncated and damaged ---


def test_truncated_core_is_incomplete(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    data = Recipe([Segment(A), Segment(B, 0x90000)]).bytes()
    cut = data[: len(data) - 11 * P + 7]
    for pages, got in (
        read(write(tmp_path / "c", cut)),
        read(write(tmp_path / "gz", gzip.compress(cut))),
        piped(monkeypatch, cut),
    ):
        assert got == A[: 3 * P]
        assert pages.not_read == NotRead(unreadable=11)
        assert pages.sources[0].incomplete
    assert (
        read(tmp_path / "c")[0].sources[0].incomplete
        == "is truncated: 11 of its 14 pages are missing"
    )


def test_truncated_core_stands_in_the_first_lines(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write(Path("c"), Recipe([Segment(A)]).bytes()[: -5 * P])
    assert cli.main(["report", "c", "-c", "lz4"]) == 1
    out, _err = capsys.readouterr()
    assert out.splitlines()[:2] == [
        "c: 5 pages, 20.0 KiB; incomplete, not scaled up",
        "c is truncated: 5 of its 10 pages are missing",
    ]
    with open_pages(["c"]) as pages:
        assert measure(pages, ["lz4"]).report.complete is False


def test_core_in_a_truncated_stream_is_incomplete(tmp_path: Path) -> None:
    data = Recipe([Segment(os.urandom(1000 * P))]).bytes()
    pages, got = read(write(tmp_path / "c", gzip.compress(data)[: 2000 * 1024]))
    assert 400 * P < len(got) < 600 * P
    assert pages.not_read.unreadable == 1000 - pages.pages_read
    assert pages.sources[0].incomplete == "is truncated: its gzip stream has no end"


def test_truncated_stream_is_not_scaled_up(tmp_path: Path) -> None:
    data = Recipe([Segment(os.urandom(1000 * P))]).bytes()
    write(tmp_path / "c", gzip.compress(data)[: 2000 * 1024])
    with open_pages([tmp_path / "c"]) as pages:
        report = measure(pages, ["lz4"]).report
    assert report.pages_total == 1000
    stored = report.figures[0].all.stored_pages
    assert stored.low == stored.value == stored.high == report.sample.pages < 600


def test_damage_that_only_a_checksum_tells_is_found(tmp_path: Path) -> None:
    data = bytearray(
        gzip.compress(Recipe([Segment(A)]).bytes() + random.Random(1).randbytes(300000))
    )
    data[-6] ^= 1
    pages, got = read(write(tmp_path / "c", bytes(data)))
    assert got == A
    assert pages.not_read.unreadable == 0
    assert "is damaged: its gzip stream ends with an error" in str(pages.sources[0].incomplete)


def test_core_cut_while_it_is_read_is_incomplete(tmp_path: Path) -> None:
    file = write(tmp_path / "c", Recipe([Segment(A)]).bytes())
    with open_pages([file]) as pages:
        os.truncate(file, file.stat().st_size - 3 * P)
        assert contents(pages) == A[: 7 * P]
    assert pages.not_read.unreadable == 3
    assert pages.sources[0].incomplete == "was truncated while it was read"


@pytest.mark.parametrize("length", [20, 63, 100])
def test_core_truncated_within_its_headers(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, length: int
) -> None:
    data = Recipe([Segment(A)]).bytes()[:length]
    with pytest.raises(
        SourceError, match=(f"c is truncated within its headers.*see readelf -l {tmp_path}/c")
    ):
        open_pages([write(tmp_path / "c", data)])
    with pytest.raises(SourceError, match="standard input is truncated within its headers"):
        piped(monkeypatch, data)
    with pytest.raises(SourceError, match="truncated"):
        open_pages([write(tmp_path / "c", gzip.compress(data)[:-8])])


def test_core_without_memory(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=("is a core without swappable memory: see readelf -l")):
        open_pages([write(tmp_path / "c", Recipe([]).bytes())])


@pytest.mark.parametrize(
    ("field", "value", "said"),
    [
        (64 + 56 + 8, 1 << 63, "a segment of 40960 bytes at byte 9223372036854775808"),  # p_offset
        (64 + 56 + 32, (1 << 64) - 1, "a segment of 18446744073709551615 bytes"),  # p_filesz
        (32, 1 << 62, "must end within its first 64 MiB"),  # e_phoff
        (64 + 32, 1 << 40, "1099511627776 bytes of notes"),  # their p_filesz
        (56, 0xFFFF, "2 program headers, where there must be 65535"),  # e_phnum
        (54, 0x20039, "program headers of 57 bytes, not 56"),  # e_phentsize, e_phnum
    ],
)
def test_damaged_headers_are_one_line(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, field: int, value: int, said: str
) -> None:
    data = bytearray(Recipe([Segment(A)]).bytes())
    struct.pack_into("<Q", data, field, value)
    for attempt in (
        lambda: read(write(tmp_path / "c", bytes(data))),
        lambda: piped(monkeypatch, bytes(data)),
    ):
        with pytest.raises(SourceError, match=f"is a damaged ELF core .*{said}.*: see readelf -l "):
            attempt()


def test_segments_that_claim_exabytes_are_not_waited_for(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    data = bytearray(Recipe([Segment(A)]).bytes())
    struct.pack_into("<Q", data, 64 + 56 + 32, 1 << 62)
    for pages, got in (
        read(write(tmp_path / "c", bytes(data))),
        piped(monkeypatch, bytes(data)),
        read(write(tmp_path / "gz", gzip.compress(data))),
    ):
        assert got == A
        assert pages.not_read.unreadable == (1 << 50) - 10
        assert pages.sources[0].incomplete
    with open_pages([tmp_path / "gz"]) as pages:
        assert not measure(pages, ["lz4"]).report.complete


def test_any_damage_is_an_error_of_ours_or_read_through(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """2,000 cores with damage in header, program headers or notes."""
    whole = Recipe(
        [Segment(A), Segment(B, 0x90000, R)], [(0x90000, 0x94000, 0, "/lib/a")], auxv={33: 0x70000}
    ).bytes()
    rng = random.Random(1)
    outcomes = {"read": 0, "refused": 0}
    for i in range(2000):
        data = bytearray(whole)
        for _ in range(rng.choice((1, 1, 2, 5))):
            at = rng.randrange(16 if rng.random() < 0.9 else 4, 700)
            size = rng.choice((1, 2, 4, 8))
            damage = rng.choice(
                (rng.randbytes(size), b"\xff" * size, bytes(size), b"\x7f" + b"\xff" * 7)
            )
            data[at : at + size] = damage[:size]
        del data[rng.randrange(len(data)) if rng.random() < 0.1 else len(data) :]
        try:
            pages, got = (
                piped(monkeypatch, bytes(data))
                if i % 2
                else read(write(tmp_path / "c", bytes(data)))
            )
        except SourceError as e:
            outcomes["refused"] += 1
            assert "\n" not in str(e)
        else:
            outcomes["read"] += 1
            assert len(got) <= len(data)
            assert pages.pages_read == len(got) // P
    assert min(outcomes.values()) > 200


def test_core_without_pyelftools(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path / "c", Recipe([Segment(A)]).bytes())
    monkeypatch.setitem(sys.modules, "elftools.elf.elffile", None)
    with pytest.raises(SourceError, match=r"pip install 'zswap-py\[core\]'"):
        open_pages([tmp_path / "c"])


def test_notes_behind_the_memory_are_found_except_in_a_long_pipe(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """gdb writes them there."""
    data = Recipe(
        [Segment(A), Segment(B, 0x90000, R)], [(0x90000, 0x94000, 0, "/lib/a")], notes_last=True
    ).bytes()
    forms = (write(tmp_path / "c", data), write(tmp_path / "gz", gzip.compress(data)))
    for pages, got in (*map(read, forms), piped(monkeypatch, data)):
        assert (got, pages.not_read) == (A, NotRead(file_backed=4))
    monkeypatch.setattr(corefile, "FRONT", 10000)
    for pages, got in map(read, forms):
        assert (got, pages.not_read) == (A, NotRead(file_backed=4))
    pages, got = piped(monkeypatch, data)
    assert got == A + B
    assert (
        "has its notes at its end, too late in a pipe (give it as a file): its file-backed "
        "pages" in str(pages.sources[0].remark)
    )


def test_truncated_core_that_lost_its_notes_is_read(tmp_path: Path) -> None:
    data = Recipe(
        [Segment(A), Segment(B, 0x90000, R)], [(0x90000, 0x94000, 0, "/lib/a")], notes_last=True
    ).bytes()
    for cut in (data[:-10], data[: -8 * P]):
        for file in (write(tmp_path / "c", cut), write(tmp_path / "gz", gzip.compress(cut))):
            pages, got = read(file)
            assert got == (A + B)[: len(got)]
            assert (pages.not_read.unreadable > 0) == (len(cut) < len(data) - P)
            assert str(pages.sources[0].incomplete).startswith("is truncated: ")
            assert "lacks its notes: its file-backed pages" in str(pages.sources[0].remark)


# --- one process, live and in cores ---


@pytest.fixture
def child(tmp_path: Path) -> Iterator[Child]:
    """With memory of each kind. It leaves its core in ``tmp_path``."""
    try:
        child = Child(
            cwd=tmp_path,
            preexec_fn=lambda: resource.setrlimit(
                resource.RLIMIT_CORE, (resource.RLIM_INFINITY,) * 2
            ),
        )
    except subprocess.SubprocessError:
        pytest.skip("RLIMIT_CORE may not be raised")
    child.run(
        "a = small(500)",
        "fill(a, b'core', range(0, 500, 5))",
        "s = new(300, shared=True)",
        "fill(s, b'shm', range(200))",
        "fd = os.memfd_create('m'); os.ftruncate(fd, 100 * P)",
        "m = new(100, fd, shared=True)",
        "fill(m, b'memfd', range(60))",
        "import json, sqlite3, ssl, decimal",
        "open('ff', 'wb').write(os.urandom(400 * P)); fd = os.open('ff', os.O_RDONLY)",
        "t = new(400, fd, prot=1)",
        "read(t, range(400))",
    )
    yield child
    child.kill()


def kernel_core(child: Child, tmp_path: Path) -> Path:
    if Path("/proc/sys/kernel/core_pattern").read_text().strip() != "core":
        pytest.skip("kernel.core_pattern is not 'core'")
    child.process.send_signal(signal.SIGABRT)
    child.process.wait()
    return next(tmp_path.glob("core*"))


def gdb_core(child: Child, tmp_path: Path) -> Path:
    if not shutil.which("gcore"):
        pytest.skip("no gcore (gdb)")
    done = subprocess.run(
        ["gcore", "-o", str(tmp_path / "core"), str(child.pid)],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        pytest.skip(f"gcore: {done.stderr.splitlines()[-1]}")
    return tmp_path / f"core.{child.pid}"


@pytest.mark.parametrize("coredump_filter", ["0x33", "0xff"])
@pytest.mark.parametrize("make", [kernel_core, gdb_core])
def test_core_counts_what_the_live_process_has(
    child: Child, tmp_path: Path, make: object, coredump_filter: str
) -> None:
    """Less its pages of zeros, which a core does not tell from memory that was never
    touched; the few pages more are clean ones of the libraries' data.
    """
    Path(f"/proc/{child.pid}/coredump_filter").write_text(coredump_filter)
    with open_pages(pids=[child.pid], full=True) as pages:
        live = contents(pages)
    written = sum(any(live[at : at + P]) for at in range(0, len(live), P))
    assert written > 1000
    core = make(child, tmp_path)  # type: ignore[operator]
    pages, data = read(core)
    assert tagged(data, b"core") == once(range(0, 500, 5))
    assert tagged(data, b"shm") == once(range(200))
    assert tagged(data, b"memfd") == once(range(60))
    assert pages.pages_total == pytest.approx(written, rel=0.02)
    assert pages.not_read.zero_mapped >= 400
    assert (pages.not_read.file_backed > 400) == (coredump_filter == "0xff" or make is gdb_core)
    compressed = write(tmp_path / "z", zstandard.ZstdCompressor().compress(core.read_bytes()))
    again, same = read(compressed)
    assert same == data
    assert again.not_read == pages.not_read
