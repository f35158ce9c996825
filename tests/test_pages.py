# SPDX-License-Identifier: GPL-2.0-or-later
"""Live processes as sources, against real children, which know what they have mapped,
locked, freed.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import mmap
import os
import re
import shlex
import shutil
import signal
import struct
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from zswap_py.sources import denial, pagemap, procfs, smaps
from zswap_py.sources import process as process_module
from zswap_py.sources.extents import Extents
from zswap_py.sources.pages import Pages, SourceError, open_pages
from zswap_py.sources.process import Process
from zswap_py.sources.procfs import read_stat
from zswap_py.sources.selection import select

P = mmap.PAGESIZE
ROOT = os.geteuid() == 0
NOBODY = 65534
REPO = Path(__file__).resolve().parent.parent

pytestmark = [
    pytest.mark.skipif(sys.platform != "linux", reason="/proc is Linux's"),
    pytest.mark.timeout(60),
]

# A child that runs lines of Python as they come, and says so. Page i of tag t is
# recognisable wherever it turns up.
CHILD = f"""
import ctypes, hashlib, mmap, os, struct, sys
P = {P}
libc = ctypes.CDLL(None, use_errno=True)
libc.mmap.restype = libc.shmat.restype = ctypes.c_void_p
libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, *[ctypes.c_int] * 3, ctypes.c_long]
libc.shmat.argtypes = [ctypes.c_int, ctypes.c_void_p, ctypes.c_int]
libc.mprotect.argtypes = libc.madvise.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
libc.mlock.argtypes = libc.munmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t]
def check(rc):
    if rc in (-1, 2 ** 64 - 1):
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return rc
def fill(at, tag, which):
    for i in which:
        # in two parts, so that no other page of the child looks like this one
        head = struct.pack('8sQ', tag, i)
        ctypes.memmove(at + i * P, head, 16)
        ctypes.memmove(at + i * P + 16, hashlib.shake_128(head).digest(P - 16), P - 16)
def new(pages, fd=-1, shared=False, align=P, prot=3):
    flags = mmap.MAP_SHARED if shared else mmap.MAP_PRIVATE
    flags |= mmap.MAP_ANONYMOUS if fd < 0 else 0
    at = check(libc.mmap(None, pages * P + align, prot, flags, fd, 0)) if align > P else \\
        check(libc.mmap(None, pages * P, prot, flags, fd, 0))
    return -(-at // align) * align
def small(pages):
    at = new(pages)
    check(libc.madvise(at, pages * P, mmap.MADV_NOHUGEPAGE))
    return at
def tell(number):
    open('/proc/self/comm', 'w').write(str(number))
def read(at, which):
    return sum(ctypes.c_ubyte.from_address(at + i * P).value for i in which)
for line in sys.stdin:
    try:
        exec(line, globals())
        print('done', flush=True)
    except BaseException as e:
        print(repr(e), flush=True)
"""


def as_user(user: int) -> dict[str, Any]:
    """Popen's arguments for another user, with an interpreter that this one may run."""
    if not ROOT:
        pytest.skip("only root can become another user")
    popen: dict[str, Any] = {"user": user, "group": user, "extra_groups": [], "cwd": "/"}
    for python in (sys.executable, "/usr/bin/python3"):
        with contextlib.suppress(OSError):
            code = "import sys; sys.exit(sys.version_info < (3, 10))"
            if subprocess.run([python, "-c", code], check=False, **popen).returncode == 0:
                return {**popen, "executable": python}
    pytest.skip("no Python 3.10 that another user may run")


class Child:
    def __init__(self, **popen: Any) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-S", "-c", CHILD],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            **popen,
        )
        self.pid = self.process.pid
        self.run("pass")
        self.comm = Path(f"/proc/{self.pid}/comm").read_text().strip()

    def run(self, *lines: str) -> None:
        assert self.process.stdin
        assert self.process.stdout
        for line in lines:
            self.process.stdin.write(line + "\n")
            self.process.stdin.flush()
            answer = self.process.stdout.readline().strip()
            if answer != "done":
                raise RuntimeError(f"{line}: {answer}")

    def kill(self) -> None:
        self.process.kill()
        self.process.communicate()

    def told(self) -> int:
        return int(Path(f"/proc/{self.pid}/comm").read_text())

    def smaps(self, field: str) -> int:
        """Pages of a field over all mappings."""
        lines = Path(f"/proc/{self.pid}/smaps").read_text().splitlines()
        return (
            sum(int(line.split()[1]) for line in lines if line.startswith(field + ":")) * 1024 // P
        )


@pytest.fixture
def spawn() -> Iterator[Callable[..., Child]]:
    children: list[Child] = []

    def start(**popen: Any) -> Child:
        children.append(Child(**popen))
        return children[-1]

    yield start
    for child in children:
        child.kill()


@pytest.fixture
def child(spawn: Callable[..., Child]) -> Child:
    return spawn()


@pytest.fixture(params=["scan", "pagemap"])
def either(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Both ways to ask for the pages that are there: the ioctl, and what kernels before
    6.7 have.
    """
    if request.param == "pagemap":

        def ioctl(*_: object) -> int:
            raise OSError(errno.ENOTTY, "no such ioctl")

        monkeypatch.setattr(fcntl, "ioctl", ioctl)
    elif not has_pagemap_scan():
        pytest.skip("this kernel has no PAGEMAP_SCAN (Linux 6.7)")
    return str(request.param)


def has_pagemap_scan() -> bool:
    with open("/proc/self/pagemap", "rb") as f:
        table = pagemap.PageTable(f.fileno())
        table.find(0, P)
        return table._has_scan


def on_tmpfs(path: Path) -> bool:
    device = path.stat().st_dev
    name = b"%02x:%02x" % (os.major(device), os.minor(device))
    return name in smaps.shmem_devices(Path("/proc/self/mountinfo").read_text())


def page(tag: bytes, i: int) -> bytes:
    head = struct.pack("8sQ", tag, i)
    return head + hashlib.shake_128(head).digest(P - 16)


def contents(pages: Pages, nbytes: int = 1 << 20) -> bytes:
    return b"".join(bytes(piece) for piece in pages.pieces(nbytes))


def tagged(data: bytes, tag: bytes) -> Counter[int]:
    """How often each page of a tag is there; all its bytes must be right."""
    assert len(data) % P == 0
    found: Counter[int] = Counter()
    for at in range(0, len(data), P):
        name, i = struct.unpack_from("8sQ", data, at)
        if name == tag.ljust(8, b"\0"):
            assert data[at : at + P] == page(tag, i)
            found[i] += 1
    return found


def read_all(*pids: int) -> tuple[Pages, bytes]:
    with open_pages(pids=pids, full=True) as pages:
        data = contents(pages)
    assert len(data) == pages.pages_read * P
    assert pages.pages_total == pages.pages_planned
    return pages, data


def once(which: range | list[int]) -> Counter[int]:
    return Counter(dict.fromkeys(which, 1))


# --- what of a process is swappable ---


def test_anonymous_pages_that_are_there(child: Child, either: str) -> None:
    child.run("a = small(600)", "fill(a, b'anon', range(0, 600, 2))")
    _, data = read_all(child.pid)
    assert tagged(data, b"anon") == once(range(0, 600, 2))


def test_more_than_one_call_tells(child: Child, either: str) -> None:
    """More runs than an ioctl returns, and a mapping larger than one read of pagemap
    covers.
    """
    which = [*range(0, 10000, 2), (1 << 17) - 1, 1 << 17, (1 << 18) - 1, (1 << 18) + 5]
    child.run("a = small(300000)", f"fill(a, b'anon', {which})")
    assert len(which) > pagemap._REGIONS
    assert tagged(read_all(child.pid)[1], b"anon") == once(which)


def test_total_is_smaps_anonymous_and_shmem(child: Child, either: str) -> None:
    child.run(
        "a = new(64)",
        "fill(a, b'anon', range(64))",
        "s = new(64, shared=True)",
        "fill(s, b'shm', range(64))",
    )
    pages, data = read_all(child.pid)
    # the C library's random state, since glibc 2.41, is anonymous memory that reclaim
    # drops
    right = child.smaps("Anonymous") - pages.not_read.droppable + 64
    assert pages.pages_total == right
    assert len(data) == P * right
    assert pages.sources[0].label.startswith(f'pid {child.pid} "python')
    assert pages.not_read.vanished == pages.not_read.unreadable == 0


def test_pages_without_access_count(child: Child, either: str) -> None:
    child.run("a = new(20)", "fill(a, b'none', range(20))", "check(libc.mprotect(a, 20 * P, 0))")
    assert tagged(read_all(child.pid)[1], b"none") == once(range(20))


def test_of_files_only_written_copies(child: Child, tmp_path: Path, either: str) -> None:
    if on_tmpfs(tmp_path):
        pytest.skip(f"{tmp_path} is on tmpfs, whose pages are shmem")
    file = tmp_path / "file"
    file.write_bytes(b"".join(page(b"file", i) for i in range(64)))
    child.run(
        f"fd = os.open({str(file)!r}, os.O_RDWR)",
        "a = new(64, fd)",
        "b = new(64, fd, shared=True)",
        "read(a, range(64)); read(b, range(64))",
    )
    before, _ = read_all(child.pid)
    child.run("fill(a, b'cow', [3, 4, 40])")
    after, data = read_all(child.pid)
    assert tagged(data, b"cow") == once([3, 4, 40])
    assert not tagged(data, b"file")
    # clean file pages have no cause: they are dropped
    assert after.not_read.as_dict() == before.not_read.as_dict()


SHMEM = {
    "memfd": ("fd = os.memfd_create('m'); os.ftruncate(fd, 40 * P)", "new(40, fd, shared=True)"),
    "tmpfs": (
        "fd = os.open(PATH, os.O_RDWR | os.O_CREAT); os.ftruncate(fd, 40 * P)",
        "new(40, fd, shared=True)",
    ),
    "sysv": ("sid = check(libc.shmget(0, 40 * P, 0o600))", "check(libc.shmat(sid, None, 0))"),
    "shared_anon": ("pass", "new(40, shared=True)"),
}


@pytest.mark.parametrize("kind", SHMEM)
def test_shmem_once_for_all_mappings_and_processes(child: Child, kind: str, either: str) -> None:
    path = Path(f"/dev/shm/zswap_py-{os.getpid()}")
    make, attach = (code.replace("PATH", repr(str(path))) for code in SHMEM[kind])
    try:
        child.run(
            make,
            f"a = {attach}",
            "fill(a, b'shm', range(30))",
            # IPC_RMID: goes with the child
            "check(libc.shmctl(sid, 0, None)) if 'sid' in globals() else 0",
        )
        if kind == "shared_anon":
            # Only a fork shares it. Its second half is touched by nobody but the fork.
            child.run(
                "r, w = os.pipe()",
                "pid = os.fork() or (read(a, range(20)), fill(a, b'shm', range(30, 40)), "
                "os.write(w, b'1'), "
                "libc.pause())",
                "os.read(r, 1)",
            )
        else:
            child.run(
                "r, w = os.pipe()",
                f"pid = os.fork() or (globals().update(b={attach}) if 'sid' not in "
                "globals() else 0, "
                "globals().update(b=globals().get('b', a)), "
                "read(b, range(20)), fill(b, b'shm', range(30, 40)), os.write(w, b'1'), "
                "libc.pause())",
                "os.read(r, 1)",
            )
        child.run("tell(pid)")
        second = child.told()
        try:
            assert tagged(read_all(child.pid)[1], b"shm") == once(range(30))
            assert tagged(read_all(child.pid, second)[1], b"shm") == once(range(40))
            with open_pages(pids=[second, child.pid], full=True) as pages:
                assert tagged(contents(pages), b"shm") == once(range(40))
                assert pages.pages_total == sum(source.pages or 0 for source in pages.sources)
        finally:
            os.kill(second, signal.SIGKILL)
    finally:
        path.unlink(missing_ok=True)


def test_private_mapping_of_shmem_has_both(child: Child, either: str) -> None:
    child.run(
        "fd = os.memfd_create('m'); os.ftruncate(fd, 20 * P)",
        "s = new(20, fd, shared=True)",
        "fill(s, b'shm', range(20))",
        "p = new(20, fd)",
        "read(p, range(20))",
        "fill(p, b'cow', [1, 5])",
    )
    data = read_all(child.pid)[1]
    assert tagged(data, b"shm") == once(range(20))
    assert tagged(data, b"cow") == once([1, 5])


# --- what is not read, and why ---


def test_locked(child: Child, either: str) -> None:
    child.run("a = new(12)", "fill(a, b'free', range(12))")
    before, _ = read_all(child.pid)
    child.run("check(libc.mlock(a + 4 * P, 4 * P))")
    after, data = read_all(child.pid)
    assert tagged(data, b"free") == once([0, 1, 2, 3, 8, 9, 10, 11])
    assert after.not_read.locked - before.not_read.locked == 4


def test_shmem_locked_by_one_is_locked_for_all(child: Child, either: str) -> None:
    child.run(
        "s = new(12, shared=True)",
        "fill(s, b'shm', range(12))",
        "r, w = os.pipe()",
        "pid = os.fork() or (read(s, range(12)), check(libc.mlock(s + 2 * P, 5 * P)), "
        "os.write(w, b'1'), "
        "libc.pause())",
        "os.read(r, 1)",
        "tell(pid)",
    )
    locker = child.told()
    try:
        pages, data = read_all(child.pid, locker)
        assert tagged(data, b"shm") == once([0, 1, 7, 8, 9, 10, 11])
        assert pages.not_read.locked == 5
        assert read_all(child.pid)[0].not_read.locked == 0
    finally:
        os.kill(locker, signal.SIGKILL)


def test_zero_page_is_no_page_of_the_process(child: Child, either: str) -> None:
    child.run(
        "a = small(100)",
        "fill(a, b'data', range(10))",
        "ctypes.memset(a + 10 * P, 0, 5 * P)",
        "read(a, range(0))",
    )
    before, data = read_all(child.pid)
    zeros = sum(not any(data[at : at + P]) for at in range(0, len(data), P))
    child.run("read(a, range(15, 65))")
    after, data = read_all(child.pid)
    assert tagged(data, b"data") == once(range(10))
    assert after.not_read.zero_mapped - before.not_read.zero_mapped == 50
    # The five pages it wrote zeros to are its own; those that it only read are not.
    assert sum(not any(data[at : at + P]) for at in range(0, len(data), P)) - zeros < 50
    assert zeros >= 5


@pytest.fixture
def thp() -> None:
    enabled = Path("/sys/kernel/mm/transparent_hugepage/enabled")
    if not enabled.exists() or "[never]" in enabled.read_text():
        pytest.skip("transparent huge pages are off")


def test_huge_zero_page(child: Child, thp: None, either: str) -> None:
    if Path("/sys/kernel/mm/transparent_hugepage/use_zero_page").read_text().strip() != "1":
        pytest.skip("the huge zero page is off")
    child.run(
        "a = new(1024, align=2 << 20)", "check(libc.madvise(a, 1024 * P, mmap.MADV_HUGEPAGE))"
    )
    before, _ = read_all(child.pid)
    child.run("read(a, [0, 600])")
    after, _ = read_all(child.pid)
    assert after.not_read.zero_mapped - before.not_read.zero_mapped == 1024
    assert (after.pages_total or 0) - (before.pages_total or 0) < 100


def test_fork_shared_pages_are_no_zero_pages(child: Child, either: str) -> None:
    """Not mapped exclusively, as zero pages are not; beside zero pages in the same
    mapping.
    """
    child.run(
        "a = small(100)",
        "fill(a, b'data', range(40))",
        "pid = os.fork() or libc.pause()",
        "read(a, range(40, 70))",
        "tell(pid)",
    )
    try:
        assert tagged(read_all(child.pid)[1], b"data") == once(range(40))
    finally:
        os.kill(child.told(), signal.SIGKILL)


def test_transparent_huge_pages(child: Child, thp: None, either: str) -> None:
    child.run(
        "a = new(2048, align=2 << 20)",
        "check(libc.madvise(a, 2048 * P, mmap.MADV_HUGEPAGE))",
        "fill(a, b'huge', range(2048))",
    )
    if not child.smaps("AnonHugePages"):
        pytest.skip("the kernel had no huge page to give")
    assert tagged(read_all(child.pid)[1], b"huge") == once(range(2048))


def test_hugetlb(child: Child, either: str) -> None:
    meminfo = dict(line.split(":") for line in Path("/proc/meminfo").read_text().splitlines())
    if int(meminfo.get("HugePages_Free", "0")) < 2:
        pytest.skip("no free hugetlb pages: sysctl vm.nr_hugepages=2")
    each = int(meminfo["Hugepagesize"].split()[0]) * 1024 // P
    child.run(
        f"size = {each} * P",
        "m = mmap.mmap(-1, 2 * size, flags=mmap.MAP_SHARED | mmap.MAP_ANONYMOUS | 0x40000)",
        "m[0:16] = struct.pack('8sQ', b'tlb', 0)",
        "pid = os.fork() or (m[0:1], libc.pause())",
        "tell(pid)",
    )
    second = child.told()
    try:
        pages, data = read_all(child.pid, second)
        assert pages.not_read.hugetlb == each
        assert not tagged(data, b"tlb")
    finally:
        os.kill(second, signal.SIGKILL)


@pytest.mark.parametrize("shared", [False, True])
def test_swapped(child: Child, shared: bool, either: str) -> None:
    if len(Path("/proc/swaps").read_text().splitlines()) < 2:
        pytest.skip("no swap here")
    child.run(
        f"a = new(100, shared={shared})",
        "check(libc.madvise(a, 100 * P, mmap.MADV_NOHUGEPAGE))",
        # MADV_PAGEOUT
        "fill(a, b'swap', range(100))",
        "check(libc.madvise(a + 50 * P, 50 * P, 21))",
    )
    gone = child.smaps("Swap")
    if not gone:
        pytest.skip("the kernel did not swap the pages out")
    pages, data = read_all(child.pid)
    assert pages.not_read.swapped == gone
    assert sum(tagged(data, b"swap").values()) == 100 - gone
    assert child.smaps("Swap") == gone  # reading brought none back
    if shared:
        child.run("pid = os.fork() or libc.pause()", "tell(pid)")
        second = child.told()
        try:
            assert read_all(child.pid, second)[0].not_read.swapped == gone
        finally:
            os.kill(second, signal.SIGKILL)


# --- pages that vanish ---


def test_pages_freed_meanwhile_are_counted(child: Child, either: str) -> None:
    child.run("a = small(300)", "fill(a, b'data', range(300))")
    with open_pages(pids=[child.pid], full=True) as pages:
        child.run(
            "check(libc.madvise(a + 100 * P, 100 * P, mmap.MADV_DONTNEED))",
            "check(libc.munmap(a + 250 * P, 50 * P))",
        )
        data = contents(pages)
    assert tagged(data, b"data") == once([*range(100), *range(200, 250)])
    assert pages.not_read.vanished >= 150  # the interpreter frees a page now and then, too
    assert (
        pages.pages_read + pages.not_read.vanished + pages.not_read.unreadable
        == pages.pages_planned
    )


def test_process_exits_meanwhile(child: Child, either: str) -> None:
    child.run("a = new(3000)", "fill(a, b'data', range(3000))")
    with open_pages(pids=[child.pid], full=True) as pages:
        pieces = pages.pieces(64 * P)
        first = bytes(next(pieces))
        child.kill()
        rest = sum(len(piece) for piece in pieces)
    assert len(first) == 64 * P
    assert rest <= 64 * P
    assert pages.pages_planned is not None
    assert pages.not_read.vanished == pages.pages_planned - pages.pages_read > 2800


def test_another_process_with_the_same_number(child: Child) -> None:
    with open_pages(pids=[child.pid], full=True) as pages:
        for reader in pages._extents.readers:
            reader.process.start_time -= 1  # type: ignore[attr-defined]
        assert contents(pages) == b""
    assert pages.not_read.vanished == pages.pages_planned != 0


def test_unreadable_pages_are_counted(child: Child, monkeypatch: pytest.MonkeyPatch) -> None:
    child.run("a = new(50)", "fill(a, b'data', range(50))")
    preadv = os.preadv
    bad: list[int] = []

    def failing(fd: int, buffers: list[memoryview], offset: int) -> int:
        """As for a page with a memory error: reads up to it, then EIO."""
        n = preadv(fd, buffers, offset)
        if not bad:
            at = bytes(buffers[0][:n]).find(page(b"data", 7))
            bad.extend([offset + at] if at >= 0 else [])
        if bad and offset == bad[0]:
            raise OSError(errno.EIO, "memory error")
        return bad[0] - offset if bad and offset < bad[0] < offset + n else n

    monkeypatch.setattr(os, "preadv", failing)
    monkeypatch.setattr(process_module, "obstacle", lambda: "reads by address here")
    pages, data = read_all(child.pid)
    assert bad
    assert pages.not_read.unreadable == 1
    assert tagged(data, b"data") == once([i for i in range(50) if i != 7])


# --- samples and pieces ---


def test_sample_of_a_process(child: Child) -> None:
    child.run(
        "a = new(4000)",
        "fill(a, b'one', range(4000))",
        "b = new(2000, shared=True)",
        "fill(b, b'two', range(2000))",
    )

    def sample(seed: int) -> tuple[Pages, bytes]:
        with open_pages(pids=[child.pid], sample_bytes=800 * P, seed=seed) as pages:
            return pages, contents(pages)

    pages, data = sample(1)
    assert pages.sampled
    assert (pages.pages_total or 0) >= 6000
    assert pages.pages_planned == pages.pages_read == len(data) // P
    assert 760 <= pages.pages_read <= 840  # about 100 runs, a few cut short
    one, two = tagged(data, b"one"), tagged(data, b"two")
    assert max(one.values()) == max(two.values()) == 1
    assert 300 < len(one) < 700
    assert 100 < len(two) < 400
    runs = sum(i - 1 not in one for i in one)
    assert len(one) / 8 * 0.7 < runs <= len(one) / 8 + 1
    assert tagged(sample(1)[1], b"one") == one
    assert tagged(sample(2)[1], b"one") != one


def test_processes_are_sampled_by_default_and_files_are_not(child: Child, tmp_path: Path) -> None:
    child.run("a = new(20000)", "fill(a, b'big', range(20000))")
    with open_pages(pids=[child.pid]) as pages:
        assert 16200 < (pages.pages_planned or 0) < 16500
    file = tmp_path / "f"
    with open(file, "wb") as f:
        f.truncate(80 << 20)
    with open_pages([file]) as pages:
        assert not pages.sampled
        assert pages.pages_planned == pages.pages_total == (80 << 20) // 4096
    with open_pages([file], sample_bytes=1 << 20) as pages:
        assert pages.pages_planned == 256
        assert len(contents(pages)) == 1 << 20


def extents_of(*extents: tuple[int, int]) -> Extents:
    made = Extents(1)
    for where, count in extents:
        made.add(0, 0, 0, [where], [count])
    return made


def test_each_page_is_equally_likely_in_a_sample() -> None:
    extents = extents_of((0, 100), (1000, 3), (2000, 1), (3000, 17))
    hits: Counter[int] = Counter()
    drawn = 0
    for seed in range(2000):
        for _, where, count in extents.sample(30, 8, seed):
            drawn += count
            hits.update(range(where, where + count))
    assert set(hits) == {*range(100), 1000, 1001, 1002, 2000, *range(3000, 3017)}
    assert min(hits.values()) > 0.8 * max(hits.values())
    assert 0.75 * 30 < drawn / 2000 <= 30


def test_pieces_are_full_and_only_once(tmp_path: Path) -> None:
    data = os.urandom(37 * 4096)
    (tmp_path / "a").write_bytes(data[: 20 * 4096])
    (tmp_path / "b").write_bytes(data[20 * 4096 :])
    with open_pages([tmp_path / "a", tmp_path / "b"]) as pages:
        with pytest.raises(ValueError, match=r"5000.*multiple of the page size, 4096"):
            pages.pieces(5000)
        got = [bytes(piece) for piece in pages.pieces(8 * 4096)]
        assert [len(piece) // 4096 for piece in got] == [8, 8, 8, 8, 5]
        assert b"".join(got) == data
        with pytest.raises(ValueError, match="already"):
            pages.pieces()


def test_no_file_descriptors_are_kept(child: Child, tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(bytes(8192))
    before = len(os.listdir("/proc/self/fd"))
    pages = open_pages([tmp_path / "f"], pids=[child.pid], full=True)
    assert len(os.listdir("/proc/self/fd")) == before
    pieces = pages.pieces(4096)
    next(pieces)
    assert len(os.listdir("/proc/self/fd")) > before
    for _ in pieces:
        pass
    assert len(os.listdir("/proc/self/fd")) == before
    pages.close()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"page_size": 5000}, "page_size is 5000"),
        ({"sample_bytes": 100}, "sample_bytes is 100"),
        ({"sample_bytes": 8192, "full": True}, "not with full"),
        ({"run_pages": 0}, "run_pages is 0"),
    ],
)
def test_wrong_arguments(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        open_pages(["/dev/null"], **arguments)


# --- processes that cannot be read ---


def test_no_such_process(child: Child) -> None:
    child.kill()
    with pytest.raises(SourceError, match=f"there is no process {child.pid}: .*ps -e"):
        open_pages(pids=[child.pid])


def test_zombie(child: Child) -> None:
    os.kill(child.pid, signal.SIGKILL)
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    with pytest.raises(
        SourceError,
        match=rf"pid {child.pid} \(python.* is a zombie: it has exited",
    ):
        open_pages(pids=[child.pid])


def test_kernel_thread() -> None:
    if "kthreadd" not in procfs.read_status(2).get("Name", ""):
        pytest.skip("pid 2 is not kthreadd here (a pid namespace)")
    with pytest.raises(SourceError, match=r"pid 2 \(kthreadd\) is a kernel thread"):
        open_pages(pids=[2])


def test_this_process() -> None:
    with pytest.raises(SourceError, match="is zswap-py itself"):
        open_pages(pids=[os.getpid()])


def test_pid_that_is_gone_does_not_end_the_others(
    child: Child, spawn: Callable[..., Child]
) -> None:
    gone = spawn()
    gone.kill()
    child.run("a = new(50)", "fill(a, b'mine', range(50))")
    pages, data = read_all(gone.pid, child.pid)
    assert tagged(data, b"mine") == once(range(50))
    assert list(pages.processes_gone) == [gone.pid]
    assert f"there is no process {gone.pid}" in pages.processes_gone[gone.pid]
    assert [source.pid for source in pages.sources] == [child.pid]
    child.kill()
    with pytest.raises(
        SourceError, match=(f"no process {gone.pid}: .*; there is no process {child.pid}: ")
    ):
        open_pages(pids=[gone.pid, child.pid])


def test_kernel_thread_among_others_is_an_error(child: Child) -> None:
    if "kthreadd" not in procfs.read_status(2).get("Name", ""):
        pytest.skip("pid 2 is not kthreadd here (a pid namespace)")
    with pytest.raises(SourceError, match=r"pid 2 \(kthreadd\) is a kernel thread"):
        open_pages(pids=[child.pid, 2])


def test_process_that_exits_before_it_is_read_is_named(
    child: Child, spawn: Callable[..., Child]
) -> None:
    second = spawn()
    with open_pages(pids=[child.pid, second.pid], full=True) as pages:
        second.kill()
        contents(pages)
    assert pages.processes_gone == {
        second.pid: (f"pid {second.pid} ({second.comm}) exited while it was read")
    }
    assert pages.not_read.vanished


def test_process_that_exits_within_the_survey_is_left_out(
    child: Child, spawn: Callable[..., Child], monkeypatch: pytest.MonkeyPatch
) -> None:
    second = spawn()
    mappings = Process.mappings

    def then_exits(process: Process) -> list[smaps.Mapping]:
        found = mappings(process)
        if process.pid == second.pid:
            second.kill()
        return found

    monkeypatch.setattr(Process, "mappings", then_exits)
    with open_pages(pids=[child.pid, second.pid], full=True) as pages:
        assert [source.pid for source in pages.sources] == [child.pid]
        assert list(pages.processes_gone) == [second.pid]


def test_page_size_of_processes(child: Child) -> None:
    with pytest.raises(SourceError, match=f"pages of {P} bytes, not {2 * P}"):
        open_pages(pids=[child.pid], page_size=2 * P)


MODULES = (
    "_lib.names",
    "sources.source",
    "sources.extents",
    "sources.pagemap",
    "sources.coldness",
    "sources.smaps",
    "sources.procfs",
    "sources.cgroup",
    "sources.selection",
    "sources.denial",
    "sources.kcore",
    "sources.process",
    "sources.survey",
    "sources.formats",
    "sources.decompress",
    "sources.corefile",
    "sources.files",
    "sources.pages",
)


def run_as(code: str, **popen: Any) -> str:
    """What ``code`` prints when another user, or a weaker root, runs it; /proc and this
    source are all it needs.
    """
    sources = {
        name: (REPO / "zswap_py" / f"{name.replace('.', '/')}.py").read_text() for name in MODULES
    }
    prelude = (
        "import sys, types\n"
        "for name in ('zswap_py', 'zswap_py._lib', 'zswap_py.sources'):\n"
        "    sys.modules[name] = types.ModuleType(name)\n"
        f"for name, text in {sources!r}.items():\n"
        "    m = sys.modules['zswap_py.' + name] = types.ModuleType('zswap_py.' + name)\n"
        "    exec(compile(text, name, 'exec'), m.__dict__)\n"
        "    package, _, last = name.rpartition('.')\n"
        "    setattr(sys.modules['zswap_py.' + package], last, m)\n"
        "from zswap_py.sources.pages import *\n"
    )
    done = subprocess.run(
        [*popen.pop("prefix", []), sys.executable, "-c", "exec(__import__('sys').stdin.read())"],
        input=prelude + code,
        capture_output=True,
        text=True,
        check=False,
        **popen,
    )
    assert done.returncode == 0, done.stderr
    return str(done.stdout)


def error(pids: list[int]) -> str:
    return f"\ntry: open_pages(pids={pids}); print('no error')\nexcept SourceError as e: print(e)\n"


def test_another_users_process(child: Child) -> None:
    out = run_as(error([child.pid]), **as_user(NOBODY))
    assert f"cannot read the memory of pid {child.pid} (python" in out
    assert "EACCES, it belongs to another user (uid 0). Run as root: sudo" in out
    assert f"zswap-py report --pid {child.pid}\n" in out


def test_undumpable_process_of_the_same_user(spawn: Callable[..., Child]) -> None:
    child = spawn(**as_user(NOBODY))
    if not denial._yama_scope():
        assert run_as(error([child.pid]), **as_user(NOBODY)) == "no error\n"
    child.run("check(libc.prctl(4, 0, 0, 0, 0))")
    assert "it is not dumpable" in run_as(error([child.pid]), **as_user(NOBODY))


@pytest.mark.skipif(not shutil.which("setpriv"), reason="no setpriv (util-linux)")
def test_root_without_the_capability(spawn: Callable[..., Child]) -> None:
    child = spawn(**as_user(NOBODY))
    out = run_as(error([child.pid]), prefix=["setpriv", "--bounding-set", "-sys_ptrace"])
    assert "root lacks CAP_SYS_PTRACE here, as in a container" in out
    assert "--cap-add=SYS_PTRACE" in out


@pytest.mark.parametrize(
    ("scope", "message"),
    [
        (
            1,
            r"ptrace_scope is 1: only a process's ancestors and root may read it. Run as root: "
            r"sudo .*--pid 1$",
        ),
        (2, r"ptrace_scope is 2: only root may read it"),
        (3, r"ptrace_scope is 3, which forbids it, even to root, until the next boot. Give a core"),
    ],
)
def test_yama_is_named(monkeypatch: pytest.MonkeyPatch, scope: int, message: str) -> None:
    monkeypatch.setattr(denial, "_yama_scope", lambda: scope)
    monkeypatch.setattr(
        denial, "read_status", lambda _: {"Uid": "1000\t1000", "Gid": "1000", "CapPrm": "0"}
    )
    monkeypatch.setattr(denial, "_owner", lambda _: 1000)
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    monkeypatch.setattr(os, "getegid", lambda: 1000)
    assert re.search(message, denial.denial(1))


def test_all_processes(child: Child) -> None:
    child.run("a = new(50)", "fill(a, b'mine', range(50))")
    with open_pages(all_processes=True, full=True) as pages:
        pids = [source.pid for source in pages.sources]
        assert child.pid in pids
        assert os.getpid() not in pids
        found: Counter[int] = Counter()
        for piece in pages.pieces():
            found += tagged(bytes(piece), b"mine")
        assert found == once(range(50))


def test_all_that_the_user_may_read(spawn: Callable[..., Child], child: Child) -> None:
    code = (
        "\ntry: p = open_pages(); print([s.pid for s in p.sources], p.processes_denied)"
        "\nexcept SourceError as e: print(e)\n"
    )
    user = NOBODY - 7
    out = run_as(code, **as_user(user))
    assert re.fullmatch(
        r"none of \d+ processes can be read: they belong to other users. .* report --all\n", out
    )
    mine = spawn(**as_user(user))
    if denial._yama_scope():
        pytest.skip("kernel.yama.ptrace_scope hides a user's own processes")
    pids, denied = run_as(code, **as_user(user)).rsplit(" ", 1)
    assert pids == f"[{mine.pid}]"
    assert int(denied) > 0


def test_first_round_has_enough_long_runs(child: Child) -> None:
    """Of folios of 2 MiB, 2 MiB are one run, which tells nothing of the others."""
    child.run("a = new(20480)", "fill(a, b'mine', range(20480))")
    with open_pages(pids=[child.pid], precision=0.05, run_pages=512) as pages:
        first = sum(len(pages.runs) for _ in pages.pieces() if pages.round == 0)
    assert first >= 16


def test_the_remedy_selects_the_same_processes(spawn: Callable[..., Child]) -> None:
    """A user with processes of its own asks for another's."""
    spawn(**as_user(NOBODY - 7))
    name = read_stat(1)[0]
    code = f"\ntry: open_pages(names=[{name!r}])\nexcept SourceError as e: print(e)\n"
    assert re.fullmatch(
        r"none of \d+ processes can be read: they belong to other users\. Run as root: .* report "
        rf"--name {re.escape(shlex.quote(name))}\n",
        run_as(code, **as_user(NOBODY - 7)),
    )


@pytest.mark.parametrize(
    ("given", "options"),
    [
        ({"all_processes": True}, "--all"),
        ({"pids": [7, 8]}, "--pid 7 8"),
        ({"all_processes": True, "pids": [7]}, "--all"),
        (
            {"names": [f"*{read_stat(1)[0][1:]}"], "pids": [7]},
            f"--name '*{read_stat(1)[0][1:]}' --pid 7",
        ),
    ],
)
def test_selection_knows_its_options(given: dict[str, Any], options: str) -> None:
    assert select(**given).options == options


def test_kernels_own_mapping_is_found() -> None:
    """memfd, SysV and shared anonymous memory lie on a mount that mountinfo does not
    show.
    """
    with contextlib.closing(mmap.mmap(-1, P)) as m:
        m[0] = 1
        maps = Path("/proc/self/maps").read_bytes()
    device = next(line.split()[3] for line in maps.splitlines() if b"/dev/zero (deleted)" in line)
    assert device in smaps.shmem_devices("")


def test_tmpfs_that_is_never_swapped_is_no_shmem() -> None:
    line = "36 35 0:99 / /mnt rw - tmpfs tmpfs rw,size=1k{}\n"
    assert b"00:63" in smaps.shmem_devices(line.format(""))
    assert b"00:63" not in smaps.shmem_devices(line.format(",noswap"))
