# SPDX-License-Identifier: GPL-2.0-or-later
"""verify/ and the subcommand; this machine's kernel only where it is asked for.

The live tests change this machine's zswap and zram for a while: root, no swap in use,
and ZSWAP_VERIFY=1.
"""

from __future__ import annotations

import copy
import csv
import dataclasses
import errno
import importlib
import io
import json
import os
import signal
import struct
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from corpus import SEEDS, corpus
from helpers import Run, of_kernel_sizes

import zswap_py as zs
from zswap_py import verify
from zswap_py._lib.signals import interruptions
from zswap_py.corpus import FIGURES
from zswap_py.kernels import kernel_for
from zswap_py.verify import Comparison, Verdict, compare, walk
from zswap_py.verify import host as hostkernel
from zswap_py.verify.host import Host, HostError
from zswap_py.zram import Zram

P = os.sysconf("SC_PAGE_SIZE")
COMMAND = [sys.executable, "-m", "zswap_py", "verify"]
RECORDED = json.loads((Path(__file__).parent / "data" / "kernel_figures.json").read_text())

pytestmark = pytest.mark.skipif(
    P != 4096, reason=("the recorded figures are of pages of 4,096 bytes")
)


# ---- the verdict ----


def steps(*pools: int, stored: int = 100) -> list[dict[str, int]]:
    return [
        {"pool_total_size": n, "stored_pages": stored, "stored_incompressible_pages": 0}
        for n in pools
    ]


POOLS = (8 * P, 7 * P, 8 * P, 6 * P, 5 * P, 6 * P)


def comparison(name: str = "lzo", **changes: Any) -> Comparison:
    made = Comparison(
        where="zswap",
        name=name,
        backend="kernel",
        library_version=None,
        kernel_sizes=True,
        remedy=None,
        kernel=steps(*POOLS),
        ours=steps(*POOLS),
        steady=True,
        page_stores=None,
        page_stores_differ=None,
        page_largest_difference=None,
    )
    return dataclasses.replace(made, **changes)


def make(*comparisons: Comparison, **changes: Any) -> Verdict:
    made = Verdict(
        schema=1,
        command="zswap-py verify x",
        host={"kernel": "6.18.1", "machine": "x86_64"},
        source="x",
        page_size=P,
        chain_size=8,
        rules="6.18",
        remark="",
        pages=100,
        zero_pages=0,
        comparisons=list(comparisons),
        not_compared={},
        broken_off={},
        meanwhile=[],
    )
    return dataclasses.replace(made, **changes)


A_STEP_OFF = [*steps(*POOLS[:4]), *steps(5 * P - 4096, 6 * P)]


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({}, 0),
        ({"ours": A_STEP_OFF}, 3),
        ({"ours": steps(*POOLS, stored=99)}, 3),  # the pool is the kernel's, a counter is not
        ({"ours": A_STEP_OFF, "kernel_sizes": False}, 0),
        ({"page_stores": 9, "page_stores_differ": 1, "page_largest_difference": -2}, 3),
        ({"page_stores": 9, "page_stores_differ": 0, "page_largest_difference": 0}, 0),
    ],
)
def test_one_figure_of_one_codec_that_claims_decides(changes: dict[str, Any], code: int) -> None:
    found = make(comparison("lz4"), comparison(**changes))
    assert found.exit_code == code
    text = verify.to_text(found)
    assert ("These claim the kernel's sizes, but differ: zswap lzo." in text) == (code == 3)
    assert ("Every codec that claims the kernel's sizes has them" in text) == (code == 0)


def test_nothing_that_claims_is_no_success() -> None:
    found = make(comparison("zstd", kernel_sizes=False))
    assert found.exit_code == 1
    assert "No codec that claims the kernel's sizes" in verify.to_text(found)


def test_the_table_has_the_largest_difference_of_any_step_with_its_sign() -> None:
    rows = [
        comparison(ours=A_STEP_OFF),
        comparison("lz4", ours=steps(9 * P, *POOLS[1:]), kernel_sizes=False),
    ]
    lines = verify.to_text(
        make(*rows, zero_pages=1234, not_compared={"zram": ("there is no zram: modprobe zram")})
    )
    cells = {
        line.split()[1]: line.split() for line in lines.splitlines() if line.startswith("zswap ")
    }
    assert cells["lzo:kernel"][2:] == ["32,768", "0", "-4,096", "-", "differs"]
    assert cells["lz4:kernel"][2:] == ["~", "32,768", "+4,096", "+4,096", "-", "differs"]
    assert "1,234 zero-filled pages" in lines
    assert "zram was not compared: there is no zram: modprobe zram" in lines
    assert max(map(len, lines.splitlines())) <= 80
    assert "\x1b" not in lines
    assert "\x1b" in verify.to_text(make(*rows), colour=True)


def test_what_the_reader_should_doubt_is_said() -> None:
    said = verify.to_text(
        make(comparison(steady=False), comparison("lz4", ours=steps(*POOLS, stored=7))), width=200
    )
    assert "zswap lzo: the kernel's figures changed from run to run" in said
    assert "zswap lz4:kernel: counters that differ: stored_pages" in said


def test_the_json_has_every_figure() -> None:
    data = json.loads(verify.to_json(make(comparison(ours=A_STEP_OFF))))
    assert (data["exit_code"], data["comparisons"][0]["exact"]) == (3, False)
    assert data["comparisons"][0]["kernel"] == steps(*POOLS)
    assert data["comparisons"][0]["ours"][4]["pool_total_size"] == 5 * P - 4096


def test_csv_has_a_row_for_each_figure_of_each_step() -> None:
    made = make(comparison(ours=A_STEP_OFF), comparison("lz4", kernel_sizes=False))
    rows = list(csv.DictReader(io.StringIO(verify.to_csv(made))))
    assert len(rows) == 2 * sum(len(step) for step in steps(*POOLS))
    (off,) = (row for row in rows if row["kernel"] != row["ours"])
    assert (off["name"], off["step"], off["figure"]) == ("lzo", "loaded again", "pool_total_size")
    assert int(off["ours"]) == 5 * P - 4096
    assert {row["kernel_sizes"] for row in rows if row["name"] == "lz4"} == {"False"}


def test_markdown_has_the_verdict_and_the_table() -> None:
    row = comparison("a|b", ours=steps(9 * P, *POOLS[1:]), page_stores=9, page_stores_differ=1)
    text = verify.to_markdown(make(row, zero_pages=3))
    assert text.startswith("**These claim the kernel's sizes, but differ: zswap a\\|b.**\n")
    assert "| zswap | a\\|b:kernel | 32,768 | +4,096 | 1 |\n" in text
    assert text.endswith("\n- 3 zero-filled pages were left out: they never reach zswap\n")


# ---- what the kernel says when it is asked again ----


@pytest.mark.parametrize(
    ("says", "expected", "result", "asked"),
    [
        ([5], [5], (5, True), 1),
        ([6, 5], [5], (5, True), 2),
        ([6, 6, 5], [5], (6, True), 2),  # what it says twice is what it is, whatever we expect
        ([6, 7, 6], [5], (6, True), 3),
        ([6, 7, 8], [5], (8, False), 3),
    ],
)
def test_settled(
    says: list[int], expected: list[int], result: tuple[int, bool], asked: int
) -> None:
    left = iter(says)
    assert compare.settled(lambda: next(left), expected) == result
    assert len(says) - len(list(left)) == asked


# ---- refusals ----


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """What a kernel with zswap and zram, and nothing swapped, shows."""
    for name, text in {
        "sys/module/zswap/parameters/enabled": "N\n",
        "sys/module/zswap/parameters/compressor": "lzo\n",
        "sys/class/zram-control/hot_add": "0\n",
        "proc/swaps": "Filename Type Size Used Priority\n",
        "proc/meminfo": "MemTotal: 9 kB\nMemAvailable:     2048 kB\n",
        "proc/sys/vm/page-cluster": "3\n",
    }.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return tmp_path


@pytest.fixture
def linux(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    return lambda release: monkeypatch.setattr(hostkernel.platform, "release", lambda: release)


def test_a_machine_that_can_be_asked(tree: Path, linux: Callable[[str], None]) -> None:
    linux("6.16.0-arch")
    host = Host(tree)
    host.must_be_usable(euid=0)
    assert (host.no_zswap(), host.no_zram(), host.mem_available(), host.chain_size()) == (
        None,
        None,
        2 << 20,
        8,
    )


def test_refused_unless_root(tree: Path) -> None:
    with pytest.raises(HostError, match="sudo zswap-py verify"):
        Host(tree).must_be_usable(euid=1000)


def test_refused_where_swap_is_in_use(tree: Path) -> None:
    (tree / "proc/swaps").write_text(
        "Filename Type Size Used Priority\n/dev/sda2 partition 9 9 -2\n"
    )
    with pytest.raises(HostError, match=r"swap is in use \(/dev/sda2\).*swapoff -a"):
        Host(tree).must_be_usable(euid=0)
    with pytest.raises(HostError, match=r"swap is in use"), Host(tree).swap_area(tree, P):
        pass


def test_refused_with_neither_and_usable_with_one(tree: Path, linux: Callable[[str], None]) -> None:
    linux("6.18.0")
    (tree / "sys/class/zram-control/hot_add").unlink()
    Host(tree).must_be_usable(euid=0)
    (tree / "sys/module/zswap").rename(tree / "sys/module/none")
    with pytest.raises(
        HostError,
        match=(
            r"no zswap: boot one with CONFIG_ZSWAP=y; there is no zram: modprobe "
            r"zram"
        ),
    ):
        Host(tree).must_be_usable(euid=0)


def test_zswap_of_other_rules_is_not_compared(tree: Path, linux: Callable[[str], None]) -> None:
    linux("6.11.9-generic")
    assert "boot 6.12 or later" in str(Host(tree).no_zswap())
    linux("6.12.0")
    assert Host(tree).no_zswap() is None
    assert [compare.rules_of(release) for release in ("6.1.0-50-amd64", "6.17.1", "7.0.0-rc1")] == [
        "6.12",
        "6.17",
        "7.0",
    ]


def test_the_chain_size_is_the_configured_one(tree: Path, linux: Callable[[str], None]) -> None:
    linux("6.18.7")
    (tree / "boot").mkdir()
    (tree / "boot/config-6.18.7").write_text("CONFIG_ZSMALLOC=y\nCONFIG_ZSMALLOC_CHAIN_SIZE=10\n")
    assert Host(tree).chain_size() == 10
    linux("6.18.8")
    assert Host(tree).chain_size() == 8
    (tree / "lib/modules/6.18.8").mkdir(parents=True)
    (tree / "lib/modules/6.18.8/config").write_text("CONFIG_ZSMALLOC_CHAIN_SIZE=16\n")
    assert Host(tree).chain_size() == 16
    linux("6.2.16")
    assert Host(tree).chain_size() == 4


def test_what_is_changed_is_put_back(tree: Path) -> None:
    host = Host(tree)
    before = host.settings()
    with pytest.raises(ZeroDivisionError), host.setting(host.page_cluster, "0"):
        assert host.settings()[str(host.page_cluster)] == "0"
        raise ZeroDivisionError
    host.note_changes(before)
    assert host.meanwhile == []
    assert host.settings() == before


def test_what_another_makes_of_a_setting_stays_and_is_named_once(tree: Path) -> None:
    host = Host(tree)
    before = host.settings()
    with host.setting(host.page_cluster, "0"):
        host.page_cluster.write_text("5\n")
    (tree / "proc/swaps").write_text(
        "Filename Type Size Used Priority\n/dev/sda2 partition 9 9 -2\n"
    )
    host.note_changes(before)
    assert host.page_cluster.read_text() == "5\n"
    assert host.meanwhile == [
        f"{host.page_cluster} was '3', then '0' here; another program wrote '5', which stays",
        "swap areas was '' and is '/dev/sda2'",
    ]


def test_a_zram_device_that_another_holds_stays_and_is_named(
    tree: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    host = Host(tree)

    def busy(call: Callable[[], Any]) -> None:
        raise OSError(errno.EBUSY, "busy")

    monkeypatch.setattr(hostkernel, "_try_often", busy)
    with host.zram_device():
        pass
    assert host.meanwhile == [
        "zram0 stays: another program has it open. Once it is closed: echo 0 > "
        f"{tree}/sys/class/zram-control/hot_remove"
    ]


def test_a_directory_that_takes_no_swap_file(tree: Path) -> None:
    with (
        pytest.raises(HostError, match="is not a directory: name one with --dir"),
        Host(tree).swap_area(tree / "none", P),
    ):
        pass


def test_the_swap_files_header(tmp_path: Path) -> None:
    path = tmp_path / "swap"
    hostkernel._write_swap_file(path, 10 * P)
    data = path.read_bytes()
    assert (len(data), path.stat().st_mode & 0o777) == (10 * P, 0o600)
    assert struct.unpack_from("=III", data, 1024) == (1, 9, 0)
    assert data[P - 10 : P] == b"SWAPSPACE2"


# ---- signals ----


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_raises_where_it_is_looked_for_and_nowhere_else(number: int) -> None:
    old, undone = signal.getsignal(number), False
    # all of it is the case
    with pytest.raises(KeyboardInterrupt), interruptions() as check:
        check()
        try:
            os.kill(os.getpid(), number)
            time.sleep(0.01)  # would be cut short
            check()
        finally:
            os.kill(os.getpid(), number)  # again, while things are put back
            time.sleep(0.01)
            undone = True
    assert undone
    assert signal.getsignal(number) is old


def test_a_signal_after_the_last_look_is_not_lost() -> None:
    with pytest.raises(KeyboardInterrupt), interruptions():
        os.kill(os.getpid(), signal.SIGTERM)


# ---- both sides, with a kernel that is ours too ----


@pytest.mark.parametrize("algorithm", ["lz4", "lzo", "lzo-rle"])
@pytest.mark.parametrize("seed", SEEDS)
def test_our_zram_has_the_kernels_totals(seed: int, algorithm: str) -> None:
    of_kernel_sizes(algorithm)
    with Zram(algorithm, pages=len(corpus(seed)), nr_cpus=1) as z:
        zram = walk.OurZram(z)
        for slot, page in enumerate(corpus(seed)):
            zram.store(slot, page)
        recorded = RECORDED[f"corpus:{seed}"][f"zram:{algorithm}"]
        assert {name: zram.stats()[name] for name in recorded} == recorded
        assert zram.compr_data_size() == zram.stats()["compr_data_size"]
        out = bytearray(P)
        for slot, page in enumerate(corpus(seed)):
            zram.load(slot, out)
            assert out == page
            zram.invalidate(slot)
        left = zram.stats()
        assert {left[name] for name in recorded} == {0}


class FakeHost(Host):
    """A machine whose kernel is the library: zswap takes lzo and deflate, zram lz4;
    `spoil` gets each driver.
    """

    def __init__(self, tree: Path, spoil: Callable[[Any], Any] = lambda driver: driver) -> None:
        super().__init__(tree)
        self.spoil = spoil
        (tree / "proc/meminfo").write_text("MemAvailable: 9999999 kB\n")

    def must_be_usable(self, euid: int | None = None) -> None: ...

    def no_zswap(self) -> str | None:
        return None

    def zswap_compressors(self, names: Sequence[str]) -> list[str]:
        return [name for name in names if name in ("lzo", "deflate")]

    def zram_algorithms(self) -> list[str]:
        return ["lz4", "none-of-ours"]

    def _machine(self) -> dict[str, Any]:
        return {
            "kernel": compare.rules_of(self.release),
            "chain_size": self.chain_size(),
            "nr_cpus": 1,
        }

    @contextmanager
    def zswap(self, compressor: str, pages: int, directory: str | Path) -> Iterator[Any]:
        with (
            zs.Zswap(compressor, max_pool_percent=100, **self._machine()) as z,
            self.setting(self.page_cluster, "0"),
        ):
            yield self.spoil(walk.OurZswap(z, pages))

    @contextmanager
    def zram(self, algorithm: str, pages: int) -> Iterator[Any]:
        with Zram(algorithm, pages=pages, **self._machine()) as z:
            yield self.spoil(walk.OurZram(z))


class Wrapped:
    """A driver that does something else at a page."""

    def __init__(self, driver: Any) -> None:
        self._driver = copy.copy(driver) if isinstance(driver, walk.OurZram) else driver
        self._asked = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._driver, name)


class Spoilt(Wrapped):
    """A driver that says something else in one step, or does something else at a
    page.
    """

    def stats(self) -> dict[str, int]:
        self._asked += 1
        said = dict(self._driver.stats())
        if self._asked == 4 and "pool_total_size" in said:
            said["pool_total_size"] += P
        return said


class OtherSize(Spoilt):
    """Page 5 comes to two bytes more, in zram."""

    more = 0

    def store(self, entry: int, folio: bytes) -> None:
        self._driver.store(entry, folio)
        if entry == 5:
            self.more = 2

    def compr_data_size(self) -> int:
        return int(self._driver.compr_data_size()) + self.more


@pytest.fixture
def fake(tree: Path, linux: Callable[[str], None]) -> Callable[..., Verdict]:
    linux("6.18.3")

    def fake(*spoil: Callable[[Any], Any], pages: Sequence[bytes] = corpus(1, 400)) -> Verdict:
        host = FakeHost(tree, *spoil)
        before = host.settings()
        try:
            return compare.verify(pages, source="x", host=host)
        finally:
            assert host.settings() == before

    return fake


def test_equal_sides_are_exact(fake: Callable[..., Verdict]) -> None:
    found = fake()
    claimed = [c for c in found.comparisons if c.kernel_sizes]
    assert {(c.where, c.name) for c in claimed} >= {("zswap", "lzo"), ("zram", "lz4")}
    assert all(c.exact and c.steady for c in claimed)
    assert (found.exit_code, found.pages, found.rules, found.not_compared) == (0, 400, "6.18", {})
    assert found.zero_pages == sum(not any(page) for page in corpus(1, 400)) > 0
    for c in claimed:
        pools = [step[verify.POOL[c.where]] for step in c.kernel]
        assert len(set(pools)) > 3  # it is a walk
    zram = next(c for c in claimed if c.where == "zram")
    assert zram.page_stores is not None
    assert zram.page_stores > 500


def test_a_kernel_that_refuses_pages(
    fake: Callable[..., Verdict], linux: Callable[[str], None]
) -> None:
    linux("6.16.12")
    found = fake()
    assert (found.exit_code, found.rules) == (0, "6.16")
    lzo = next(c for c in found.comparisons if c.name == "lzo")
    refused = [step["reject_compress_fail"] for step in lzo.kernel]
    assert refused[0] > 0
    assert refused == sorted(refused)
    assert len(set(refused)) > 1  # some are refused again when they are rewritten


def test_before_linux_6_4_page_sizes_alone_are_compared(
    fake: Callable[..., Verdict], linux: Callable[[str], None]
) -> None:
    linux("6.1.0-50-amd64")
    found = fake()
    zram = [c for c in found.comparisons if c.where == "zram" and c.kernel_sizes]
    assert zram
    for c in zram:
        assert c.exact
        assert c.differences == []
        assert c.page_stores
    text = verify.to_text(found, width=200)
    assert "zram's pool was not compared: zsmalloc of Linux 6.1.0-50-amd64 chains" in text
    row = next(line for line in text.splitlines() if "lz4:kernel" in line)
    assert row.split()[2:] == ["-", "-", "-", "0", "exact"]


@pytest.mark.parametrize("release", ["6.12.117+deb13-amd64", "6.16.3", "6.17.13", "7.3.4"])
def test_each_kernel_is_compared_by_its_own_rules(
    fake: Callable[..., Verdict], linux: Callable[[str], None], release: str
) -> None:
    linux(release)
    found = fake()
    assert (found.rules, found.remark) == (kernel_for(release).name, "")
    claimed = [c for c in found.comparisons if c.kernel_sizes]
    assert {(c.where, c.name) for c in claimed} >= {("zswap", "lzo"), ("zram", "lz4")}
    assert all(c.exact for c in claimed)
    lzo = next(c for c in claimed if c.name == "lzo")
    rejected = lzo.kernel[0]["reject_compress_fail"]
    assert (rejected > 0) == release.startswith("6.1")
    assert (lzo.kernel[0]["stored_incompressible_pages"] > 0) == release.startswith("7")


def test_a_kernel_that_is_not_modelled_is_told(
    fake: Callable[..., Verdict], linux: Callable[[str], None]
) -> None:
    linux("7.9.1")
    found = fake()
    assert (found.rules, found.exit_code) == ("7.3", 0)
    said = " ".join(verify.to_text(found).split())
    assert "this machine's Linux 7.9 is newer than any modelled; as 7.3" in said
    assert json.loads(verify.to_json(found))["remark"] in said


@pytest.mark.parametrize(
    ("release", "name", "claims", "pool"),
    [
        ("6.1.0-50-amd64", "zstd", False, False),
        ("6.1.0-50-amd64", "lz4", True, False),
        ("6.6.1", "zstd", False, True),
        ("6.6.1", "lz4", True, True),
        ("6.12.0", "zstd", True, True),
    ],
)
def test_what_is_not_modelled_of_an_older_kernel_is_not_claimed(
    release: str, name: str, claims: bool, pool: bool
) -> None:
    found = compare.as_modelled(comparison(name), release)
    assert (found.kernel_sizes, bool(found.differences)) == (claims, pool)


def test_a_kernel_that_is_a_page_off_in_one_step(fake: Callable[..., Verdict]) -> None:
    found = fake(Spoilt)
    assert found.exit_code == 3
    lzo = next(c for c in found.comparisons if c.name == "lzo")
    assert (lzo.differences, lzo.steady) == ([0, 0, 0, -P, 0, 0], True)
    assert {c.where for c in found.failed} == {"zswap"}


def test_a_kernel_whose_page_is_two_bytes_off(fake: Callable[..., Verdict]) -> None:
    found = fake(OtherSize)
    zram = next(c for c in found.failed if c.where == "zram")
    assert (zram.page_stores_differ, zram.page_largest_difference) == (1, -2)
    assert found.exit_code == 3


class Meddling(Wrapped):
    """Another changes the machine while it is asked: a device that is not ours, and a
    setting that is.
    """

    def store(self, entry: int, folio: bytes) -> None:
        tree = Meddling.tree
        if entry == 5 and not (tree / "sys/block/zram0").exists():
            (tree / "sys/block/zram0").mkdir(parents=True, exist_ok=True)
            (tree / "sys/block/zram0/comp_algorithm").write_text("lzo [lz4]")
            (tree / "proc/sys/vm/page-cluster").write_text("4\n")
        self._driver.store(entry, folio)

    tree: Path


def test_the_table_stays_whatever_another_changes(tree: Path, linux: Callable[[str], None]) -> None:
    linux("6.18.3")
    Meddling.tree = tree
    host = FakeHost(tree, Meddling)
    found = compare.verify(corpus(1, 400), source="x", host=host)
    assert found.exit_code == 0
    assert len({c.where for c in found.comparisons}) == 2
    assert found.meanwhile == [
        f"{host.page_cluster} was '3', then '0' here; another program wrote '4', which stays"
    ]
    assert f"meanwhile: {found.meanwhile[0]}" in verify.to_text(found, width=1000)
    assert json.loads(verify.to_json(found))["meanwhile"] == found.meanwhile
    assert host.page_cluster.read_text().strip() == "4"


class Failing(Wrapped):
    """zram ends in an error, after zswap was compared."""

    def store(self, entry: int, folio: bytes) -> None:
        if isinstance(self._driver, walk.OurZram):
            raise HostError("no \x1b[31mmore")
        self._driver.store(entry, folio)


def test_what_was_found_before_an_error_is_told(fake: Callable[..., Verdict]) -> None:
    found = fake(Failing)
    assert {c.where for c in found.comparisons} == {"zswap"}
    assert found.broken_off == {"zram lz4": r"no \x1b[31mmore"}
    assert found.exit_code == 1
    text = verify.to_text(found)
    assert r"the comparison of zram lz4 ended early: no \x1b[31mmore" in text
    assert "an error ended the rest" in " ".join(text.split())


class FailingAtOnce(Wrapped):
    def store(self, entry: int, folio: bytes) -> None:
        raise HostError("no more")


def test_an_error_with_nothing_found_is_the_error(fake: Callable[..., Verdict]) -> None:
    with pytest.raises(HostError, match="no more"):
        fake(FailingAtOnce)


class Damaging(Spoilt):
    """Loads give other bytes."""

    def load(self, entry: int, out: bytearray) -> None:
        self._driver.load(entry, out)
        out[7] ^= 1


def test_a_page_that_comes_back_damaged(fake: Callable[..., Verdict]) -> None:
    with pytest.raises(HostError, match="came back with other bytes"):
        fake(Damaging)


class Signalling(Spoilt):
    """A signal comes at page 100."""

    def store(self, entry: int, folio: bytes) -> None:
        if entry == 100:
            os.kill(os.getpid(), signal.SIGTERM)
        assert entry < 102, "nothing was interrupted"
        self._driver.store(entry, folio)


def test_a_signal_ends_it_and_puts_back(fake: Callable[..., Verdict]) -> None:
    with pytest.raises(KeyboardInterrupt):
        fake(Signalling)


def test_no_page_and_too_many(fake: Callable[..., Verdict], tree: Path) -> None:
    with pytest.raises(HostError, match="x has less than one page of 4096 bytes"):
        fake(pages=[])
    host = FakeHost(tree)
    (tree / "proc/meminfo").write_text("MemAvailable: 2048 kB\n")
    with pytest.raises(
        HostError, match="pages need 16 MiB of memory, and 2 MiB are available: give fewer"
    ):
        compare.verify([bytes(P)] * 1024, source="x", host=host)


# ---- the command line ----


@pytest.fixture
def run(run: Run) -> Run:
    return lambda *argv: run("verify", *argv)


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        (["x", "--size", "4M"], "leave them out, or FILE"),
        (["x", "--seed", "4"], "leave them out, or FILE"),
        (["--size", "100"], "100 is less than one page"),
        (["--size", "many"], "'many' is not a size"),
    ],
)
def test_wrong_arguments_are_exit_code_2(run: Run, argv: list[str], said: str) -> None:
    code, out, err = run(*argv)
    assert (code, out) == (2, "")
    assert said in err


def test_not_root_is_exit_code_1(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hostkernel.os, "geteuid", lambda: 1000)
    code, out, err = run()
    assert (code, out) == (1, "")
    assert err.startswith("zswap-py: only root may change")


@pytest.mark.parametrize(
    ("spoil", "code"), [(lambda driver: driver, 0), (Spoilt, 3), (Signalling, 130)]
)
def test_exit_codes_and_output(
    run: Run,
    tree: Path,
    linux: Callable[[str], None],
    monkeypatch: pytest.MonkeyPatch,
    spoil: Callable[[Any], Any],
    code: int,
) -> None:
    linux("6.18.3")
    host = FakeHost(tree, spoil)
    for module in (importlib.import_module("zswap_py.cli.verify"), compare):
        monkeypatch.setattr(module, "Host", lambda: host)
    found, out, err = run("--size", "1M", "--seed", "2", "--json")
    assert found == code
    if code == 130:
        assert (out, err) == ("", "zswap-py: interrupted; every setting is restored\n")
        return
    data = json.loads(out)
    assert (data["exit_code"], data["pages"], data["source"]) == (
        code,
        256,
        "pages generated from seed 2",
    )
    assert data["command"] == "zswap-py verify --size 1M --seed 2 --json"
    assert run("--size", "1M", "--seed", "2")[0] == code
    for chosen, begins in (("csv", "host_kernel,"), ("markdown", "**")):
        found, out, _err = run("--size", "1M", "--seed", "2", "--format", chosen)
        assert (found, out.startswith(begins)) == (code, True)


@pytest.mark.parametrize(
    ("argv", "pages"), [(["--size", "1T"], "268,435,456"), (["FILE"], "1,048,576")]
)
def test_room_is_looked_for_before_any_page_is_there(
    run: Run, tree: Path, monkeypatch: pytest.MonkeyPatch, argv: list[str], pages: str
) -> None:
    host = FakeHost(tree)
    monkeypatch.setattr("zswap_py.cli.verify.Host", lambda: host)
    monkeypatch.setattr("zswap_py.cli.verify.corpus", None)
    with open(tree / "FILE", "wb") as f:
        f.truncate(4 << 30)
    code, out, err = run(*[str(tree / arg) if arg == "FILE" else arg for arg in argv])
    assert (code, out) == (1, "")
    assert err.startswith(f"zswap-py: {pages} pages need ")


def test_ctrl_c_tells_what_another_changed(
    run: Run, tree: Path, linux: Callable[[str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    class Interrupted(Meddling, Signalling):
        def store(self, entry: int, folio: bytes) -> None:
            Meddling.store(self, entry, folio)
            Signalling.store(self, entry, folio)

    linux("6.18.3")
    Meddling.tree = tree
    host = FakeHost(tree, Interrupted)
    monkeypatch.setattr("zswap_py.cli.verify.Host", lambda: host)
    code, out, err = run("--size", "1M")
    assert (code, out) == (130, "")
    assert err.splitlines() == [
        f"zswap-py: meanwhile: {host.meanwhile[0]}",
        "zswap-py: interrupted",
    ]


# ---- this machine's kernel ----


def why_not_live() -> str | None:
    if os.environ.get("ZSWAP_VERIFY") != "1":
        return "changes this machine's zswap and zram for a while: ZSWAP_VERIFY=1 asks for it"
    try:
        Host().must_be_usable()
    except HostError as e:
        return str(e)
    return None


live = pytest.mark.skipif(why_not_live() is not None, reason=str(why_not_live()))


@live
def test_this_kernel_has_our_sizes_and_its_settings_back(tmp_path: Path) -> None:
    before = Host().settings()
    path = tmp_path / "memory"
    path.write_bytes(b"".join(corpus(3)))
    done = subprocess.run([*COMMAND, "--json", path], check=False, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    data = json.loads(done.stdout)
    assert data["comparisons"]
    assert all(c["exact"] for c in data["comparisons"] if c["kernel_sizes"])
    for c in data["comparisons"]:
        recorded = RECORDED["corpus:3"].get(f"churn:{c['name']}")
        if c["where"] == "zswap" and recorded and data["host"]["kernel"].startswith("6.18"):
            assert [{name: step[name] for name in FIGURES} for step in c["kernel"]] == recorded
    assert Host().settings() == before


def zswap_is_on(before: dict[str, str], now: dict[str, str]) -> bool:
    return now["swap areas"] != ""


def zram_is_there(before: dict[str, str], now: dict[str, str]) -> bool:
    return any(
        name.endswith("disksize") and value != before.get(name, "0") for name, value in now.items()
    )


@live
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
@pytest.mark.parametrize("moment", [zswap_is_on, zram_is_there])
def test_killed_in_the_middle(
    number: int, moment: Callable[[dict[str, str], dict[str, str]], bool], tmp_path: Path
) -> None:
    host = Host()
    if host.no_zswap() if moment is zswap_is_on else host.no_zram():
        pytest.skip("the kernel has not both")
    path = tmp_path / "memory"
    path.write_bytes(b"".join(corpus(1) * 2))
    before, left = now(host), set(os.listdir("/var/tmp"))
    with subprocess.Popen(
        [*COMMAND, path], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        try:
            while not moment(before, now(host)):
                assert process.poll() is None, "it ended before it was killed"
                time.sleep(0.002)
            time.sleep(0.05)
            process.send_signal(number)
            time.sleep(0.001)
            process.send_signal(number)  # impatience changes nothing
            out, err = process.communicate(timeout=60)
        finally:
            process.send_signal(signal.SIGTERM)
    assert (process.returncode, out, err) == (
        130,
        b"",
        b"zswap-py: interrupted; every setting is restored\n",
    )
    assert now(host) == before
    assert set(os.listdir("/var/tmp")) == left


def now(host: Host) -> dict[str, str]:
    """The settings and the zram devices' sizes, which may change while they are
    read.
    """
    while True:
        try:
            sizes = {
                str(path): path.read_text().strip()
                for path in host.root.glob("sys/block/zram*/disksize")
            }
            return host.settings() | sizes
        except OSError:
            continue


@live
def test_a_device_that_is_not_ours_may_change_meanwhile(tmp_path: Path) -> None:
    host = Host()
    if host.no_zram():
        pytest.skip("the kernel has no zram")
    path = tmp_path / "memory"
    path.write_bytes(b"".join(corpus(1, 1000)))
    with (
        host.zram_device() as other,
        subprocess.Popen(
            [*COMMAND, "--json", path], stdout=subprocess.PIPE, stderr=subprocess.PIPE
        ) as process,
    ):
        while not now(host)["swap areas"]:
            assert process.poll() is None
            time.sleep(0.002)
        (other / "comp_algorithm").write_text("lzo")
        (other / "disksize").write_text("1M")
        out, err = process.communicate(timeout=100)
    assert (process.returncode, err) == (0, b"")
    assert json.loads(out)["meanwhile"] == []
    assert len(json.loads(out)["comparisons"]) > 1


@live
def test_a_setting_that_another_changes_meanwhile_is_left_and_told(tmp_path: Path) -> None:
    host = Host()
    path = tmp_path / "memory"
    path.write_bytes(b"".join(corpus(1, 1000)))
    setting = host.page_cluster
    before = setting.read_text()
    try:
        with subprocess.Popen(
            [*COMMAND, path], stdout=subprocess.PIPE, stderr=subprocess.PIPE
        ) as process:
            while not (now(host)["swap areas"] and setting.read_text() == "0\n"):
                assert process.poll() is None
                time.sleep(0.002)
            setting.write_text("7")
            out, err = process.communicate(timeout=100)
        assert (process.returncode, err) == (0, b"")
        assert (
            f"meanwhile: {setting} was '{before.strip()}', then '0' here; another program wrote '7'"
            in " ".join(out.decode().split())
        )
        assert setting.read_text() == "7\n"
    finally:
        setting.write_text(before)


@live
def test_debugfs_is_mounted_for_the_time_where_it_is_not() -> None:
    code = (
        "import subprocess, sys; from zswap_py.verify.host import Host; h = Host()\n"
        "subprocess.run(['umount', '-q', str(h.debugfs)], check=False)\n"
        "before = h.settings(); assert before['debugfs'] == 'False', before\n"
        "with h.zswap('lzo', 8, '/var/tmp') as z: z.store(0, b'word' * 1024); "
        "print(z.stats()['stored_pages'])\n"
        "assert h.settings() == before"
    )
    done = subprocess.run(
        ["unshare", "-m", sys.executable, "-c", code], check=False, capture_output=True, text=True
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "1\n", "")


@live
def test_a_tmpfs_takes_no_swap_file() -> None:
    before = Host().settings()
    done = subprocess.run(
        [*COMMAND, "--size", "1M", "--dir", "/dev/shm"], check=False, capture_output=True, text=True
    )
    assert done.returncode == 1
    assert "/dev/shm cannot hold a swap file" in done.stderr
    assert Host().settings() == before
