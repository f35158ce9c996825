# SPDX-License-Identifier: GPL-2.0-or-later
"""Cold memory: the search by DAMON, lru_gen and clear_refs, and reading pages without a
mark on them.

Most of it needs a kernel with DAMON, root and nothing else that uses it: these tests
run with ZSWAP_COLD=1, as in a virtual machine. The others replay what such kernels
answered (tests/data/cold.json, by tests/record_cold.py), and run everywhere; errors
come from a tree of plain files in the place of sysfs.
"""

from __future__ import annotations

import json
import os
import re
import signal
import struct
import subprocess
import sys
import time
from array import array
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from cold_target import Target
from record_cold import ADMIN, DATA, SHORT

from zswap_py.sources import cold, damon, damon_sysfs, kcore, lru_gen, process
from zswap_py.sources.coldness import CannotTell, Cold, Unknown
from zswap_py.sources.damon import ColdSearch
from zswap_py.sources.damon_state import Lock, Started
from zswap_py.sources.damon_sysfs import MAX_REGIONS, Sysfs
from zswap_py.sources.pagemap import PAGE_SIZE, Kind, Runs
from zswap_py.sources.pages import open_pages
from zswap_py.sources.process import Process
from zswap_py.sources.source import NotRead

P = PAGE_SIZE
ROOT = os.geteuid() == 0
KERNELS: dict[str, dict[str, Any]] = json.loads(DATA.read_text().replace(SHORT, ADMIN))
NR = f"{ADMIN}/nr_kdamonds"
STAT = "module/damon_stat/parameters/enabled"

pytestmark = [
    pytest.mark.skipif(sys.platform != "linux", reason="/proc is Linux's"),
    pytest.mark.timeout(300),
]
real = pytest.mark.skipif(
    not os.environ.get("ZSWAP_COLD"), reason="ZSWAP_COLD=1 uses this machine's DAMON"
)
root = pytest.mark.skipif(not ROOT, reason="only root sees the frames' numbers")


def runs(*pairs: tuple[int, int]) -> Runs:
    return Runs(array("Q", (a for a, _ in pairs)), array("Q", (b for _, b in pairs)))


def pairs(found: Runs) -> list[tuple[int, int]]:
    return list(zip(*found, strict=True))


# ---- runs ----


def test_runs_within_and_without_others() -> None:
    some, others = runs((0, 10), (20, 30), (40, 50)), runs((5, 25), (28, 29), (30, 60))
    assert pairs(some.within(others)) == [(5, 10), (20, 25), (28, 29), (40, 50)]
    assert pairs(some.without(others)) == [(0, 5), (25, 28), (29, 30)]
    assert pairs(some.within(Runs.none())) == []
    assert pairs(some.within(runs((10, 20), (30, 40)))) == []
    assert pairs(some.without(Runs.none())) == pairs(some)


def test_pieces_end_on_their_grid_and_are_half_full_at_least() -> None:
    piece = 16 * P
    present = [runs((2 * P, 4 * P), (6 * P, 7 * P), (11 * P, 40 * P)), runs((100 * P, 101 * P))]
    assert pairs(damon._pieces(present, piece, 1)) == [
        (2 * P, 7 * P),  # a gap as long as the pages before it
        (11 * P, piece),  # the gap is longer than the three pages before it
        (piece, 2 * piece),
        (2 * piece, 40 * P),
        (100 * P, 101 * P),
    ]
    assert pairs(damon._pieces(present, piece, 2))[:2] == [(2 * P, piece), (piece, 2 * piece)]


def test_pieces_grow_until_they_are_few_enough() -> None:
    present = {1: [runs((0, (MAX_REGIONS + 1) * P))], 2: [Runs.none()]}
    ranges, piece = damon._cut(present, P)
    assert piece == 2 * P
    assert len(ranges[1].starts) == MAX_REGIONS // 2 + 1
    assert damon._cut({1: [runs((0, MAX_REGIONS * P))]}, P)[1] == P
    sparse = runs(*((at * P, (at + 1) * P) for at in range(0, 20 * (MAX_REGIONS + 1), 20)))
    assert len(damon._cut({1: [sparse]}, 64 * P)[0][1].starts) <= MAX_REGIONS
    many = {pid: [runs((0, P))] for pid in range(MAX_REGIONS + 1)}
    assert len(damon._cut(many, P)[0]) == MAX_REGIONS + 1


# ---- DAMON's answers, replayed ----


class Replay(Sysfs):
    """Gives a kernel's recorded answers, to the same calls in the same order."""

    def __init__(self, calls: list[list[Any]]) -> None:
        super().__init__("/recorded")
        self.left = calls.copy()

    def _answer(self, *call: str) -> Any:
        *asked, answer = self.left.pop(0)
        assert asked == list(call)
        if isinstance(answer, dict):
            raise OSError(answer["errno"], os.strerror(answer["errno"]))
        return answer

    def read(self, path: str) -> str:
        return str(self._answer("read", path))

    def write(self, path: str, value: str | int) -> None:
        self._answer("write", path, str(value))

    def names(self, path: str) -> list[str]:
        return list(self._answer("names", path))

    def writable(self, path: str) -> bool:
        return True


@pytest.fixture
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Waits pass at once, and the recorded processes are alive."""
    clock = [0.0]

    def wait(seconds: float, progress: object, check: object) -> None:
        clock[0] += seconds

    monkeypatch.setattr(damon, "wait", wait)
    monkeypatch.setattr(damon, "time", SimpleNamespace(monotonic=lambda: clock[0]))
    monkeypatch.setattr(damon, "_alive", dict)


@pytest.mark.parametrize("release", KERNELS)
def test_the_search_speaks_the_protocol_of(release: str, tmp_path: Path, at_once: None) -> None:
    kernel = KERNELS[release]
    sysfs = Replay(kernel["calls"])
    ranges = {kernel["pid"]: Runs(*(array("Q", part) for part in kernel["ranges"]))}
    with ColdSearch(sysfs=sysfs, run=tmp_path) as search:
        found = search.watch(ranges, 5)
    assert sysfs.left == []
    assert [list(part) for part in found[kernel["pid"]]] == kernel["cold"]
    assert kernel["shares"] == {"hot": 0, "warm": 0, "cold": 1}
    assert not (tmp_path / "damon.json").exists()


@pytest.mark.parametrize("release", KERNELS)
def test_lru_gen_lists_of(release: str) -> None:
    lrus = list(lru_gen._parse(KERNELS[release]["lru_gen"]))
    assert [lru.path for lru in lrus][:1] == ["/"]
    for lru in lrus:
        numbers = [generation.number for generation in lru.generations]
        assert 2 <= len(numbers) <= 4
        assert numbers == list(range(numbers[0], numbers[0] + len(numbers)))
        assert lru.newest == numbers[-1]


def test_a_cgroups_name_lists_no_other(tmp_path: Path) -> None:
    file = tmp_path / "lru_gen"
    lines = "\r node 1\r 1 2 3 4\rmemcg 7 /z\r\x85\u2028".encode()
    file.write_bytes(b"memcg 1 /a\xff" + lines + b"\n node 0\n 3 9 1 2 \n")
    (lru,) = lru_gen._below("/", file)
    assert (os.fsencode(lru.path), lru.memcg, lru.node) == (b"/a\xff" + lines, "1", 0)
    assert lru.generations == [(3, 1)]


def test_regions_of_another_search_are_not_taken_for_ours(tmp_path: Path, at_once: None) -> None:
    kernel = next(iter(KERNELS.values()))
    calls = [list(call) for call in kernel["calls"]]
    ends = [i for i, call in enumerate(calls) if "tried_regions/" in call[1] and "/end" in call[1]]
    calls[ends[-1]][-1] = str(int(calls[ends[-1]][-1]) + P)
    ranges = {kernel["pid"]: Runs(*(array("Q", part) for part in kernel["ranges"]))}
    with (
        pytest.raises(CannotTell, match="lists other regions than were given"),
        ColdSearch(sysfs=Replay(calls), run=tmp_path) as search,
    ):
        search.watch(ranges, 5)


def test_an_exited_process_may_be_left_out_of_the_list() -> None:
    region = damon_sysfs._Region
    regions = [region(0, 4, 0, 9), region(4, 6, 0, 9), region(6, 8, 1, 9), region(20, 30, 0, 4)]
    first, second = runs((0, 8)), runs((20, 30))
    split = damon_sysfs._by_target
    both = split(regions, {1: first, 2: second}, 5)
    assert both is not None
    assert {pid: pairs(found) for pid, found in both.items()} == {1: [(0, 6)], 2: []}
    assert split(regions, {1: first, 2: second}, 9) == {1: runs((0, 6)), 2: Runs.none()}
    assert split(regions, {1: first, 2: second}, 10) == {1: Runs.none(), 2: Runs.none()}
    for left, targets in (
        (regions[:3], {1: first, 2: second}),
        (regions, {1: first}),
        (regions, {2: second, 1: first}),
        (regions, {1: runs((0, 7)), 2: second}),
        (regions[1:], {1: first, 2: second}),
    ):
        assert split(left, targets, 5) is None
    assert split(regions[:3], {1: first}, 5) is not None


# ---- who has DAMON ----


class Tree(Sysfs):
    """Plain files in the place of sysfs."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.path = path

    def put(self, **files: str | int) -> None:
        for name, value in files.items():
            file = self.path / name.replace("__", "/")
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(f"{value}\n")

    def kdamond(self, pids: list[int], state: str = "on", **changed: str | int) -> None:
        base = f"{ADMIN}/0"
        context = f"{base}/contexts/0"
        files: dict[str, str | int] = {
            NR: 1,
            f"{base}/state": state,
            f"{base}/pid": 77 if state == "on" else -1,
            f"{base}/contexts/nr_contexts": 1,
            f"{context}/operations": "fvaddr",
            f"{context}/monitoring_attrs/intervals/sample_us": 500000,
            f"{context}/monitoring_attrs/intervals/aggr_us": 1000000,
            f"{context}/targets/nr_targets": len(pids),
        }
        files |= {f"{context}/targets/{i}/pid_target": pid for i, pid in enumerate(pids)}
        self.put(**files | {f"{context}/{k}": v for k, v in changed.items()})

    def files(self) -> dict[str, str]:
        return {
            str(file.relative_to(self.path)): file.read_text().split()[0]
            for file in self.path.rglob("*")
            if file.is_file()
        }


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    tree = Tree(tmp_path / "sys")
    tree.put(**{NR: 0})
    return tree


@pytest.fixture
def run_dir(tmp_path: Path) -> Path:
    return tmp_path / "run"


def other_kdamond(tree: Tree) -> None:
    tree.kdamond([4242], "on")


def other_settings(tree: Tree) -> None:
    tree.kdamond([4242], "off")


@pytest.mark.parametrize(
    ("change", "reason", "remedy"),
    [
        (lambda t: (t.path / NR).unlink(), "no DAMON", "CONFIG_DAMON_SYSFS"),
        (lambda t: t.put(**{NR: "many"}), "nr_kdamonds is 'many'", "Linux 5.18"),
        (
            other_kdamond,
            r"another tool: kdamond 0 \(pid 77\), which watches pid 4242",
            "echo off >.*/0/state",
        ),
        (other_settings, "settings of another tool: kdamond 0, .*4242, off", "echo 0 >.*nr_kdam"),
        (
            lambda t: t.put(module__damon_reclaim__parameters__enabled="Y"),
            "in use by damon_reclaim",
            "echo N >.*/damon_reclaim/",
        ),
        (
            lambda t: t.put(module__damon_lru_sort__parameters__enabled="Y"),
            "in use by damon_lru_sort",
            "echo N >.*/damon_lru_sort/",
        ),
    ],
    ids=["absent", "strange", "kdamond", "settings", "reclaim", "lru_sort"],
)
def test_damon_that_is_not_to_be_had(
    tree: Tree, run_dir: Path, change: Callable[[Tree], None], reason: str, remedy: str
) -> None:
    tree.put(**{STAT: "Y"})
    change(tree)
    before = tree.files()
    with pytest.raises(CannotTell) as caught, ColdSearch(sysfs=tree, run=run_dir):
        pass
    assert re.search(reason, caught.value.unknown.reason)
    assert re.search(remedy, caught.value.unknown.remedy)
    assert tree.files() == before
    assert not (run_dir / "damon.json").exists()


@root
def test_a_container_with_read_only_files(tree: Tree, run_dir: Path) -> None:
    code = (
        "import sys; from pathlib import Path\n"
        "from zswap_py.sources.damon import ColdSearch\n"
        "from zswap_py.sources.damon_sysfs import Sysfs\n"
        "try: ColdSearch(sysfs=Sysfs(sys.argv[1]), run=Path(sys.argv[2])).__enter__()\n"
        "except Exception as e: print(e)\n"
    )
    command = 'd=$1; shift; mount --bind "$d" "$d" && mount -o remount,bind,ro "$d" && exec "$@"'
    run_dir.mkdir()
    for read_only, run, message in (
        (tree.path, run_dir, f"{tree.path} is read-only here, as in a container. Run on the host"),
        (run_dir, run_dir / "below", "below cannot be made: Read-only file system. Run on"),
    ):
        enter = ["unshare", "--mount", "sh", "-ec", command, "sh", read_only]
        done = subprocess.run(
            [*enter, sys.executable, "-c", code, tree.path, run],
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            pytest.skip(f"no mount namespaces here: {done.stderr}")
        assert message in done.stdout


def test_two_searches_at_once(tree: Tree, run_dir: Path) -> None:
    tree.put(**{STAT: "Y"})
    with ColdSearch(sysfs=tree, run=run_dir):
        assert tree.files()[STAT] == "N"
        with (
            pytest.raises(CannotTell, match=rf"zswap-py \(pid {os.getpid()}\) searches"),
            ColdSearch(sysfs=tree, run=run_dir),
        ):
            pass
        assert tree.files()[STAT] == "N"
    assert tree.files()[STAT] == "Y"


def test_the_state_is_kept_in_a_directory_of_the_user_alone(tree: Tree, run_dir: Path) -> None:
    run_dir.mkdir()
    run_dir.chmod(0o777)
    with pytest.raises(CannotTell, match="not a directory of root alone"), Lock(run_dir):
        pass
    run_dir.chmod(0o700)
    with Lock(run_dir) as lock:
        lock.save(Started([1, 2], stat=True))
        assert lock.load() == Started([1, 2], True, os.getpid())
        lock.save(None)
        assert lock.load() is None


def left_behind(run_dir: Path, state: Started) -> None:
    """What a killed search leaves."""
    with Lock(run_dir) as lock:
        lock.save(state)


def test_a_killed_search_is_found_named_and_ended(tree: Tree, run_dir: Path) -> None:
    left_behind(run_dir, Started([4242, 4243], stat=True))
    tree.kdamond([4242, 4243])
    tree.put(**{STAT: "N"})
    with ColdSearch(sysfs=tree, run=run_dir) as search:
        files = tree.files()
        assert (files[f"{ADMIN}/0/state"], files[NR]) == ("off", "0")
        me = f"a killed zswap-py (pid {os.getpid()})"
        assert search._remarks[0] == f"ended the kdamond (pid 77) that {me} left running"
        assert search._remarks[1] == f"{me} had left DAMON_STAT off"
    assert tree.files()[STAT] == "Y"
    assert not (run_dir / "damon.json").exists()


@pytest.mark.parametrize("written", range(4))
def test_a_search_that_was_killed_while_it_wrote_its_settings(
    tree: Tree, run_dir: Path, written: int
) -> None:
    left_behind(run_dir, Started([4242, 4243]))
    pids: list[list[int]] = [[], [0, 0], [4242, 0], [4242, 4243]]
    tree.kdamond(pids[written], "off")
    if not written:
        tree.put(**{f"{ADMIN}/0/contexts/nr_contexts": 0})
    with ColdSearch(sysfs=tree, run=run_dir) as search:
        assert search._remarks[0].startswith("removed the DAMON settings of a killed zswap-py")
    assert tree.files()[NR] == "0"


@pytest.mark.parametrize(
    "change",
    [
        {"targets/0/pid_target": 4244},
        {"operations": "vaddr"},
        {"monitoring_attrs/intervals/sample_us": 5000},
        {"monitoring_attrs/intervals/aggr_us": 100000},
        {"targets/nr_targets": 1},
    ],
)
def test_another_kdamond_in_the_place_of_a_killed_searchs_is_left_alone(
    tree: Tree, run_dir: Path, change: dict[str, str | int]
) -> None:
    left_behind(run_dir, Started([4242, 4243], stat=True))
    tree.kdamond([4242, 4243], "on", **change)
    before = tree.files()
    for _ in range(2):
        with (
            pytest.raises(CannotTell, match="in use by another tool: kdamond 0"),
            ColdSearch(sysfs=tree, run=run_dir),
        ):
            pass
        assert tree.files() == before
        assert (run_dir / "damon.json").exists()  # DAMON_STAT is still to be put back


def test_a_state_of_another_boot_or_of_no_sense_counts_for_nothing(
    tree: Tree, run_dir: Path
) -> None:
    left_behind(run_dir, Started([4242]))
    file = run_dir / "damon.json"
    for text in ("", "[]", "{}", file.read_text().replace('"boot": "', '"boot": "x')):
        file.write_text(text)
        tree.kdamond([4242])
        with (
            pytest.raises(CannotTell, match="another tool"),
            ColdSearch(sysfs=tree, run=run_dir),
        ):
            pass


def test_a_kernel_that_cannot_watch_processes(tree: Tree, run_dir: Path) -> None:
    context = f"{ADMIN}/0/contexts/0"
    tree.put(**{f"{ADMIN}/0/contexts/nr_contexts": 0, f"{context}/avail_operations": "paddr"})
    with (
        pytest.raises(CannotTell, match=r"DAMON cannot watch processes\. Use .*CONFIG_DAMON_VADDR"),
        ColdSearch(sysfs=tree, run=run_dir) as search,
    ):
        search.watch({1: runs((0, P))}, 5)
    assert tree.files()[NR] == "0"


@pytest.mark.parametrize(("seconds", "piece"), [(0, P), (0.5, P), (86401, P), (5, 0), (5, P + 1)])
def test_wrong_arguments(tree: Tree, run_dir: Path, seconds: float, piece: int) -> None:
    with (
        pytest.raises(ValueError, match="give"),
        ColdSearch(sysfs=tree, run=run_dir) as search,
    ):
        search.find([os.getppid()], seconds, piece=piece)


# ---- what can be had ----


def test_unknown_is_no_guess(monkeypatch: pytest.MonkeyPatch, tree: Tree, run_dir: Path) -> None:
    (tree.path / NR).unlink()
    monkeypatch.setattr(cold, "ColdSearch", lambda: ColdSearch(sysfs=tree, run=run_dir))
    found = cold.find_cold([os.getppid()], [], 1)
    assert isinstance(found, Unknown)
    assert found.reason == "this kernel has no DAMON"


def test_clear_refs_tells_how_many_bytes(
    monkeypatch: pytest.MonkeyPatch, tree: Tree, run_dir: Path
) -> None:
    (tree.path / NR).unlink()
    monkeypatch.setattr(cold, "ColdSearch", lambda: ColdSearch(sysfs=tree, run=run_dir))
    with Target(mib=32) as target:
        found = cold.find_cold([target.pid, 2**22 + 1], [], 4, intrusive=True)
    assert isinstance(found, Cold)
    assert found.method == "clear_refs"
    assert set(found.bytes_by_pid) == {target.pid}
    own = 8 << 20  # the interpreter's
    assert target.size / 2 <= found.bytes_by_pid[target.pid] <= target.size / 2 + own
    assert "no DAMON" in found.remarks[0]


@pytest.mark.parametrize(
    ("release", "wrong"),
    [("6.12.117+deb13", False), ("6.18.15", True), ("7.2.1", True), ("7.3.4", False)],
)
def test_lru_gen_of_some_releases_is_not_believed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, release: str, wrong: bool
) -> None:
    monkeypatch.setattr(lru_gen.os, "uname", lambda: SimpleNamespace(release=release))
    message = f"lru_gen of Linux {release} takes memory" if wrong else "no multi-generational LRU"
    with pytest.raises(CannotTell, match=re.escape(message)):
        lru_gen.cold_bytes("/app", 1, root=tmp_path)


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({}, "no multi-generational LRU. Use a kernel with CONFIG_LRU_GEN"),
        ({"enabled": "0x0006"}, "switched off. Switch it on: echo y >"),
        ({"enabled": "0x0007"}, "lru_gen is missing. Mount debugfs"),
        ({"enabled": "0x0007", "list": "memcg 1 /\n node 0\n"}, "lists no cgroup /app"),
    ],
    ids=["absent", "off", "debugfs", "cgroup"],
)
def test_lru_gen_that_cannot_be_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, files: dict[str, str], message: str
) -> None:
    monkeypatch.setattr(lru_gen, "_WRONG", ((0, 0), (0, 0)))
    for name, path in (("enabled", "mm/lru_gen/enabled"), ("list", "debug/lru_gen")):
        if name in files:
            file = tmp_path / "kernel" / path
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(files[name])
    with pytest.raises(CannotTell, match=re.escape(message)):
        lru_gen.cold_bytes("/app", 1, root=tmp_path)


# ---- reading by frame ----


def elf(path: Path, segments: list[tuple[int, int, int, int]], size: int = 0) -> Path:
    """A file in the form of /proc/kcore: type, offset, physical address, length."""
    header = (
        b"\x7fELF\2\1\1"
        + bytes(9)
        + struct.pack("=2HI3QI6H", 4, 62, 1, 0, 64, 0, 0, 64, 56, len(segments), 0, 0, 0)
    )
    table = b"".join(
        struct.pack("=2I6Q", kind, 7, offset, 0, physical, length, length, P)
        for kind, offset, physical, length in segments
    )
    with path.open("wb") as f:
        f.write(header + table)
        f.truncate(size)
    return path


def test_frames_are_found_in_the_segments_of_ram(tmp_path: Path) -> None:
    file = elf(
        tmp_path / "kcore",
        [
            (4, 0, 0, 64),  # PT_NOTE
            (1, 64 * P, 2**64 - 1, 8 * P),  # vmalloc: without an address
            (1, 8 * P, 2 * P, 20 * P),
            (1, 40 * P, 4 * P, 2 * P),  # the kernel's text, inside the RAM above
            (1, 60 * P, 22 * P, 4 * P),
        ],
        80 * P,
    )
    with file.open("r+b") as f:
        for frame in range(2, 26):
            f.seek((frame + (6 if frame < 22 else 38)) * P)
            f.write(bytes([frame]) * P)
    out = memoryview(bytearray(8 * P))
    with kcore.Kcore.open(str(file)) as memory:
        for frames in ([2, 3, 4, 5], [25, 9, 3, 8], [20, 21, 22, 23], [7]):
            assert memory.read(frames, out)
            assert list(out[: len(frames) * P : P]) == frames
        assert not memory.read([3, 26], out)
        assert not memory.read([1], out)


@pytest.mark.parametrize("content", [b"", b"\x7fELF\1" + bytes(80), bytes(100), None])
def test_a_file_without_frames(tmp_path: Path, content: bytes | None) -> None:
    if content is None:
        elf(tmp_path / "kcore", [(1, P, 2**64 - 1, 8 * P)], 9 * P)
    else:
        (tmp_path / "kcore").write_bytes(content)
    with pytest.raises(ValueError, match="no segment with physical addresses"):
        kcore.Kcore.open(str(tmp_path / "kcore"))


@pytest.fixture
def ram(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[Target], Path]:
    """Puts a stopped target's pages at their frames in a file, for /proc/kcore."""

    def make(target: Target) -> Path:
        os.kill(target.pid, signal.SIGSTOP)
        time.sleep(0.2)
        top = 1 << 46
        file = elf(tmp_path / "kcore", [(1, P, 0, top)], 0)
        with Process.find(target.pid) as victim, file.open("r+b") as f:
            kind = Kind.ANON if target.kind == "private" else Kind.FILE
            frames = victim.page_table.frames(target.base, target.base + target.size, kind)
            assert all(frames)
            for i, frame in enumerate(frames):
                f.seek(frame * P + P)
                f.write(os.pread(victim._mem, P, target.base + i * P))
        monkeypatch.setattr(process, "obstacle", lambda: None)
        segments = [kcore.Segment(0, top // P, P)]
        monkeypatch.setattr(
            kcore.Kcore, "open", lambda: kcore.Kcore(os.open(file, os.O_RDONLY), segments)
        )
        return file

    return make


@root
@pytest.mark.parametrize("kind", ["private", "shmem"])
def test_a_process_is_read_by_its_frames(ram: Callable[[Target], Path], kind: str) -> None:
    with Target(mib=2, chunk_kib=64, kind=kind) as target:
        ram(target)
        pages, not_read = target.size // P, NotRead()
        out = memoryview(bytearray(target.size))
        want = Kind.ANON if kind == "private" else Kind.FILE
        other = Kind.FILE if kind == "private" else Kind.ANON
        with Process.find(target.pid) as victim:
            assert victim.read(target.base, pages, want, out, not_read) == pages
            assert bytes(out) == os.pread(victim._mem, target.size, target.base)
            assert (victim.heated, not_read.total) == (0, 0)
            assert victim.read(target.base, 8, other, out, not_read) == 0
            assert not_read.vanished == 8
            assert victim.read(target.base, pages, want, out, NotRead()) == pages


@root
def test_a_page_that_moves_is_read_again(
    ram: Callable[[Target], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The frames change once, between the read and the check after it, then always."""
    with Target(mib=1, chunk_kib=64) as target:
        ram(target)
        out, table = memoryview(bytearray(16 * P)), process.PageTable
        frames, calls = table.frames, [0]

        def moving(self: Any, start: int, end: int, kind: Kind) -> list[int]:
            calls[0] += 1
            found = frames(self, start, end, kind)
            at = target.base + 5 * P
            if start <= at < end and (calls[0] == 2 or (always and calls[0] % 2 == 0)):
                found[(at - start) // P] += 1
            return found

        monkeypatch.setattr(table, "frames", moving)
        for heated in (0, 1):
            calls[0], always = 0, bool(heated)
            with Process.find(target.pid) as victim:
                assert victim.read(target.base, 16, Kind.ANON, out, not_read := NotRead()) == 16
                assert bytes(out) == os.pread(victim._mem, 16 * P, target.base)
                assert (victim.heated, not_read.total) == (heated, 0)


@root
def test_a_frame_outside_of_the_file_is_read_by_mem(
    ram: Callable[[Target], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    with Target(mib=1, chunk_kib=64) as target:
        ram(target)
        read = kcore.Kcore.read

        def failing(self: kcore.Kcore, frames: list[int], out: memoryview) -> bool:
            return len(frames) > 1 and read(self, frames, out)

        monkeypatch.setattr(kcore.Kcore, "read", failing)
        out, not_read = memoryview(bytearray(8 * P)), NotRead()
        with Process.find(target.pid) as victim:
            assert victim.read(target.base, 1, Kind.ANON, out, not_read) == 1
            assert victim.read(target.base, 8, Kind.ANON, out, not_read) == 8
            assert victim.heated == 1


def referenced(target: Target) -> int:
    """Pages of the target's memory that the kernel takes for used."""
    with Process.find(target.pid) as victim:
        return sum(
            m.referenced
            for m in victim.mappings()
            if m.start < target.base + target.size and target.base < m.end
        )


@pytest.mark.parametrize("kind", ["private", "shmem"])
def test_reading_heats_nothing_or_says_so(kind: str) -> None:
    with Target(mib=8, chunk_kib=64, kind=kind) as target:
        os.kill(target.pid, signal.SIGSTOP)
        time.sleep(0.2)
        Path(f"/proc/{target.pid}/clear_refs").write_text("1")
        assert referenced(target) == 0
        with open_pages(pids=[target.pid], full=True) as pages:
            read = sum(len(piece) for piece in pages.pieces()) // P
            assert read >= target.size // P
            if kcore.obstacle():
                assert pages.heated == read
                assert referenced(target) >= target.size // P
            else:
                assert pages.heated == 0
                assert referenced(target) == 0


@real
@root
@pytest.mark.parametrize("huge", [False, True])
def test_kcore_has_the_bytes_of_mem(huge: bool) -> None:
    assert kcore.obstacle() is None
    with Target(mib=8, chunk_kib=64, kind="huge" if huge else "private") as target:
        os.kill(target.pid, signal.SIGSTOP)
        with Process.find(target.pid) as victim:
            pages, not_read = target.size // P, NotRead()
            out = memoryview(bytearray(target.size))
            assert victim.read(target.base, pages, Kind.ANON, out, not_read) == pages
            assert (victim.heated, not_read.total) == (0, 0)
            assert bytes(out) == os.pread(victim._mem, target.size, target.base)


# ---- this machine's DAMON ----

SYSFS = Sysfs()


def answer(path: str) -> str | None:
    try:
        return SYSFS.read(path)
    except FileNotFoundError:
        return None


@pytest.fixture
def free() -> Iterator[None]:
    """DAMON must be as it was, and free."""
    before = answer(STAT)
    assert answer(NR) == "0"
    yield
    assert (answer(STAT), answer(NR)) == (before, "0")
    assert not (damon.RUN / "damon.json").exists()


def test_the_real_tests_need_damon() -> None:
    if os.environ.get("ZSWAP_COLD"):
        assert answer(NR) is not None, "ZSWAP_COLD=1 needs root and DAMON"


@real
@pytest.mark.parametrize("kind", ["private", "shmem", "forked"])
def test_damon_finds_the_cold_memory_and_no_other(free: None, kind: str) -> None:
    with Target(kind=kind) as target:
        pids = [target.pid, *([target.child] if target.child else [])]
        found = cold.find_cold(pids, [], 5)
        assert isinstance(found, Cold)
        assert (found.method, found.seconds) == ("damon", 5)
        assert ("DAMON_STAT was off meanwhile" in found.remarks) is (answer(STAT) == "Y")
        for pid in pids:
            shares = target.shares(*(list(part) for part in found.by_pid[pid]))
            assert shares == {"hot": 0, "warm": 0, "cold": 1}


@real
def test_a_process_that_exits_meanwhile(free: None) -> None:
    with Target(mib=8) as stays, Target(mib=8) as goes:
        seen: list[float] = []

        def progress(waited: float, seconds: float) -> None:
            if not seen:
                goes.process.kill()
                goes.process.wait()
            seen.append(waited)

        with ColdSearch() as search:
            found = search.find([stays.pid, goes.pid], 5, progress=progress)
            assert set(found.by_pid) == {stays.pid}
            assert f"pid {goes.pid} exited meanwhile" in found.remarks
            shares = stays.shares(*(list(part) for part in found.by_pid[stays.pid]))
            assert shares == {"hot": 0, "warm": 0, "cold": 1}
    with Target(mib=8) as goes, ColdSearch() as search:
        seen.clear()
        with pytest.raises(CannotTell, match="all processes exited"):
            search.find([goes.pid], 5, progress=progress)


SEARCH = (
    "import sys; from zswap_py.sources.damon import ColdSearch\n"
    "with ColdSearch() as search: search.find([int(sys.argv[1])], 600, "
    "progress=lambda waited, seconds: print('waits', flush=True))\n"
)


def searching(target: Target) -> subprocess.Popen[str]:
    """A search in a process of its own, once it waits."""
    tool = subprocess.Popen(
        [sys.executable, "-c", SEARCH, str(target.pid)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert tool.stdout
    assert tool.stdout.readline() == "waits\n"
    return tool


@real
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_the_kdamond(free: None, number: int) -> None:
    with Target(mib=8) as target:
        tool = searching(target)
        assert answer(f"{ADMIN}/0/state") == "on"
        tool.send_signal(number)
        _, err = tool.communicate(timeout=60)
        assert "KeyboardInterrupt" in err


@real
def test_a_killed_search_leaves_a_kdamond_that_the_next_one_ends(free: None) -> None:
    with Target(mib=8) as target:
        tool = searching(target)
        tool.kill()
        tool.communicate()
        assert answer(f"{ADMIN}/0/state") == "on"
        kdamond = answer(f"{ADMIN}/0/pid")
        with ColdSearch() as search:
            assert f"ended the kdamond (pid {kdamond}) that a killed zswap-py" in search._remarks[0]
            assert answer(NR) == "0"
            assert not Path(f"/proc/{kdamond}").exists()


@real
@pytest.mark.parametrize("state", ["on", "off"])
def test_another_tools_kdamond_is_left_alone(free: None, state: str) -> None:
    stat = answer(STAT)
    with Target(mib=8) as target:
        if stat:
            SYSFS.write(STAT, "N")
        SYSFS.write(NR, 1)
        SYSFS.write(f"{ADMIN}/0/contexts/nr_contexts", 1)
        context = f"{ADMIN}/0/contexts/0"
        SYSFS.write(f"{context}/operations", "vaddr")
        SYSFS.write(f"{context}/targets/nr_targets", 1)
        SYSFS.write(f"{context}/targets/0/pid_target", target.pid)
        if state == "on":
            SYSFS.write(f"{ADMIN}/0/state", "on")
        try:
            kdamond = answer(f"{ADMIN}/0/pid")
            found = cold.find_cold([target.pid], [], 5)
            assert isinstance(found, Unknown)
            assert re.search("another tool: kdamond 0", found.reason)
            assert str(target.pid) in found.reason
            assert answer(f"{ADMIN}/0/state") == state
            assert answer(f"{ADMIN}/0/pid") == kdamond
            assert answer(f"{context}/targets/0/pid_target") == str(target.pid)
        finally:
            if state == "on":
                SYSFS.write(f"{ADMIN}/0/state", "off")
            SYSFS.write(NR, 0)
            if stat:
                SYSFS.write(STAT, stat)


@real
def test_lru_gen_tells_a_cgroups_cold_bytes() -> None:
    group = Path("/sys/fs/cgroup/zswap_py_cold")
    if not (group.parent / "cgroup.controllers").exists():
        pytest.skip("no cgroup v2 here")
    (group / "below").mkdir(parents=True)
    try:
        with Target(group=group / "below") as target:
            release = tuple(map(int, re.findall(r"\d+", os.uname().release)[:2]))
            if lru_gen._WRONG[0] <= release < lru_gen._WRONG[1]:
                pytest.skip("the figures of this release are not believed")
            nodes = lru_gen.cold_bytes("/zswap_py_cold", 8)
            assert abs(sum(nodes.values()) - target.size / 2) < 8 << 20  # the interpreter's
            with pytest.raises(CannotTell, match="lists no cgroup /zswap_py_none"):
                lru_gen.cold_bytes("/zswap_py_none", 1)
    finally:
        (group / "below").rmdir()
        group.rmdir()
