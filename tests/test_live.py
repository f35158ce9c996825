# SPDX-License-Identifier: GPL-2.0-or-later
"""Live processes of each kind that counts a page twice: the totals against smaps, by
both ways of reading pagemap, as root, who sees the frames' numbers, and as an ordinary
user.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import fcntl
import json
import mmap
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from test_pages import NOBODY, ROOT, Child, as_user, has_pagemap_scan

from zswap_py import cli
from zswap_py.cli.report import NAMED_GONE
from zswap_py.sources.pagemap import Runs
from zswap_py.sources.pages import SourceError, open_pages
from zswap_py.sources.procfs import read_status

P = mmap.PAGESIZE
PR_SET_DUMPABLE = 4
# PR_SET_THP_DISABLE
HUGE_PAGES, NO_HUGE_PAGES = "libc.prctl(41, 0, 0, 0, 0)", "libc.prctl(41, 1, 0, 0, 0)"
KSM = Path("/sys/kernel/mm/ksm")
FAST_KSM = {"pages_to_scan": "20000", "sleep_millisecs": "5", "run": "1"}

pytestmark = [
    pytest.mark.skipif(sys.platform != "linux", reason="/proc is Linux's"),
    pytest.mark.timeout(120),
]


class Reader:
    """Reads processes as root or as an ordinary user, by one of the two ways, in a
    process of its own.
    """

    def __init__(self, user: int | None, way: str) -> None:
        self.user, self.way = user, way
        self.popen: dict[str, Any] = {} if user is None else as_user(user)

    @property
    def sees_frames(self) -> bool:
        return os.geteuid() == 0 and self.user is None

    def read(self, *pids: int, **how: Any) -> dict[str, Any]:
        read_end, write_end = os.pipe()
        if not (pid := os.fork()):
            with contextlib.suppress(BaseException), os.fdopen(write_end, "w") as out:
                out.write(json.dumps(self._read(list(pids), how)))
                out.flush()
            os._exit(0)
        os.close(write_end)
        with os.fdopen(read_end) as answer:
            text = answer.read()
        os.waitpid(pid, 0)
        result: dict[str, Any] = json.loads(text)
        assert "error" not in result, result["error"]
        return result

    def _read(self, pids: list[int], how: dict[str, Any]) -> dict[str, Any]:
        if self.user is not None:
            os.setgroups([])
            os.setgid(self.user)
            os.setuid(self.user)
            ctypes.CDLL(None).prctl(PR_SET_DUMPABLE, 1, 0, 0, 0)  # as exec() leaves it
        if self.way == "pagemap":
            fcntl.ioctl = no_scan  # type: ignore[assignment]
        began = time.process_time()
        try:
            with open_pages(pids=pids, **({"full": True} | how)) as pages:
                cpu = time.process_time() - began
                data = b"".join(bytes(piece) for piece in pages.pieces())
        except SourceError as e:
            return {"error": str(e)}
        tags: dict[str, int] = {}
        for at in range(0, len(data), P):
            if re.fullmatch(rb"[a-z]+\0*", tag := data[at : at + 8]):
                name = tag.rstrip(b"\0").decode()
                tags[name] = tags.get(name, 0) + 1
        return {
            "total": pages.pages_total,
            "read": pages.pages_read,
            "estimated": pages.estimated,
            "cpu": cpu,
            "not_read": pages.not_read.as_dict(),
            "gone": list(pages.processes_gone),
            "tags": tags,
            "sources": {str(source.pid): source.pages for source in pages.sources},
        }


def no_scan(*_: object) -> int:
    raise OSError(errno.ENOTTY, "no such ioctl")


@pytest.fixture(params=["scan", "pagemap"])
def way(request: pytest.FixtureRequest) -> str:
    if request.param == "scan" and not has_pagemap_scan():
        pytest.skip("this kernel has no PAGEMAP_SCAN (Linux 6.7)")
    return str(request.param)


@pytest.fixture(params=["root", "user"])
def reader(request: pytest.FixtureRequest, way: str) -> Reader:
    if request.param == "root" and not ROOT:
        pytest.skip("only root sees the frames' numbers; the tests of an ordinary user run")
    return Reader(NOBODY if ROOT and request.param == "user" else None, way)


class Family:
    """A child and its forks."""

    def __init__(self, popen: dict[str, Any]) -> None:
        self.child = Child(**popen)
        self.pids = [self.child.pid]
        self.run(NO_HUGE_PAGES)  # else khugepaged gives forks copies of their own meanwhile

    def run(self, *lines: str) -> None:
        self.child.run(*lines)

    def fork(self, code: str = "0") -> int:
        """Forks a process that runs the code and then sleeps."""
        self.run(
            "r, w = os.pipe()",
            f"pid = os.fork() or (libc.prctl(1, 9), {code}, os.write(w, b'1'), libc.pause())",
            "os.read(r, 1), os.close(r), os.close(w)",
            "tell(pid)",
        )
        self.pids.append(self.child.told())
        return self.pids[-1]

    def end_main_thread(self) -> None:
        """Another lives on."""
        self.run(
            "import threading, time", "threading.Thread(target=time.sleep, args=(1000,)).start()"
        )
        assert self.child.process.stdin
        # exit()
        self.child.process.stdin.write(
            "libc.syscall(60 if os.uname().machine == 'x86_64' else 93, 0)\n"
        )
        self.child.process.stdin.flush()
        while read_status(self.child.pid)["State"][0] != "Z":
            time.sleep(0.01)

    def close(self) -> None:
        for pid in reversed(self.pids[1:]):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.child.kill()

    def smaps(self, field: str) -> int:
        """Pages of a field, over all mappings and processes."""
        return sum(smaps(pid, field) for pid in self.pids)

    def pss_anon(self) -> float:
        return sum(rollup(pid, "Pss_Anon") for pid in self.pids)


def proc(pid: int) -> Path:
    """A live thread's directory."""
    return next(
        thread
        for thread in sorted(Path(f"/proc/{pid}/task").iterdir())
        if "State:\tZ" not in (thread / "status").read_text()
    )


def smaps(pid: int, field: str) -> int:
    text = (proc(pid) / "smaps").read_text()
    return sum(int(n) for n in re.findall(rf"^{field}: +(\d+) kB$", text, re.M)) * 1024 // P


def rollup(pid: int, field: str) -> float:
    found = re.search(rf"^{field}: +(\d+) kB$", (proc(pid) / "smaps_rollup").read_text(), re.M)
    if not found:
        pytest.skip(f"this kernel's smaps_rollup has no {field} (Linux 5.3)")
    return int(found[1]) * 1024 / P


@pytest.fixture
def family(reader: Reader) -> Iterator[Family]:
    family = Family(reader.popen)
    yield family
    family.close()


def within(got: float, right: float, share: float = 0.01) -> bool:
    return abs(got - right) <= max(share * right, 1)


# --- one process: smaps' Anonymous (and its shmem), to the page ---

ONE = {
    "plain": ["a = new(300)", "fill(a, b'one', range(300))"],
    "many_runs": ["a = small(2000)", "fill(a, b'one', range(0, 2000, 2))"],
    "shmem": [
        "a = new(64)",
        "fill(a, b'one', range(64))",
        "s = new(64, shared=True)",
        "fill(s, b'shm', range(64))",
    ],
    "zero_pages": [
        "a = small(3000)",
        "fill(a, b'one', range(0, 1500, 2))",
        "read(a, range(1, 3000, 2))",
    ],
    "huge": [
        HUGE_PAGES,
        "a = new(2048, align=2 << 20)",
        "check(libc.madvise(a, 2048 * P, mmap.MADV_HUGEPAGE))",
        "fill(a, b'one', range(2048))",
    ],
    "huge_zero": [
        HUGE_PAGES,
        "a = new(2048, align=2 << 20)",
        "check(libc.madvise(a, 2048 * P, mmap.MADV_HUGEPAGE))",
        "fill(a, b'one', range(512))",
        "read(a, [600, 1200])",
    ],
    "locked": ["a = new(200)", "fill(a, b'one', range(200))", "check(libc.mlock(a, 50 * P))"],
    "file": [
        "import tempfile; f = tempfile.TemporaryFile(dir='/var/tmp'); f.truncate(900 * P)",
        "a = new(900, f.fileno())",
        "read(a, range(900))",
        "fill(a, b'one', range(0, 900, 3))",
    ],
}


WRITTEN = {
    "plain": 300,
    "many_runs": 1000,
    "shmem": 64,
    "zero_pages": 750,
    "huge": 2048,
    "huge_zero": 512,
    "locked": 150,
    "file": 300,
}


@pytest.mark.parametrize("forked", [False, True])
@pytest.mark.parametrize("kind", ONE)
def test_one_process_has_its_anonymous_pages(
    family: Family, reader: Reader, kind: str, forked: bool
) -> None:
    family.run(*ONE[kind])
    if forked:
        family.fork()
    got = reader.read(family.child.pid)
    pid, shmem = family.child.pid, 64 if kind == "shmem" else 0
    left_out = got["not_read"]["locked"] + got["not_read"]["droppable"]
    assert got["not_read"]["locked"] == (50 if kind == "locked" else 0)
    assert got["total"] + left_out == smaps(pid, "Anonymous") + shmem
    assert got["tags"]["one"] == WRITTEN[kind]
    assert got["read"] == got["total"]
    assert got["not_read"]["vanished"] == 0


def test_runs_beyond_the_kernels_buffer_count_once(family: Family, reader: Reader) -> None:
    """The kernel's buffer has 512 regions, ours 4096."""
    family.run("a = small(20000)", "fill(a, b'one', range(0, 2000, 2))")
    before = reader.read(family.child.pid)
    assert before["tags"]["one"] == 1000
    family.run("fill(a, b'one', range(2000, 20000, 2))", "read(a, range(1, 20000, 2))")
    after = reader.read(family.child.pid)
    assert after["tags"]["one"] == 10000
    assert after["not_read"]["zero_mapped"] - before["not_read"]["zero_mapped"] == 10000


# --- several: the sum of Pss ---


def test_forks_count_the_sum_of_pss(family: Family, reader: Reader) -> None:
    family.run("a = small(5120)", "fill(a, b'fork', range(5120))")
    for _ in range(8):
        family.fork()
    got = reader.read(*family.pids)
    assert within(got["total"], family.pss_anon())
    assert got["total"] < 1.5 * 5120
    assert within(got["tags"]["fork"], 5120)
    assert got["estimated"] == (not reader.sees_frames)
    assert got["total"] == sum(got["sources"].values())
    if reader.sees_frames:
        # each process's Pss_Anon is cut to whole kilobytes
        assert (
            0
            <= got["total"] + got["not_read"]["droppable"] - family.pss_anon()
            < len(family.pids) * 1024 / P
        )


def test_forks_that_wrote_count_their_copies(family: Family, reader: Reader) -> None:
    family.run("a = small(3000)", "fill(a, b'fork', range(3000))")
    for i in range(3):
        family.fork(f"fill(a, b'own', range({i}, 3000, 4))")
    got = reader.read(*family.pids)
    assert within(got["total"], family.pss_anon())
    assert got["tags"]["own"] == 3 * 750


def test_two_of_many_forks_count_each_page_once(family: Family, reader: Reader) -> None:
    """The other processes that share the pages do not make them less."""
    family.run("a = small(4000)", "fill(a, b'fork', range(4000))")
    for _ in range(5):
        family.fork()
    got = reader.read(*family.pids[2:4])
    assert within(got["tags"]["fork"], 4000)


def test_forked_huge_pages_count_once(family: Family, reader: Reader) -> None:
    family.run(*ONE["huge"])
    if not smaps(family.child.pid, "AnonHugePages"):
        pytest.skip("the kernel had no huge page to give")
    for _ in range(3):
        family.fork()
    got = reader.read(*family.pids)
    assert within(got["total"], family.pss_anon())
    assert within(got["tags"]["one"], 2048)


def test_forked_copies_of_file_pages_count_once(family: Family, reader: Reader) -> None:
    family.run(*ONE["file"])
    for _ in range(4):
        family.fork()
    got = reader.read(*family.pids)
    assert within(got["total"], family.pss_anon())


def test_forked_zero_pages_are_none_of_the_shared(family: Family, reader: Reader) -> None:
    family.run(*ONE["zero_pages"])
    for _ in range(3):
        family.fork()
    got = reader.read(*family.pids)
    assert within(got["total"], family.pss_anon())
    assert got["not_read"]["zero_mapped"] >= 4 * 1500


@contextlib.contextmanager
def settings(directory: Path, values: dict[str, str]) -> Iterator[None]:
    """The kernel's settings for a while; each is then as it was."""
    before = {name: (directory / name).read_text() for name in values}
    try:
        for name, value in values.items():
            (directory / name).write_text(value)
        yield
    finally:
        for name, value in before.items():
            (directory / name).write_text(value)


@pytest.fixture
def ksm() -> Iterator[None]:
    """KSM runs, as fast as it may."""
    if not os.access(KSM / "run", os.W_OK):
        pytest.skip("KSM is not in this kernel, or only root can start it")
    with settings(KSM, FAST_KSM):
        yield


MERGED = [
    "a = small(2000)",
    "check(libc.madvise(a, 2000 * P, 12))",  # MADV_MERGEABLE
    "[ctypes.memmove(a + i * P, bytes([i % 10]) * P, P) for i in range(2000)]",
]


def wait_for_merging(family: Family) -> None:
    deadline = time.monotonic() + 100
    while smaps(family.child.pid, "Anonymous") - family.pss_anon() < 1980:
        assert time.monotonic() < deadline, "KSM has not merged the pages"
        time.sleep(0.05)


def test_merged_pages_count_once(ksm: None, family: Family, reader: Reader) -> None:
    family.run(*MERGED)
    wait_for_merging(family)
    got = reader.read(family.child.pid)
    assert within(got["total"], family.pss_anon())
    assert got["estimated"] == (not reader.sees_frames)
    family.fork()
    got = reader.read(*family.pids)
    assert within(got["total"], family.pss_anon())


# --- what is not read counts once, too ---


def test_shared_pages_that_one_process_has_locked_count_once(
    family: Family, reader: Reader
) -> None:
    """A fork does not inherit the lock, but the pages."""
    family.run("a = small(400)", "fill(a, b'lock', range(400))", "check(libc.mlock(a, 100 * P))")
    family.fork()
    family.fork()
    got = reader.read(*family.pids[::-1])
    if reader.sees_frames:
        assert got["not_read"]["locked"] == 100
        assert got["tags"]["lock"] == 300
    else:  # smaps has the lock's share only
        assert within(got["not_read"]["locked"], 100 / 3)
        assert within(got["tags"]["lock"], 400 - 100 / 3)


def test_droppable_pages_are_not_read(family: Family, reader: Reader) -> None:
    before = reader.read(family.child.pid)
    try:
        # MAP_DROPPABLE | MAP_ANONYMOUS
        family.run("d = check(libc.mmap(None, 20 * P, 3, 0x28, -1, 0))")
    except RuntimeError:
        pytest.skip("this kernel has no MAP_DROPPABLE (Linux 6.11)")
    family.run("fill(d, b'drop', range(20))")
    got = reader.read(family.child.pid)
    assert got["not_read"]["droppable"] - before["not_read"]["droppable"] == 20
    assert "drop" not in got["tags"]
    assert got["total"] + got["not_read"]["droppable"] == smaps(family.child.pid, "Anonymous")


@pytest.fixture
def hugetlb() -> Iterator[int]:
    """Pages of an ordinary size in a hugetlb page, of which four are free."""
    meminfo = dict(line.split(":") for line in Path("/proc/meminfo").read_text().splitlines())
    number = Path("/proc/sys/vm/nr_hugepages")
    if "Hugepagesize" not in meminfo or not os.access(number, os.W_OK):
        pytest.skip("this kernel has no hugetlb pages, or only root can set them aside")
    with settings(number.parent, {number.name: str(int(meminfo["HugePages_Total"]) + 4)}):
        yield int(meminfo["Hugepagesize"].split()[0]) * 1024 // P


@pytest.mark.parametrize("private", [False, True])
def test_hugetlb_pages_count_once(
    hugetlb: int, family: Family, reader: Reader, private: bool
) -> None:
    family.run(
        f"size = {hugetlb} * P",
        "m = mmap.mmap(-1, 2 * size, flags=0x40020 | "
        f"{'mmap.MAP_PRIVATE' if private else 'mmap.MAP_SHARED'})",
        "m[0] = m[size] = 1",
    )
    family.fork("m.__setitem__(size, 2)" if private else "m[0:1]")
    got = reader.read(*family.pids)
    assert got["not_read"]["hugetlb"] == (3 if private else 2) * hugetlb


@pytest.fixture(scope="module")
def swap() -> Iterator[None]:
    """The machine's swap, or where the tests may use the kernel's, a file."""
    if len(Path("/proc/swaps").read_text().splitlines()) > 1:
        yield
        return
    if os.environ.get("ZSWAP_VERIFY") != "1" or not ROOT:
        pytest.skip("no swap here: set ZSWAP_VERIFY=1 as root, or swapon a file")
    with tempfile.NamedTemporaryFile(dir="/var/tmp") as file:
        file.write(bytes(64 << 20))
        file.flush()
        subprocess.run(["mkswap", "-q", file.name], check=True)
        subprocess.run(["swapon", file.name], check=True)
        try:
            yield
        finally:
            subprocess.run(["swapoff", file.name], check=True)


@pytest.mark.parametrize("shared", [False, True])
def test_swapped_pages_count_once(swap: None, family: Family, reader: Reader, shared: bool) -> None:
    family.run(
        f"a = new(400, shared={shared})",
        "check(libc.madvise(a, 400 * P, mmap.MADV_NOHUGEPAGE))",
        # MADV_PAGEOUT
        "fill(a, b'swap', range(400))",
        "check(libc.madvise(a, 300 * P, 21))",
    )
    gone = smaps(family.child.pid, "Swap")
    if not gone:
        pytest.skip("the kernel did not swap the pages out")
    family.fork()
    family.fork("fill(a, b'swap', range(10))")  # brings them back for all, or for itself
    got = reader.read(*family.pids)
    if not shared:
        assert within(
            got["not_read"]["swapped"], sum(smaps(pid, "SwapPss") for pid in family.pids), 0.02
        )
    assert gone - 10 <= got["not_read"]["swapped"] <= 1.02 * gone
    assert reader.read(family.child.pid)["not_read"]["swapped"] == smaps(family.child.pid, "Swap")


# --- which process it is ---


def test_threads_of_one_process_count_once(family: Family, reader: Reader) -> None:
    family.run(
        "import threading, time",
        "a = new(300)",
        "fill(a, b'thr', range(300))",
        "t = threading.Thread(target=time.sleep, args=(1000,), daemon=True); t.start()",
        "tell(t.native_id)",
    )
    pid, tid = family.child.pid, family.child.told()
    assert tid != pid
    alone = reader.read(tid)
    assert alone["tags"]["thr"] == 300
    assert reader.read(tid, pid)["total"] == reader.read(pid, tid)["total"] == alone["total"]
    assert list(alone["sources"]) == list(reader.read(tid, pid)["sources"]) == [str(pid)]


def test_process_whose_main_thread_has_ended_is_read(family: Family, reader: Reader) -> None:
    family.run("a = new(300)", "fill(a, b'left', range(300))")
    pid = family.child.pid
    family.end_main_thread()
    assert reader.read(pid)["tags"]["left"] == 300
    thread = next(int(name) for name in os.listdir(f"/proc/{pid}/task") if int(name) != pid)
    assert reader.read(thread, pid)["tags"]["left"] == 300
    if reader.sees_frames:
        with open_pages(all_processes=True) as pages:
            assert pid in [source.pid for source in pages.sources]


def test_processes_that_are_one_memory_count_once(family: Family, reader: Reader) -> None:
    """A process made by clone(CLONE_VM), or by vfork() until it calls exec()."""
    family.run(
        "a = new(300)",
        "fill(a, b'vm', range(300))",
        "stack = small(16)",
        "libc.clone.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int, ctypes.c_void_p]",
        "body = ctypes.cast(libc.pause, ctypes.c_void_p)",
        "tell(check(libc.clone(body, stack + 16 * P, 0x100 | 17, None)))",
    )
    family.pids.append(family.child.told())
    got = reader.read(*family.pids)
    assert got["tags"]["vm"] == 300
    assert got["total"] + got["not_read"]["droppable"] == smaps(family.child.pid, "Anonymous")
    assert len(got["sources"]) == 1


def test_report_names_processes_that_are_gone(capsys: pytest.CaptureFixture[str]) -> None:
    lives, gone = Child(), [Child() for _ in range(NAMED_GONE + 1)]
    try:
        for child in gone:
            child.kill()
        pids = [str(child.pid) for child in (lives, *gone)]
        assert cli.main(["report", "-c", "lz4", "--json", "--pid", *pids]) == 0
    finally:
        lives.kill()
    out, err = capsys.readouterr()
    told = json.loads(out)
    assert told["sample"]["processes_gone"] == sorted(child.pid for child in gone)
    assert [source["pid"] for source in told["source"]] == [lives.pid]
    assert not told["estimated"]
    assert f"{len(gone)} processes gone: there is no process {gone[0].pid}: " in err
    assert "; and 1 more\n" in err


# --- the part of runs that is read where pages are weighed ---


@pytest.mark.parametrize("lengths", [[1], [5, 1, 1, 40], [1000], [3] * 300])
def test_part_of_runs_is_exact_and_even(lengths: list[int]) -> None:
    runs, at = Runs.none(), 0
    for length in lengths:
        runs.append(at * P, (at + length) * P)
        at += length + 2
    whole = pages_of(runs)
    for wanted in range(len(whole) + 2):
        for phase in (0, 0.5, 0.999):
            part = pages_of(runs.part(wanted, phase))
            assert len(part) == len(set(part)) == min(wanted, len(whole))
            assert part == sorted(part)
            assert set(part) <= set(whole)
    half = pages_of(runs.part(len(whole) // 2, 0.5))
    assert abs(sum(page in half for page in whole[: len(whole) // 2]) - len(whole) / 4) <= 8


def pages_of(runs: Runs) -> list[int]:
    return [page // P for start, end in zip(*runs, strict=True) for page in range(start, end, P)]


# --- much address space, few pages ---

RESERVE = """
size = {tib} << 40
a = check(libc.mmap(None, size, 3, 0x4022, -1, 0))
check(libc.madvise(a, size, mmap.MADV_NOHUGEPAGE))
[ctypes.memmove(a + i * P, b'big' + bytes(5), 8) for i in {which}]
"""  # MAP_NORESERVE
FIRST, SPREAD = "range(1000)", "range(0, size // P // 1000 * 1000, size // P // 1000)"
RANDOM = "(i * 2654435761 % (size // P) for i in range(1000))"


def reserve(tib: int, which: str) -> list[str]:
    return RESERVE.format(tib=tib, which=which).strip().splitlines()


@pytest.mark.parametrize("forked", [False, True])
@pytest.mark.parametrize("which", [FIRST, SPREAD])
@pytest.mark.parametrize("tib", [1, 14])
def test_reserved_address_space_takes_no_time(
    family: Family, reader: Reader, tib: int, which: str, forked: bool
) -> None:
    # without the frames' numbers zero pages may be among the shared ones: all of it is
    # searched
    whole = forked and reader.way == "pagemap" and not reader.sees_frames
    if whole and tib > 1:
        pytest.skip("takes a second a TiB, as the docs say; the test of 1 TiB runs")
    family.run(*reserve(tib, which))
    if forked:
        family.fork()
    got = reader.read(family.child.pid)
    assert got["total"] + got["not_read"]["droppable"] == smaps(family.child.pid, "Anonymous")
    assert got["tags"]["big"] == 1000
    assert got["cpu"] < (10 if whole else 1)


def test_reserved_address_space_with_pages_anywhere_is_read(family: Family, reader: Reader) -> None:
    family.run(*reserve(1, RANDOM))
    got = reader.read(family.child.pid)
    assert got["tags"]["big"] == 1000
    assert got["cpu"] < 10


@pytest.mark.skipif(not shutil.which("gcc"), reason="no gcc")
def test_program_under_asan_is_read_at_once(tmp_path: Path, reader: Reader) -> None:
    source, program = tmp_path / "asan.c", Path(f"/var/tmp/zswap_py-asan-{os.getpid()}")
    source.write_text(ASAN)
    built = subprocess.run(
        ["gcc", "-fsanitize=address", source, "-o", program], capture_output=True, check=False
    )
    if built.returncode:
        pytest.skip("gcc has no AddressSanitizer")
    popen = {name: value for name, value in reader.popen.items() if name != "executable"}
    try:
        with subprocess.Popen([program], stdout=subprocess.PIPE, **popen) as process:
            assert process.stdout
            try:
                assert process.stdout.readline() == b"done\n"
                got = reader.read(process.pid)
                right = smaps(process.pid, "Anonymous")
            finally:
                process.kill()
    finally:
        program.unlink()
    assert got["total"] + got["not_read"]["droppable"] == right
    assert right > 5000
    assert got["cpu"] < 1


ASAN = """
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
int main(void)
{
	for (int i = 0; i < 20000; i++) {
		char *p = malloc(100 + i * 7919 % 20000);
		memset(p, i, 100);
		if (i % 3 == 0)
			free(p);
	}
	puts("done");
	fflush(stdout);
	return pause();
}
"""
