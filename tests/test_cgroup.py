# SPDX-License-Identifier: GPL-2.0-or-later
"""Processes by cgroup, unit and name, and the parts that they make: real groups of this
machine's hierarchy, version 1 or 2. Made-up trees only for what a kernel does not show.
"""

from __future__ import annotations

import contextlib
import os
import random
import re
import time
from array import array
from collections import Counter
from collections.abc import Iterator
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import pytest
from helpers import Run
from test_live import NO_HUGE_PAGES, Family
from test_pages import NOBODY, ROOT, Child, P, as_user, contents, once, page, run_as, tagged

from zswap_py.sources.cgroup import Group, Tree, find_groups, find_units, trees
from zswap_py.sources.coldness import Cold, Unknown
from zswap_py.sources.pagemap import Runs
from zswap_py.sources.pages import By, Pages, SourceError, open_pages
from zswap_py.sources.process import Process
from zswap_py.sources.procfs import open_names
from zswap_py.sources.selection import select
from zswap_py.sources.smaps import shmem_devices

pytestmark = pytest.mark.timeout(120)


class Groups:
    """Groups of this test below one of its own, in the hierarchy that counts."""

    def __init__(self) -> None:
        self.tree = trees()[0]
        self.base = f"zswap_py-{os.getpid()}"
        self.directory = Path(self.tree.mount, self.base)
        self._children: list[Child] = []
        self.directory.mkdir()
        if not self.tree.name:  # version 2: a group has the controllers that its parent gives it
            for parent in (Path(self.tree.mount), self.directory):
                with contextlib.suppress(OSError):  # this kernel or container has none
                    (parent / "cgroup.subtree_control").write_text("+memory")

    def make(self, *names: str) -> None:
        for name in names:
            (self.directory / name).mkdir(parents=True, exist_ok=True)

    def move(self, pid: int, name: str) -> None:
        self.make(name)
        (self.directory / name / "cgroup.procs").write_text(str(pid))

    def child(self, name: str, tag: str, pages: int, **popen: Any) -> Child:
        """A child in a group, with pages of its own."""
        child = Child(**popen)
        self._children.append(child)
        self.move(child.pid, name)
        child.run(NO_HUGE_PAGES, f"a = small({pages})", f"fill(a, b'{tag}', range({pages}))")
        return child

    def path(self, name: str) -> str:
        return f"{self.base}/{name}"

    def close(self) -> None:
        for child in self._children:
            child.kill()
        inner = sorted((Path(d) for d, _, _ in os.walk(self.directory)), reverse=True)
        for directory in inner:
            for _ in range(200):  # a process that was killed leaves its group a little later
                try:
                    directory.rmdir()
                    break
                except OSError:
                    time.sleep(0.02)


@pytest.fixture
def groups() -> Iterator[Groups]:
    try:
        made = Groups()
    except (OSError, SourceError) as e:
        pytest.skip(f"no cgroup can be made here: {e}")
    yield made
    made.close()


def read(**how: Any) -> tuple[Pages, bytes]:
    with open_pages(**({"full": True} | how)) as pages:
        return pages, contents(pages)


def sizes(pages: Pages) -> dict[str, int]:
    """Pages of each part, by its label; they must be all pages."""
    found: Counter[str] = Counter({part.label: 0 for part in pages.parts})
    for cell in pages.cells:
        assert cell.pages is not None
        found[pages.parts[cell.part].label] += cell.pages
    assert sum(found.values()) == pages.pages_total == sum(s.pages or 0 for s in pages.sources)
    return dict(found)


# --- selection ---


def test_a_glob_takes_the_processes_below_each_page_once(groups: Groups) -> None:
    api, cache = groups.child("app/api", "api", 300), groups.child("app/cache", "cache", 200)
    deep = groups.child("app/api/worker/1", "deep", 100)
    other = groups.child("batch", "other", 50)
    pages, data = read(cgroups=[groups.path("app/*"), groups.path("app/api")])
    assert {s.pid for s in pages.sources} == {api.pid, cache.pid, deep.pid}
    assert (tagged(data, b"api"), tagged(data, b"deep")) == (once(range(300)), once(range(100)))
    assert tagged(data, b"cache") == once(range(200))
    assert not tagged(data, b"other")
    for pattern in (f"/{groups.path('app')}/", groups.path("a*"), f"{groups.base}/**/worker"):
        pids = {s.pid for s in read(cgroups=[pattern])[0].sources}
        assert deep.pid in pids
        assert other.pid not in pids


def test_groups_units_names_and_pids_add_up(groups: Groups) -> None:
    api = groups.child("app/api", "api", 30)
    unit = groups.child("system.slice/zsw-one.service", "unit", 30)
    named, pid = groups.child("x", "named", 30), groups.child("y", "pid", 30)
    left = groups.child("z", "left", 30)
    named.run("libc.prctl(15, b'zsw-named-' + str(os.getpid()).encode()[:5], 0, 0, 0)")
    comm = Path(f"/proc/{named.pid}/comm").read_text().strip()
    pages, data = read(
        cgroups=[groups.path("app")],
        units=["zsw-one"],
        names=[comm, f"{comm[:-1]}?", f"{comm}-is-cut-by-the-kernel"[:40]]
        if len(comm) == 15
        else [comm],
        pids=[pid.pid, api.pid],
    )
    assert {s.pid for s in pages.sources} == {api.pid, unit.pid, named.pid, pid.pid}
    for tag in (b"api", b"unit", b"named", b"pid"):
        assert tagged(data, tag) == once(range(30))
    assert left.pid not in {s.pid for s in pages.sources}


def test_a_unit_is_found_wherever_it_is(groups: Groups) -> None:
    groups.make("a/b/zsw-two.service/inner", "a/zsw-slice.slice", "a/zsw@7.service")
    tree = [groups.tree]
    assert [g.path for g in find_units("zsw-two", tree)] == [groups.path("a/b/zsw-two.service")]
    assert find_units("zsw-two.service", tree) == find_units("zsw-two", tree)
    assert [g.path for g in find_units("zsw-slice.slice", tree)] == [
        groups.path("a/zsw-slice.slice")
    ]
    assert [g.path for g in find_units("zsw@*", tree)] == [groups.path("a/zsw@7.service")]
    with pytest.raises(SourceError, match=r"no unit 'zsw-tow' .*: near it.* zsw-two\.service"):
        find_units("zsw-tow", tree)


def test_no_such_group_has_the_nearest(groups: Groups) -> None:
    groups.make("app/api", "app/cache")
    with pytest.raises(SourceError, match=rf"no cgroup .*near it.*{groups.path('app/api')}"):
        find_groups(groups.path("app/apy"), [groups.tree])
    with pytest.raises(SourceError, match=rf"no cgroup .*near it.*{groups.path('app/cache')}"):
        find_groups(groups.path("app/ca[x]*"), [groups.tree])
    for pattern in ("", "..", f"{groups.base}/../{groups.base}", f"{groups.base}//app", "./x"):
        with pytest.raises(SourceError, match=r"there is no cgroup '"):
            find_groups(pattern, [groups.tree])
    with pytest.raises(SourceError, match=r"no cgroup 'xxxx.*\.\.\.'"):
        find_groups("x" * 9000, [groups.tree])


def test_the_root_holds_all(groups: Groups) -> None:
    child = groups.child("app", "mine", 20)
    assert find_groups("/", [groups.tree]) == [Group(groups.tree, "")]
    assert child.pid in select(cgroups=["/"]).found


def test_a_group_without_a_process_is_an_error_or_an_empty_row(groups: Groups) -> None:
    groups.make("app/empty")
    with pytest.raises(SourceError, match=rf"cgroup {groups.path('app')} has no process"):
        open_pages(cgroups=[groups.path("app")])
    groups.child("app/api", "api", 30)
    pages, _ = read(cgroups=[groups.path("app/*")], by="cgroup")
    assert sizes(pages)[groups.path("app/empty")] == 0
    assert sizes(pages)[groups.path("app/api")] > 30
    assert [g.label for g in pages.selection.empty] == [groups.path("app/empty")]


def test_only_kernel_threads_is_an_error() -> None:
    if "kthreadd" not in Path("/proc/2/comm").read_text():
        pytest.skip("pid 2 is not kthreadd here (a pid namespace)")
    with pytest.raises(SourceError, match="name kthreadd has only kernel threads"):
        open_pages(names=["kthreadd"])


def test_an_unknown_name_has_the_nearest(groups: Groups) -> None:
    child = groups.child("app", "x", 1)
    child.run("libc.prctl(15, b'zsw-redis', 0, 0, 0)")
    with pytest.raises(SourceError, match=r"no process of the name 'zsw-rediz': near it is zsw-re"):
        open_pages(names=["zsw-rediz"])


def test_a_user_sees_only_processes_of_the_user(groups: Groups) -> None:
    mine = groups.child("app/a", "mine", 40, **as_user(NOBODY))
    groups.child("app/b", "other", 40)
    code = (
        f"\np = open_pages(cgroups=[{groups.path('app/*')!r}], by='cgroup', full=True)"
        "\nprint([s.pid for s in p.sources], p.processes_denied, [x.label for x in p.parts])"
        "\nprint([(p.parts[c.part].label, c.pages > 40) for c in p.cells])\n"
    )
    out = run_as(code, **as_user(NOBODY)).splitlines()
    labels = [groups.path("app/a"), groups.path("app/b")]
    assert out == [f"[{mine.pid}] 1 {labels}", f"[({labels[0]!r}, True)]"]
    code = (
        f"\ntry: open_pages(cgroups=[{groups.path('app/b')!r}])"
        "\nexcept SourceError as e: print(e)\n"
    )
    out_ = run_as(code, **as_user(NOBODY))
    assert re.match(r"none of 1 processes can be read: .*Run as root", out_)


# --- parts ---


def test_the_matches_are_the_rows(groups: Groups) -> None:
    groups.child("app/api", "api", 300)
    groups.child("app/api/worker", "deep", 100)
    groups.child("app/cache/x/y", "cache", 200)
    lone = groups.child("batch", "other", 50)
    rows = sizes(read(cgroups=[groups.path("app/*")], by="cgroup")[0])
    assert [*rows] == [groups.path("app/api"), groups.path("app/cache")]
    assert rows[groups.path("app/api")] > 400
    nested = sizes(read(cgroups=[groups.path("app"), groups.path("app/api/*")], by="cgroup")[0])
    assert [*nested] == [groups.path("app"), groups.path("app/api/worker")]
    assert nested[groups.path("app")] > 500
    assert 100 < nested[groups.path("app/api/worker")] < nested[groups.path("app")]
    assert sum(nested.values()) == pytest.approx(sum(rows.values()), abs=20)
    with_pid = sizes(read(cgroups=[groups.path("app/*")], pids=[lone.pid], by="cgroup")[0])
    assert with_pid[groups.path("batch")] > 50
    own = sizes(read(pids=[lone.pid], by="cgroup")[0])
    assert [*own] == [groups.path("batch")]


def test_a_shared_page_belongs_to_the_first_group(groups: Groups) -> None:
    if not ROOT:
        pytest.skip("only root sees the frames")
    child = groups.child("app/a", "share", 400)
    child.run("pid = os.fork() or libc.pause()", "tell(pid)")
    second = child.told()
    try:
        groups.move(second, "app/b")
        with open_pages(cgroups=[groups.path("app/*")], by="cgroup", full=True) as pages:
            found = {label: Counter[int]() for label in sizes(pages)}
            for label, data in by_part(pages):
                found[label] += tagged(data, b"share")
        first, other = found.values()
        if child.pid < second:
            assert (first, other) == (once(range(400)), Counter())
        assert first + other == once(range(400))
    finally:
        os.kill(second, 9)


def by_part(pages: Pages) -> Iterator[tuple[str, bytes]]:
    """The pages of each run, with its part's label."""
    for piece in pages.pieces(64 * P):
        at = 0
        for run in pages.runs:
            end = at + run.pages * P
            yield pages.parts[pages.cells[run.cell].part].label, bytes(piece[at:end])
            at = end
        assert at == len(piece)


def test_facts_are_the_kernels(groups: Groups) -> None:
    groups.make("app")
    if not (groups.directory / "app" / "memory.stat").exists():
        pytest.skip("no memory controller here")
    child = groups.child("app", "anon", 5000)
    child.run("s = new(3000, shared=True)", "fill(s, b'shm', range(3000))")
    deadline = time.monotonic() + 60  # the kernel sums them up every two seconds
    while True:
        pages, _ = read(cgroups=[groups.path("app")], by="cgroup")
        facts = pages.parts[0].facts
        if facts.get("shmem", 0) >= 2500 * P:
            break
        assert time.monotonic() < deadline, facts
        time.sleep(0.5)
    assert 4500 * P <= facts["anon"] <= 7000 * P
    assert 2500 * P <= facts["shmem"] <= 3500 * P
    known = ["anon", "shmem", "swap"] if groups.tree.name else ["anon", "shmem"]
    assert [*facts][: len(known)] == known
    if not groups.tree.name:  # version 2: kernels with zswap count it
        stat = Path(groups.directory, "app", "memory.stat").read_text()
        assert ("zswapped" in facts) == ("\nzswapped " in stat)
    without, _ = read(cgroups=[groups.path("app")], by="process")
    assert [part.facts for part in without.parts] == [{}]


def test_parts_by_process_and_by_mapping(groups: Groups) -> None:
    one, two = groups.child("app/a", "one", 300), groups.child("app/b", "two", 200)
    for child in (one, two):
        child.run(
            "fd = os.memfd_create('zsw-object'); os.ftruncate(fd, 40 * P)",
            "s = new(40, fd, shared=True)",
            "fill(s, b'shm', range(40))",
            "z = new(30, shared=True)",
            "fill(z, b'zero', range(30))",
        )
    chosen = {"pids": [one.pid, two.pid]}
    rows = sizes(read(**chosen, by="process")[0])
    assert [*rows] == [f'pid {c.pid} "{c.comm}"' for c in (one, two)]
    assert rows[f'pid {one.pid} "{one.comm}"'] > 300
    with open_pages(**chosen, by="mapping", full=True) as pages:
        rows = sizes(pages)
        assert {part.kind for part in pages.parts} == {"mapping"}
        found = {label: Counter[bytes]() for label in rows}
        for label, data in by_part(pages):
            found[label].update(data[at : at + 8].rstrip(b"\0") for at in range(0, len(data), P))
    assert rows["/memfd:zsw-object"] == found["/memfd:zsw-object"][b"shm"] == 80
    assert rows["shared anonymous"] == found["shared anonymous"][b"zero"] == 60
    assert found["anonymous"][b"one"] == 300
    assert found["anonymous"][b"two"] == 200
    assert rows["[heap]"] > 0
    assert rows["[stack]"] > 0
    assert not [label for label in rows if label.endswith("(deleted)")]


def test_a_named_anonymous_mapping_is_a_part(groups: Groups) -> None:
    child = groups.child("app", "a", 30)
    try:
        # PR_SET_VMA, PR_SET_VMA_ANON_NAME
        child.run(
            "libc.prctl.argtypes = [ctypes.c_int, *[ctypes.c_ulong] * 3, ctypes.c_char_p]",
            "check(libc.prctl(0x53564d41, 0, a, 30 * P, b'arena'))",
        )
    except RuntimeError:
        pytest.skip("this kernel has no CONFIG_ANON_VMA_NAME")
    assert sizes(read(pids=[child.pid], by="mapping")[0])["[anon:arena]"] == 30


def test_files_are_parts_of_their_own(tmp_path: Path, groups: Groups) -> None:
    for name in "ab":
        (tmp_path / name).write_bytes(os.urandom(20 * P))
    files = [tmp_path / "a", tmp_path / "b"]
    for by in ("process", "mapping", "cgroup"):
        pages, _ = read(files=files, by=by)
        assert [(part.kind, part.label) for part in pages.parts] == [
            ("file", str(file)) for file in files
        ]
        assert sizes(pages) == {str(file): 20 for file in files}
    child = groups.child("app", "a", 30)
    pages, _ = read(files=files, pids=[child.pid], by="cgroup")
    assert [part.kind for part in pages.parts] == ["file", "file", "cgroup"]
    pages, _ = read(files=files, pids=[child.pid])
    assert [(part.kind, part.label) for part in pages.parts] == [("all", "all")]
    assert len(pages.cells) == 1


# --- what happens meanwhile ---


def test_a_process_that_moves_meanwhile_is_counted_once_and_named(
    groups: Groups, monkeypatch: pytest.MonkeyPatch
) -> None:
    child = groups.child("app/a", "move", 60)
    groups.make("app/b")
    mappings = Process.mappings

    def then_moves(process: Process) -> Any:
        if process.pid == child.pid:
            groups.move(child.pid, "app/b")
        return mappings(process)

    monkeypatch.setattr(Process, "mappings", then_moves)
    pages, data = read(cgroups=[groups.path("app/*")], by="cgroup")
    assert tagged(data, b"move") == once(range(60))
    rows = sizes(pages)
    assert rows[groups.path("app/a")] > 60
    assert rows[groups.path("app/b")] == 0
    a, b = groups.path("app/a"), groups.path("app/b")
    assert pages.processes_moved == {
        child.pid: f"pid {child.pid} ({child.comm}) moved to cgroup {b}: counted in {a}"
    }


@pytest.mark.parametrize("when", ["before", "within"])
def test_a_process_that_exits_meanwhile_leaves_the_others(
    groups: Groups, monkeypatch: pytest.MonkeyPatch, when: str
) -> None:
    lives, dies = groups.child("app/a", "lives", 60), groups.child("app/b", "dies", 60)
    if when == "before":
        find = Process.find

        def gone(pid: int) -> Process:
            if pid == dies.pid:
                dies.kill()
            return find(pid)

        monkeypatch.setattr(Process, "find", gone)
    else:
        mappings = Process.mappings

        def then_exits(process: Process) -> Any:
            found = mappings(process)
            if process.pid == dies.pid:
                dies.kill()
            return found

        monkeypatch.setattr(Process, "mappings", then_exits)
    pages, data = read(cgroups=[groups.path("app/*")], by="cgroup")
    assert tagged(data, b"lives") == once(range(60))
    assert [s.pid for s in pages.sources] == [lives.pid]
    assert sizes(pages)[groups.path("app/b")] == 0


def test_a_process_that_exits_while_it_is_read_is_in_its_cell(groups: Groups) -> None:
    lives, dies = groups.child("app/a", "lives", 60), groups.child("app/b", "dies", 60)
    with open_pages(cgroups=[groups.path("app/*")], by="cgroup", full=True) as pages:
        dies.kill()
        data = contents(pages)
    assert tagged(data, b"lives") == once(range(60))
    assert [*pages.processes_gone] == [dies.pid]
    lost = pages.cells[1]
    assert pages.parts[lost.part].label == groups.path("app/b")
    assert (lost.pages_read, lost.vanished) == (0, lost.pages)
    assert lives.pid not in pages.processes_gone
    sizes(pages)


# --- every page once, whatever the rows ---


def runs_of(ranges: list[tuple[int, int]]) -> Runs:
    runs = Runs.none()
    for start, end in ranges:
        runs.append(start, end)
    return runs


def some_ranges(rng: random.Random, pid: int) -> list[tuple[int, int]]:
    """Random ranges, ascending and apart, over the process's mappings."""
    found: list[tuple[int, int]] = []
    for line in Path(f"/proc/{pid}/maps").read_text().splitlines():
        start, end = (int(a, 16) for a in line.split()[0].split("-"))
        at, end = start, min(end, start + (1 << 32))
        while at < end and rng.random() < 0.8:
            at += rng.choice([0, 1, 3, 50, 200]) * P
            stop = min(end, at + rng.choice([1, 2, 7, 100, 500]) * P)
            if at < stop:
                found.append((at, stop))
            at = stop + P
    return found


@pytest.mark.parametrize("seed", range(8))
def test_parts_and_cells_add_up_for_any_tree(groups: Groups, seed: int) -> None:
    if not ROOT:
        pytest.skip("only root sees the frames, and so each page of forks exactly once")
    rng = random.Random(seed)
    family = Family({})
    try:
        family.run("a = small(600)", "fill(a, b'tree', range(600))", "tell(a)")
        base = family.child.told()
        family.run("s = new(90, shared=True)", "fill(s, b'shm', range(90))")
        for i in range(rng.randrange(4)):
            family.fork(
                f"(fill(a, b'own{'xyzw'[i]}', range({rng.randrange(300)}, 600, "
                f"{rng.randrange(2, 9)})), read(s, range(90)))"
            )
        for pid in family.pids:
            groups.move(pid, rng.choice(["a", "a/b", "a/b/c", "d"]))
        cold = Cold(
            "damon",
            5,
            by_pid={p: runs_of(some_ranges(rng, p)) for p in family.pids if rng.random() < 0.8},
        )
        totals = set()
        for by in (None, "process", "mapping", "cgroup"):
            for known in (None, cold, Unknown("a", "b")):
                pages = check(groups, by, known, base, rng)
                totals.add(pages.pages_total)
        # the processes sleep, but the first one, which answers, may touch a page
        assert max(totals) - min(totals) <= 4  # type: ignore[operator, type-var]
    finally:
        family.close()


def check(
    groups: Groups, by: By | None, cold: Cold | Unknown | None, base: int, rng: random.Random
) -> Pages:
    """Reads all, or in rounds, and compares every page with where it is."""
    how: dict[str, Any] = rng.choice([{"full": True}, {}, {"precision": 0.05}])
    patterns = rng.choice([["*"], ["a", "d*"], ["*", "a/*"], ["**"]])
    wanted = [groups.path(pattern) for pattern in patterns]
    wanted = [pattern for pattern in wanted if groups.tree.matching(pattern)]
    with open_pages(
        cgroups=wanted, by=by, cold=cold, run_pages=rng.choice([1, 8, 16]), **how
    ) as pages:
        sizes(pages)
        assert {(c.part, c.cold) for c in pages.cells} == set(pages._cell_of)
        assert not how.get("full") or not pages.sampled
        pids = [source.pid for source in pages.sources]
        found: Counter[bytes] = Counter()
        numbers: dict[int, int] = {}
        for piece in pages.pieces(256 * P):
            assert sum(run.pages for run in pages.runs) * P == len(piece)
            at = 0
            for run in pages.runs:
                assert numbers.setdefault(run.number, run.cell) == run.cell
                cell = pages.cells[run.cell]
                part = pages.parts[cell.part]
                for i in range(at, at + run.pages):
                    data = bytes(piece[i * P : (i + 1) * P])
                    name, index = data[:8].rstrip(b"\0"), int.from_bytes(data[8:16], "little")
                    if name in (b"tree", b"shm") or name.startswith(b"own"):
                        assert data == page(name, index)
                        found[data[:16]] += 1
                    if name == b"tree" or name.startswith(b"own"):
                        temperature(cold, cell.cold, by, part.label, pids, base + index * P)
                at += run.pages
        assert sum(cell.pages_read for cell in pages.cells) == pages.pages_read
        assert sum(cell.vanished for cell in pages.cells) == pages.not_read.vanished
        for cell in pages.cells:
            assert cell.pages == cell.pages_read + cell.vanished
        sizes(pages)
    assert {n for head, n in found.items() if not head.startswith(b"own")} == {1}
    assert sum(head.startswith(b"shm") for head in found) == 90
    return pages


def temperature(
    cold: Cold | Unknown | None,
    is_cold: bool | None,
    by: By | None,
    label: str,
    pids: list[int | None],
    address: int,
) -> None:
    """Checks a page's cell against the ranges of its process, or of any."""
    if not isinstance(cold, Cold):
        assert is_cold is None
        return
    among = [int(label.split()[1])] if by == "process" else [pid for pid in pids if pid]
    assert is_cold in {
        None
        if pid not in cold.by_pid
        else any(s <= address < e for s, e in zip(*cold.by_pid[pid], strict=True))
        for pid in among
    }


def test_many_mappings_and_many_cold_ranges_take_no_product_of_time(groups: Groups) -> None:
    child = groups.child("app", "few", 1)
    child.run(
        "m = small(6000)",
        "fill(m, b'maps', range(0, 6000, 2))",
        "[check(libc.mprotect(m + i * P, P, 1)) for i in range(0, 6000, 2)]",
        "tell(m)",
    )
    far = Runs(
        array("Q", range(1 << 20, (1 << 20) + 400_000 * P, 2 * P)),
        array("Q", range((1 << 20) + P, (1 << 20) + 400_000 * P + P, 2 * P)),
    )
    far.append(child.told(), child.told() + 1000 * P)
    began = time.process_time()
    with open_pages(pids=[child.pid], cold=Cold("damon", 5, by_pid={child.pid: far})) as pages:
        assert time.process_time() - began < 5  # some 0.3 s
    assert {cell.cold: cell.pages for cell in pages.cells}[True] == 500


# --- rounds ---


def test_rounds_end_where_the_caller_says(groups: Groups) -> None:
    large, small = groups.child("app/a", "big", 9000), groups.child("app/b", "small", 700)
    with open_pages(pids=[large.pid, small.pid], by="process", run_pages=8) as pages:
        assert pages.pages_planned == pages.pages_total
        assert not pages.sampled
        ends = 0
        read: Counter[int] = Counter()
        for piece in pages.pieces(200 * P):
            ends += pages.round_ended
            for run in pages.runs:
                read[run.cell] += run.pages
            assert len(piece) == 200 * P or pages.round_ended
            if pages.round_ended and ends == 2:
                pages.enough(0)
                assert pages.sampled
                seen = read.copy()
            elif ends == 1:
                assert read[0] < 1.1 * (4 << 20) // P
        assert read[0] == seen[0] == pages.cells[0].pages_read
        assert 0.9 * (4 << 20) // P <= read[0] <= 1.1 * (4 << 20) // P
        assert read[1] == pages.cells[1].pages  # a small one is read whole
        assert pages.pages_read == pages.pages_planned == sum(read.values())
        with pytest.raises(ValueError, match="cell is 2: give 0 to 1"):
            pages.enough(2)


def test_enough_within_a_round_ends_with_it(groups: Groups) -> None:
    """Else the first addresses would be in the sample, and the last would not."""
    child = groups.child("app", "big", 9000)
    with open_pages(pids=[child.pid]) as pages:
        pieces = pages.pieces(16 * P)
        next(pieces)
        assert not pages.round_ended
        pages.enough(0)
        for _ in pieces:
            pass
        assert pages.round_ended
        assert 0.9 * (2 << 20) // P <= pages.pages_read <= 1.1 * (2 << 20) // P
        last = next(a for a in reversed(pages._plan[0].where))
    assert last > child_address(child)


def child_address(child: Child) -> int:
    child.run("tell(a)")
    return child.told()


def test_a_core_in_rounds_drops_its_zeros_in_proportion(tmp_path: Path) -> None:
    from test_corefile import Recipe, Segment

    content = b"".join(bytes(P) + page(b"core", i) for i in range(4000))
    core = tmp_path / "core"
    core.write_bytes(Recipe([Segment(content)]).bytes())
    whole, _ = read(files=[core])
    for stop in (None, 1, 2):
        with open_pages([core], precision=0.05) as pages:
            ends = 0
            for _ in pages.pieces(64 * P):
                ends += pages.round_ended
                if ends == stop:
                    pages.enough(0)
            assert pages.pages_total == pages.cells[0].pages
            assert pages.pages_total + pages.not_read.zero_mapped == 8000
            if stop:
                assert pages.sampled
                assert pages.pages_total == pytest.approx(4000, rel=0.1)
            else:
                assert pages.pages_total == pages.pages_read == whole.pages_total == 4000


# --- what no kernel here shows: other mounts, other namespaces ---


MOUNTS = """\
30 23 0:27 / /sys/fs/cgroup ro,nosuid - tmpfs tmpfs ro,mode=755
31 30 0:28 / /sys/fs/cgroup/unified rw,nosuid - cgroup2 cgroup2 rw,nsdelegate
32 30 0:29 / /sys/fs/cgroup/systemd rw,nosuid - cgroup cgroup rw,xattr,name=systemd
33 30 0:30 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct
34 30 0:31 /docker/12 /mnt/a\\040b rw shared:3 master:1 - cgroup cgroup rw,hugetlb,memory
35 30 0:31 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,hugetlb,memory
"""


def mountinfo(tmp_path: Path, *lines: int) -> str:
    all_lines = MOUNTS.splitlines()
    path = tmp_path / "mountinfo"
    path.write_text("".join(f"{all_lines[i]}\n" for i in lines))
    return str(path)


def test_the_memory_controllers_hierarchy_comes_first(tmp_path: Path) -> None:
    assert trees(mountinfo(tmp_path, *range(6))) == [
        Tree("memory", "/sys/fs/cgroup/memory"),
        Tree("", "/sys/fs/cgroup/unified"),
        Tree("name=systemd", "/sys/fs/cgroup/systemd"),
    ]
    assert trees(mountinfo(tmp_path, 0, 4)) == [Tree("memory", "/mnt/a b", "/docker/12")]
    assert trees(mountinfo(tmp_path, 1)) == [Tree("", "/sys/fs/cgroup/unified")]
    with pytest.raises(SourceError, match="no cgroup hierarchy is mounted here: mount -t cgroup2"):
        trees(mountinfo(tmp_path, 0, 3))


@pytest.mark.parametrize(
    ("tree", "path"),
    [
        (Tree("memory", "/m"), "docker/12/a:b"),
        (Tree("memory", "/m", "/docker/12"), "a:b"),
        (Tree("memory", "/m", "/docker/12/a:b"), ""),
        (Tree("memory", "/m", "/docker/7"), "../12/a:b"),
        (Tree("", "/m"), ""),
        (Tree("name=systemd", "/m"), "system.slice/x.service"),
    ],
)
def test_a_path_is_the_one_below_the_mount(tmp_path: Path, tree: Tree, path: str) -> None:
    (tmp_path / "cgroup").write_text(
        "9:name=systemd:/system.slice/x.service\n4:hugetlb,memory:/docker/12/a:b\n0::/\n"
    )
    assert tree.of(str(tmp_path)) == path
    assert tree.of(str(tmp_path / "gone")) is None
    assert not Group(tree, "").holds("../12/a:b")


@pytest.mark.parametrize("end", ["\r", "\x0b", "\x0c", "\x1c", "\x85", "\u2028"])
def test_only_a_newline_ends_a_line(tmp_path: Path, end: str) -> None:
    name = f"a{end}0::{end}/b"
    (tmp_path / "cgroup").write_bytes(f"0::/{name}\n".encode())
    assert Tree("", "/m").of(str(tmp_path)) == name
    table = tmp_path / "mountinfo"
    fake = f"30 1 0:30 / /tmp/x{end}y rw - tmpfs z{end}w rw\n"
    table.write_bytes(f"{fake}31 1 0:26 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n".encode())
    assert trees(str(table)) == [Tree("", "/sys/fs/cgroup")]
    # the device of a line's rest would be a third
    with open_names(str(table)) as f:
        assert shmem_devices(f.read()) == shmem_devices("") | {b"00:1e"}


@pytest.mark.parametrize(
    ("path", "root", "below"),
    [
        ("/../../system.slice/x", "/", "../../system.slice/x"),
        ("/../x", "/..", "x"),
        ("/", "/", ""),
    ],
)
def test_a_group_outside_the_namespace_is_none_inside(
    tmp_path: Path, path: str, root: str, below: str
) -> None:
    (tmp_path / "cgroup").write_text(f"0::{path}\n")
    assert Tree("", "/m", root).of(str(tmp_path)) == below


def test_a_group_holds_those_below_it_alone() -> None:
    group = Group(Tree("", "/m"), "app/api")
    assert [
        path for path in ("app/api", "app/api/x", "app/api2", "app", "") if group.holds(path)
    ] == [
        "app/api",
        "app/api/x",
    ]


def test_a_group_that_only_another_hierarchy_has_is_found(tmp_path: Path) -> None:
    for name in ("memory", "systemd/system.slice/nginx.service"):
        (tmp_path / name).mkdir(parents=True)
    memory, systemd = (
        Tree("memory", f"{tmp_path}/memory"),
        Tree("name=systemd", f"{tmp_path}/systemd"),
    )
    found = Group(systemd, "system.slice/nginx.service")
    assert find_units("nginx", [memory, systemd]) == [found]
    assert find_groups("system.slice/*", [memory, systemd]) == [found]
    assert found.facts() == {}


# --- the command line ---


CROWD = "zsw-crowd"
BAD: list[tuple[list[str], int, str]] = [  # what is typed, the exit code, the last line
    (["--cgroup", "no-such/group"], 1, "zswap-py: there is no cgroup 'no-such/group' below *"),
    (["--cgroup", "no-such-*"], 1, "zswap-py: there is no cgroup 'no-such-[*]' below *"),
    (["--cgroup", ""], 1, "zswap-py: there is no cgroup '' below *"),
    (["--cgroup", "../.."], 1, "zswap-py: there is no cgroup '../..' below *"),
    (["--cgroup"], 2, "zswap-py report: error: argument --cgroup: expected one argument"),
    (["--unit", "no-such-unit"], 1, "zswap-py: there is no unit 'no-such-unit' below *"),
    (["--unit", "x" * 9000], 1, "zswap-py: there is no unit 'xxxx*...' below *"),
    (["--name", "no such name"], 1, "zswap-py: there is no process of the name 'no such name'*"),
    (["--name", "re\x1b[31m"], 1, r"zswap-py: there is no process of the name 're\x1b[[]31m'*"),
    (["--name", "kthreadd"], 1, "zswap-py: name kthreadd has only kernel threads, without *"),
    (["--by", "thread"], 2, "zswap-py report: error: argument --by: *'thread'*"),
    (
        ["--cold", "0"],
        2,
        "zswap-py report: error: argument --cold: '0' is not a whole number from 1",
    ),
    (
        ["--cold", "-5"],
        2,
        "zswap-py report: error: argument --cold: '-5' is not a whole number from 1",
    ),
    (
        ["--cold", "86401"],
        2,
        "zswap-py report: error: argument --cold: '86401' is too large: give 86400 or less",
    ),
    (["--cold", "9" * 5000], 2, "zswap-py report: error: argument --cold: '999*...' is too large*"),
    (
        ["--cold-intrusive"],
        2,
        "zswap-py report: error: argument --cold-intrusive: give it with --cold SECONDS",
    ),
    (
        ["--cold", "5", "FILE"],
        2,
        "zswap-py report: error: argument --cold: files do not show it: give live processes, *",
    ),
]


@pytest.mark.parametrize(("argv", "code", "line"), BAD, ids=lambda value: ascii(value)[:40])
def test_bad_input_has_its_line(
    run: Run, memory: Path, argv: list[str], code: int, line: str
) -> None:
    typed = [str(memory) if word == "FILE" else word for word in argv]
    if "kthreadd" in argv and "kthreadd" not in Path("/proc/2/comm").read_text():
        pytest.skip("pid 2 is not kthreadd here (a pid namespace)")
    got, out, err = run("report", *typed)
    assert (got, out) == (code, "")
    assert fnmatchcase(err.splitlines()[-1], line), err


def test_an_empty_group_and_a_group_of_nothing_else(run: Run, groups: Groups) -> None:
    groups.make("empty")
    code, out, err = run("report", "--cgroup", groups.path("empty"))
    assert (code, out) == (1, "")
    assert err == (
        f"zswap-py: cgroup {groups.path('empty')} has no process: it is empty, or zswap-py alone "
        "is in it. Give another\n"
    )


def test_by_without_processes_is_by_file(run: Run, memory: Path) -> None:
    for by in ("process", "mapping", "cgroup"):
        code, out, err = run("report", memory, "--by", by, "-c", "lz4")
        assert (code, err) == (0, "")
        assert out


def test_a_group_is_reported(run: Run, groups: Groups) -> None:
    groups.child("app/api", "api", 300)
    groups.make("app/idle")
    code, _out, err = run("report", "--cgroup", groups.path("app/*"), "-c", "lz4", "--full")
    assert code == 0
    assert f"no process is in cgroup {groups.path('app/idle')}" in err
