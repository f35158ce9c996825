# SPDX-License-Identifier: GPL-2.0-or-later
"""files.py, decompress.py and formats.py: what a file is, and flat pages in files and
streams.
"""

from __future__ import annotations

import bz2
import errno
import fcntl
import gzip
import io
import json
import lzma
import mmap
import os
import random
import subprocess
import sys
import termios
import threading
import time
import zlib
from collections.abc import Callable
from pathlib import Path

import lz4.frame
import pytest
import zstandard

from zswap_py import cli
from zswap_py.report.measure import measure
from zswap_py.sources import files, formats
from zswap_py.sources.pages import Pages, SourceError, open_pages

P = 4096

pytestmark = [
    pytest.mark.skipif(mmap.PAGESIZE != P, reason="the report's pages are of 4,096 bytes here"),
    pytest.mark.timeout(60),
]

COMPRESS: dict[str, Callable[[bytes], bytes]] = {
    "zstd": lambda data: zstandard.ZstdCompressor(write_checksum=True).compress(data),
    "lz4": lambda data: lz4.frame.compress(data, content_checksum=True),
    "xz": lzma.compress,
    "gzip": gzip.compress,
    "bzip2": bz2.compress,
}


@pytest.fixture(params=COMPRESS)
def compress(request: pytest.FixtureRequest) -> Callable[[bytes], bytes]:
    return COMPRESS[request.param]


def some_pages(count: int, seed: int = 1) -> bytes:
    """Pages of which each is another, and half of each compresses."""
    rng = random.Random(seed)
    return b"".join(bytes(P // 2) + rng.randbytes(P // 2) for _ in range(count))


def contents(pages: Pages, nbytes: int = 1 << 20) -> bytes:
    return b"".join(bytes(piece) for piece in pages.pieces(nbytes))


def stdin(monkeypatch: pytest.MonkeyPatch, data: bytes) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(data)))


def report(*argv: object, shell: str = "", **popen: object) -> tuple[dict[str, object], str, int]:
    """The JSON, standard error and exit code of a report by lz4 alone, in a process of
    its own.
    """
    command = f"{sys.executable} -m zswap_py report -c lz4 --json {' '.join(map(str, argv))}"
    done = subprocess.run(
        ["bash", "-c", shell.replace("REPORT", command) or command],
        capture_output=True,
        text=True,
        check=False,
        **popen,
    )  # type: ignore[call-overload]
    return (json.loads(done.stdout) if done.stdout else {}), done.stderr, done.returncode


# --- flat files ---


def test_tail_is_left_out_and_said(tmp_path: Path) -> None:
    file = tmp_path / "f"
    file.write_bytes(b"x" * (3 * 16384 + 100))
    with open_pages([file], page_size=16384) as pages:
        assert (pages.pages_total, pages.tail_bytes, pages.sources[0].tail_bytes) == (3, 100, 100)
        assert len(contents(pages)) == 3 * 16384


def test_file_cut_while_it_is_read_is_incomplete(tmp_path: Path) -> None:
    file = tmp_path / "f"
    file.write_bytes(b"x" * 10 * P)
    with open_pages([file]) as pages:
        os.truncate(file, 4 * P + 5)
        result = measure(pages, ["lz4"]).report
    assert pages.not_read.vanished == 6
    assert (result.sample.pages, result.complete) == (4, False)
    assert result.source[0]["incomplete"] == "was truncated while it was read"


def test_file_on_a_bad_medium_is_read_up_to_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    preadv = os.preadv

    def failing(fd: int, buffers: list[memoryview], offset: int) -> int:
        """As where the sectors of pages 7 to 11 are bad: reads up to them, then EIO."""
        if 7 * P <= offset < 12 * P:
            raise OSError(errno.EIO, "Input/output error")
        return preadv(fd, [buffers[0][: 7 * P - offset]] if offset < 7 * P else buffers, offset)

    monkeypatch.setattr(os, "preadv", failing)
    data = some_pages(40)
    (tmp_path / "f").write_bytes(data)
    with open_pages([tmp_path / "f"]) as pages:
        assert contents(pages, 4 * P) == data[: 7 * P]
    assert pages.not_read.unreadable == 33
    assert pages.sources[0].incomplete == "cannot be read to its end: Input/output error"


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda p: p.write_bytes(b""), "has 0 bytes, less than a page of 4096"),
        (lambda p: p.write_bytes(b"short"), "has 5 bytes"),
        (lambda p: p.mkdir(), "is a directory: give a file"),
        (lambda p: p.symlink_to("/dev/zero"), r"is a device or socket.*zswap-py report -"),
        (lambda p: None, "No such file or directory: check the name"),
    ],
)
def test_files_that_are_none(tmp_path: Path, make: Callable[[Path], object], message: str) -> None:
    make(tmp_path / "f")
    with pytest.raises(SourceError, match=message):
        open_pages([tmp_path / "f"])


def test_holes_of_a_flat_file_are_pages_of_zeros(tmp_path: Path) -> None:
    """With folios that lie partly in a hole, and a hole at the end; dense or sparse,
    the figures are the same.
    """
    dense, sparse = tmp_path / "dense", tmp_path / "sparse"
    data = some_pages(700)
    with open(sparse, "wb") as f:
        f.write(data[: 100 * P])
        f.seek((40 << 20) + 13 * P)
        f.write(data[100 * P :])
        f.truncate((80 << 20) + P)
    dense.write_bytes(sparse.read_bytes())
    assert sparse.stat().st_blocks < dense.stat().st_blocks
    for folio_pages in (1, 16, 512):
        figures = []
        for file in (dense, sparse):
            with open_pages([file]) as pages:
                found = measure(pages, ["lz4"], folio_pages=folio_pages, jobs=1).report
            assert found.sample.pages == (80 << 20) // P + 1
            figures.append((found.zero_pages, found.figures[0].all))
            assert (pages.hole_pages > 14000) == (file is sparse)
        assert figures[0] == figures[1]
    with open_pages([sparse]) as pages:  # whoever does not ask for it gets every page
        assert contents(pages) == sparse.read_bytes()


def test_holes_of_a_large_file_are_not_read(tmp_path: Path) -> None:
    file = tmp_path / "f"
    with open(file, "wb") as f:
        f.truncate(1 << 40)
    start = time.process_time()
    with open_pages([file]) as pages:
        found = measure(pages, ["lz4"]).report
    assert (found.sample.pages, found.zero_pages.value) == (1 << 28, 1 << 28)
    assert time.process_time() - start < 10  # 1 TiB at memory's speed takes minutes


def test_a_file_that_does_not_tell_its_holes_has_none() -> None:
    """As a block device."""
    fd = os.open("/proc/version", os.O_RDONLY)
    try:
        with pytest.raises(OSError, match="Invalid argument"):
            os.lseek(fd, 0, os.SEEK_DATA)
        assert list(files._data(fd, 3, 100)) == [(3, 100)]
    finally:
        os.close(fd)


def test_sample_of_a_sparse_file_has_its_share_of_zeros(tmp_path: Path) -> None:
    file = tmp_path / "f"
    with open(file, "wb") as f:
        f.write(some_pages(5000))
        f.truncate(20000 * P)
    with open_pages([file], sample_bytes=2000 * P) as pages:
        found = measure(pages, ["lz4"]).report
    assert found.sample.pages == pytest.approx(2000, rel=0.05)
    assert found.sample.zero_pages == pytest.approx(1500, rel=0.1)
    assert found.zero_pages.low < 15000 < found.zero_pages.high < 16000


def test_other_elf_files_are_flat(tmp_path: Path) -> None:
    file = tmp_path / "f"
    file.write_bytes((b"\x7fELF\2\1\1" + bytes(9) + b"\2\0").ljust(2 * P, b"x"))
    with open_pages([file]) as pages:
        assert (pages.sources[0].kind, pages.pages_total) == ("file", 2)


# --- standard input and pipes ---


def test_standard_input(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    data = os.urandom(21 * P)
    (tmp_path / "f").write_bytes(data[: 3 * P])
    stdin(monkeypatch, data[3 * P :] + b"tail")
    with open_pages([tmp_path / "f", "-"]) as pages:
        assert (pages.pages_total, pages.pages_planned) == (None, None)
        got = [bytes(piece) for piece in pages.pieces(8 * P)]
        assert [len(piece) // P for piece in got] == [8, 8, 5]
        assert b"".join(got) == data
        assert (pages.pages_total, pages.pages_read, pages.tail_bytes) == (21, 21, 4)


def test_standard_input_through_a_pipe() -> None:
    code = (
        "from zswap_py.sources.pages import open_pages; p = open_pages(['-']); "
        "print(sum(len(x) for x in p.pieces(1 << 20)), p.pages_total, p.tail_bytes)"
    )
    feed = "head -c 3000000 /dev/zero; sleep 0.1; head -c 2000000 /dev/zero"
    out = subprocess.run(
        f'({feed}) | {sys.executable} -c "{code}"',
        shell=True,
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert out.split() == [str(5000000 // P * P), str(5000000 // P), str(5000000 % P)]


def test_standard_input_that_does_not_block_is_waited_for() -> None:
    """A parent may have set O_NONBLOCK on the pipe that they share."""
    r, w = os.pipe()
    os.set_blocking(r, False)
    with subprocess.Popen(
        [sys.executable, "-m", "zswap_py", "report", "-", "-c", "lz4", "--json"],
        stdin=r,
        stdout=subprocess.PIPE,
    ) as process:
        os.close(r)
        for part in (b"x" * 5 * P, b"y" * 3 * P):
            os.write(w, part)
            while any(fcntl.ioctl(w, termios.FIONREAD, bytes(4))):  # it has not come for it yet
                time.sleep(0.02)
            time.sleep(0.2)
        os.close(w)
        assert process.stdout is not None
        assert json.load(process.stdout)["sample"]["pages"] == 8


@pytest.mark.parametrize("data", [b"", b"short"])
def test_standard_input_without_pages(monkeypatch: pytest.MonkeyPatch, data: bytes) -> None:
    stdin(monkeypatch, data)
    with pytest.raises(
        SourceError, match=f"standard input has {len(data)} bytes, less than a page"
    ):
        open_pages(["-"])


def test_standard_input_that_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", None)
    with pytest.raises(SourceError, match="standard input is closed: pipe memory into it"):
        open_pages(["-"])


def test_flat_streams_are_not_sampled(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    stdin(monkeypatch, bytes(8192))
    with pytest.raises(SourceError, match="standard input cannot be sampled"):
        open_pages(["-"], sample_bytes=P)
    (tmp_path / "f").write_bytes(gzip.compress(bytes(8192)))
    with pytest.raises(SourceError, match="f cannot be sampled"):
        open_pages([tmp_path / "f"], sample_bytes=P)


def test_named_pipe_is_read_through(tmp_path: Path) -> None:
    data = some_pages(600)
    os.mkfifo(tmp_path / "f")
    writer = threading.Thread(target=lambda: (tmp_path / "f").write_bytes(data + b"tail"))
    writer.start()
    before = len(os.listdir("/proc/self/fd"))
    with open_pages([tmp_path / "f"]) as pages:
        assert contents(pages) == data
        assert (pages.pages_total, pages.tail_bytes) == (600, 4)
    writer.join()
    assert len(os.listdir("/proc/self/fd")) <= before


# --- compressed streams ---


def test_compressed_pages_are_read_through_whatever_the_name(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, compress: Callable[[bytes], bytes]
) -> None:
    data = some_pages(1000)
    file = tmp_path / "core.app.1000"
    file.write_bytes(compress(data + b"tail"))
    before = len(os.listdir("/proc/self/fd"))
    with open_pages([file]) as pages:
        assert len(os.listdir("/proc/self/fd")) == before
        assert contents(pages) == data
        assert (pages.pages_total, pages.tail_bytes, pages.sources[0].incomplete) == (1000, 4, None)
    stdin(monkeypatch, file.read_bytes())
    with open_pages(["-"]) as pages:
        assert contents(pages) == data
    assert len(os.listdir("/proc/self/fd")) == before


def test_several_frames_and_padding_are_one_stream(
    tmp_path: Path, compress: Callable[[bytes], bytes]
) -> None:
    data = some_pages(60)
    file = tmp_path / "f"
    file.write_bytes(
        b"".join(compress(part) for part in (data[:100], data[100:99999], b"", data[99999:]))
        + bytes(512)
    )
    with open_pages([file]) as pages:
        assert contents(pages) == data
        assert pages.sources[0].incomplete is None


def test_zstd_skippable_frames_are_skipped(tmp_path: Path) -> None:
    data = some_pages(60)
    (tmp_path / "f").write_bytes(b"\x50\x2a\x4d\x18\5\0\0\0hello" + COMPRESS["zstd"](data))
    with open_pages([tmp_path / "f"]) as pages:
        assert contents(pages) == data


def test_truncated_stream_is_incomplete(tmp_path: Path, compress: Callable[[bytes], bytes]) -> None:
    data = os.urandom(1000 * P)
    whole = compress(data)
    file = tmp_path / "f"
    for cut in (len(whole) // 2, len(whole) - 1):
        file.write_bytes(whole[:cut])
        with open_pages([file]) as pages:
            found = measure(pages, ["lz4"]).report
        assert 200 < found.sample.pages <= 1000
        assert not found.complete
        assert "is truncated: its " in found.source[0]["incomplete"]
    file.write_bytes(whole[:40])
    with pytest.raises(SourceError, match=r"f is truncated: its .* stream has no end"):
        open_pages([file])


def test_damaged_stream_is_incomplete(tmp_path: Path, compress: Callable[[bytes], bytes]) -> None:
    data = os.urandom(1000 * P)
    damaged = bytearray(compress(data))
    damaged[len(damaged) // 2] ^= 0x55
    file = tmp_path / "f"
    file.write_bytes(damaged)
    with open_pages([file]) as pages:
        found = measure(pages, ["lz4"]).report
    assert not found.complete
    assert "is damaged: its " in found.source[0]["incomplete"]
    file.write_bytes(compress(data) + b"what is this?" * 9)
    with open_pages([file]) as pages:
        assert contents(pages) == data
        assert "is damaged: its " in str(pages.sources[0].incomplete)


def test_incomplete_stands_in_the_first_lines_and_the_exit_code(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("f").write_bytes(gzip.compress(os.urandom(1000 * P))[:-9])
    assert cli.main(["report", "f", "-c", "lz4"]) == 1
    out, err = capsys.readouterr()
    assert out.splitlines()[0].endswith("; incomplete, not scaled up")
    assert out.splitlines()[1] == "f is truncated: its gzip stream has no end"
    assert "zswap-py: f is truncated: its gzip stream has no end\n" in err


def read_elsewhere(file: Path) -> tuple[int, int]:
    """Bytes of pages, and the most memory that a process of its own took for them, in
    bytes.
    """
    code = (
        "from zswap_py.sources.pages import open_pages\nprint(sum(map(len, "
        f"open_pages([{str(file)!r}]).pieces())))\n"
        "print(next(line.split()[1] for line in open('/proc/self/status') if "
        "line.startswith('VmHWM')))"
    )
    out = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout
    nbytes, kib = map(int, out.split())
    return nbytes, kib << 10


@pytest.mark.parametrize("kind", COMPRESS)
def test_memory_is_bounded_whatever_a_stream_holds(tmp_path: Path, kind: str) -> None:
    file = tmp_path / "f"
    file.write_bytes(COMPRESS[kind](bytes(64 << 20)) * 8)
    nbytes, most = read_elsewhere(file)
    assert nbytes == 512 << 20
    assert most < 128 << 20


def test_one_zstd_frame_of_zeros_is_bounded(tmp_path: Path) -> None:
    """Each of its blocks holds 128 KiB in 4 bytes, 1 GiB in 32 KiB."""
    compressor = zstandard.ZstdCompressor(19).compressobj()
    with open(tmp_path / "f", "wb") as f:
        for _ in range(16):
            f.write(compressor.compress(bytes(64 << 20)))
        f.write(compressor.flush())
    nbytes, most = read_elsewhere(tmp_path / "f")
    assert nbytes == 1 << 30
    assert most < 256 << 20


def test_xz_that_wants_gibibytes_is_refused(tmp_path: Path) -> None:
    """Its block header asks for a dictionary of 3 GiB."""
    data = bytearray(lzma.compress(bytes(8192)))
    size = (data[12] + 1) * 4
    at = data.index(b"\x21\x01", 12) + 2  # LZMA2, one byte of properties
    data[at] = 39
    data[12 + size - 4 : 12 + size] = zlib.crc32(data[12 : 12 + size - 4]).to_bytes(4, "little")
    (tmp_path / "f").write_bytes(data)
    with pytest.raises(SourceError, match=r"xz stream ends with an error .*[Mm]emory"):
        open_pages([tmp_path / "f"])


def test_streams_in_streams(tmp_path: Path) -> None:
    data = some_pages(40)
    file = tmp_path / "f"
    file.write_bytes(gzip.compress(COMPRESS["zstd"](COMPRESS["xz"](data))))
    with open_pages([file]) as pages:
        assert contents(pages) == data
    for _ in range(5):
        data = gzip.compress(data)
    file.write_bytes(data)
    with pytest.raises(SourceError, match="compressed more than 4 times"):
        open_pages([file])


def test_progress_of_a_compressed_stream(tmp_path: Path) -> None:
    """Its length is not known; how much of the file was read tells."""
    (tmp_path / "f").write_bytes(gzip.compress(os.urandom(4000 * P)))
    with open_pages([tmp_path / "f"]) as pages:
        expected = []
        for _ in pages.pieces(400 * P):
            expected.append(pages.bytes_expected)
        assert expected[3] == pytest.approx(4000 * P, rel=0.1)
        assert pages.bytes_expected == 4000 * P


def test_compressed_on_the_command_line(tmp_path: Path) -> None:
    file = tmp_path / "core.app.zst"
    data = some_pages(300)
    file.write_bytes(COMPRESS["zstd"](data))
    (tmp_path / "f.gz").write_bytes(gzip.compress(data))
    expected = report(file)[0]
    assert expected["sample"]["pages"] == expected["pages_total"] == 300
    for shell in (
        f"REPORT - < {file}",
        f"REPORT <(zcat {tmp_path}/f.gz)",
        f"cat {file} | REPORT /dev/stdin",
    ):
        found, err, code = report(shell=shell)
        assert code == 0, err
        assert (found["sample"]["pages"], found["pages_total"]) == (300, 300)
        assert found["complete"] is True


# --- formats that hold no plain pages ---

FOREIGN = {
    "a kdump-compressed dump": (b"KDUMP   \6\0\0\0", "gcore PID"),
    "a dump in makedumpfile's flattened": (b"makedumpfile\0\0\0\0", "makedumpfile -R dump < "),
    "a minidump": (b"MDMP\x93\xa7\0\0", "minidump-2-core .* > core"),
    "a Mach-O file": (b"\xcf\xfa\xed\xfe\7\0\0\1", "lldb -c"),
    "a LiME dump": (b"EMiL\1\0\0\0", "layerwriter"),
    "a hibernation image": (bytes(P - 10) + b"S1SUSPEND\0", "Resume that machine"),
    "a Windows crash dump": (b"PAGEDU64\x0f\0\0\0", "layerwriter"),
    "the saved state of a QEMU": (b"QEVM\0\0\0\3", "dump-guest-memory core"),
    "libvirt's save": (b"LibvirtQemudSave\2\0\0\0", "virsh dump --memory-only"),
    "the saved state of a VMware": (b"\xd2\xbe\xd2\xbe\x08\0\0\0", "vmss2core"),
    "the saved state of a VirtualBox": (b"\x7fVirtualBox SavedState V2.0\n", "dumpvmcore"),
    "a Java heap dump": (b"JAVA PROFILE 1.0.2\0", "gcore PID"),
    "a crash report": (b"ProblemType: Crash\nArchitecture: amd64\n", "apport-unpack .* DIR"),
    "compressed in lz4's legacy": (b"\x02\x21\x4c\x18\0\0", "lz4 -dc .* zswap-py report -"),
    "compressed by lzop": (b"\x89LZO\0\r\n\x1a\n", "lzop -dc"),
    "compressed by lzip": (b"LZIP\1\x0c", "lzip -dc"),
    "compressed by compress": (b"\x1f\x9d\x90", "zcat"),
    "a zip archive": (b"PK\3\4\x14\0", "unzip -p"),
    "a 7z archive": (b"7z\xbc\xaf\x27\x1c", "7z x -so"),
    "a tar archive": (b"core".ljust(257, b"\0") + b"ustar\00000", "tar -xOf"),
}


def test_every_foreign_format_has_an_example() -> None:
    assert len(FOREIGN) == len(formats._FOREIGN)


@pytest.mark.parametrize("name", FOREIGN)
def test_foreign_formats_are_named_with_the_tool(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    head, tool = FOREIGN[name]
    data = head.ljust(3 * P, b"x")
    file = tmp_path / "a file"
    for content in (data, gzip.compress(data)):
        file.write_bytes(content)
        with pytest.raises(SourceError, match=f"a file is {name}.*: .*{tool}") as e:
            open_pages([file])
        assert "\n" not in str(e.value)
    stdin(monkeypatch, data)
    with pytest.raises(SourceError, match=f"standard input is {name}.*: .*{tool}"):
        open_pages(["-"])


def test_all_mach_o_magics_and_no_java_class(tmp_path: Path) -> None:
    for magic in (
        "feedface",
        "feedfacf",
        "cefaedfe",
        "cffaedfe",
        "cafebabe00000002",
        "cafebabf00000002",
        "bebafeca02000000",
        "bfbafeca02000000",
    ):
        assert "Mach-O" in str(formats.foreign(bytes.fromhex(magic).ljust(P, b"\0"), "f"))
    assert formats.foreign(bytes.fromhex("cafebabe00000034").ljust(P, b"\0"), "f") is None


@pytest.mark.parametrize("page_size", [4096, 16384, 65536])
def test_hibernation_image_of_any_page_size(page_size: int) -> None:
    assert formats.foreign(bytes(page_size - 10) + b"ULSUSPEND\0", "f")


def test_swap_area_is_measured_and_said(tmp_path: Path) -> None:
    """Its pages are those that reclaim wrote, with some of which nothing is left to
    tell.
    """
    (tmp_path / "f").write_bytes(bytes(P - 10) + b"SWAPSPACE2" + some_pages(20))
    with open_pages([tmp_path / "f"]) as pages:
        assert pages.pages_total == 21
        assert "is a swap area" in str(pages.sources[0].remark)


def test_no_random_page_is_taken_for_a_format() -> None:
    for seed in range(2000):
        head = random.Random(seed).randbytes(300)
        assert formats.foreign(head, "f") is None
        assert formats.compression(head) is None
