# SPDX-License-Identifier: GPL-2.0-or-later
"""The library against kernels with pages of 16 and 64 KiB: what zswap and zram made of
each page, and the pool after each step.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import zlib
from collections.abc import Sequence
from functools import cache
from itertools import islice
from pathlib import Path
from typing import Any

import model_deflate
import pytest
from large_pages import Figures, packed, pages_of, unpacked
from vm.packages import MachineError, parts_of

import zswap_py as zs
from zswap_py import crypto
from zswap_py.corpus import FIGURES, churn, digest
from zswap_py.crypto.methods import method
from zswap_py.kernels import kernel_for, rules

RECORDED = Figures.read()
NOT_STORED = -1
MODELLED = 4  # pages a corpus that the slow model of deflate is asked about

DEFLATE = "libz cannot end a block where the kernel's zlib does: testmgr.sizes_hold()"


class Ours:
    """A Zswap for churn(), and the disk behind it."""

    def __init__(self, zswap: zs.Zswap, pages: Sequence[bytes]) -> None:
        self._zswap, self._pages = zswap, pages
        self._disk: dict[int, bytes] = {}
        self.lengths: list[int] = []  # of all pages, once all are stored

    def store(self, entry: int, folio: bytes) -> None:
        if not self._zswap.store(entry, folio):
            self._disk[entry] = folio

    def load(self, entry: int, out: bytearray) -> None:
        if not self._zswap.load(entry, out):
            out[:] = self._disk.pop(entry)

    def invalidate(self, entry: int) -> None:
        self._zswap.invalidate(entry)
        self._disk.pop(entry, None)

    def stats(self) -> dict[str, int]:
        if not self.lengths:
            self.lengths = [
                self._zswap.length(i) if any(page) and i not in self._disk else NOT_STORED
                for i, page in enumerate(self._pages)
            ]
        return self._zswap.stats()


@cache
def our_zswap(
    seed: int, page_size: int, name: str, kernel: str
) -> tuple[list[int], list[dict[str, int]]]:
    """Our lengths of a corpus, and our figures after each step, by a kernel's rules."""
    pages = pages_of(seed, page_size)
    with zs.Zswap(
        name, page_size=page_size, kernel=kernel, series=None, max_pool_percent=100, nr_cpus=1
    ) as z:
        z.swapon(len(pages))
        driver = Ours(z, pages)
        steps = churn(driver, pages)
        for entry in range(len(pages)):
            driver.invalidate(entry)
        return driver.lengths, [*steps, {figure: z.stats()[figure] for figure in FIGURES}]


@cache
def our_zram(seed: int, page_size: int, name: str, kernel: str) -> tuple[list[int], int]:
    """Our sizes of a corpus's pages, and mem_used_total, by a kernel's rules."""
    pages = pages_of(seed, page_size)
    with zs.Zram(name, pages=len(pages), page_size=page_size, kernel=kernel, nr_cpus=1) as z:
        for slot, page in enumerate(pages):
            z.write(slot, page)
        return [z.length(slot) for slot in range(len(pages))], z.mm_stat()["mem_used_total"]


def differs(kernel: dict[str, Any], name: str) -> pytest.MarkDecorator | None:
    """How a codec is expected to differ from a kernel's; None if it must not."""
    if name == "deflate":
        return pytest.mark.xfail(reason=DEFLATE, strict=True)
    by = method("zstd", rules(kernel_for(kernel["version"]).name, None))
    if name == "zstd" and not (found := crypto.find("zstd").choose(by)).kernel_sizes:
        return pytest.mark.skip(reason=f"needs {found.remedy}")
    return None


def cells(kind: str) -> list[Any]:
    """Each kernel, corpus and codec that has an answer of zram's or zswap's."""
    found = []
    for kernel in RECORDED.kernels:
        for corpus in kernel["corpora"]:
            for name, answer in corpus[kind].items():
                mark = differs(kernel, name)
                label = f"{kernel['release']}-{corpus['seed']}-{name}"
                of = (kernel, corpus["seed"], name, answer)
                found.append(pytest.param(*of, marks=[mark] if mark else [], id=label))
    return found


def wrong_lengths(ours: Sequence[int], theirs: Sequence[int]) -> list[tuple[int, int, int]]:
    """The pages whose lengths differ: page, ours, the kernel's."""
    both = enumerate(zip(ours, theirs, strict=True))
    return [(page, a, b) for page, (a, b) in both if a != b]


def zswap_lengths(kernel: dict[str, Any], answer: dict[str, Any]) -> list[int]:
    """The kernel's lengths. What is longer than a page the allocator refused."""
    every = RECORDED.lengths(answer)
    return [length if length <= kernel["page_size"] else NOT_STORED for length in every]


@pytest.mark.parametrize(("kernel", "seed", "name", "answer"), cells("zswap"))
def test_zswap(kernel: dict[str, Any], seed: int, name: str, answer: dict[str, Any]) -> None:
    by = kernel_for(kernel["version"]).name
    lengths, steps = our_zswap(seed, kernel["page_size"], name, by)
    assert not wrong_lengths(lengths, zswap_lengths(kernel, answer))
    for figure in FIGURES:
        if figure in answer["counters"]:  # some kernels do not count what is incompressible
            assert [step[figure] for step in steps] == answer["counters"][figure]


@pytest.mark.parametrize(("kernel", "seed", "name", "answer"), cells("zram"))
def test_zram(kernel: dict[str, Any], seed: int, name: str, answer: dict[str, Any]) -> None:
    sizes, used = our_zram(seed, kernel["page_size"], name, kernel_for(kernel["version"]).name)
    assert not wrong_lengths(sizes, RECORDED.lengths(answer))
    assert used == answer["mem_used_total"]


@pytest.mark.parametrize("page_size", sorted({k["page_size"] for k in RECORDED.kernels}))
def test_deflate_differs_by_the_ends_of_blocks_alone(page_size: int) -> None:
    """Of each corpus some pages that libz makes shorter or longer than the kernel does,
    and one that it does not.
    """
    kernel = next(k for k in RECORDED.kernels if k["page_size"] == page_size)
    for corpus in kernel["corpora"]:
        pages = pages_of(corpus["seed"], page_size)
        lengths = zswap_lengths(kernel, corpus["zswap"]["deflate"])
        kept = [i for i, length in enumerate(lengths) if 0 < length < page_size]
        libz = {i: deflated(pages[i]) for i in kept}
        differing = [i for i in kept if libz[i] != lengths[i]]
        modelled = ((i, model_deflate.length(pages[i])) for i in differing)
        known = list(islice((of for of in modelled if of[1] is not None), MODELLED))
        for i, length in known:
            assert length == lengths[i], i
            assert model_deflate.length(pages[i], ends_early=False) == libz[i], i
        assert len(known) == MODELLED
        same = next(i for i in kept if libz[i] == lengths[i] and lengths[i] > page_size // 4)
        assert model_deflate.length(pages[same]) == lengths[same], same


def deflated(page: bytes) -> int:
    """The length of a page by libz, with the kernel's parameters."""
    packer = zlib.compressobj(-1, zlib.DEFLATED, -11, 8)
    return len(packer.compress(page)) + len(packer.flush())


def test_the_pages_are_those_that_the_kernels_were_given() -> None:
    for kernel in RECORDED.kernels:
        for corpus in kernel["corpora"]:
            assert digest(pages_of(corpus["seed"], kernel["page_size"])) == corpus["sha256"]


def test_every_page_came_back() -> None:
    """In each kernel, with each codec: else its figures are of other pages."""
    answers = [a for k in RECORDED.kernels for c in k["corpora"] for a in c["zswap"].values()]
    assert answers
    assert all(answer["intact"] for answer in answers)


@pytest.mark.parametrize("page_size", [4096, 16384, 65536])
def test_deflate_claims_the_kernels_sizes_of_small_pages_alone(page_size: int) -> None:
    found = crypto.find("deflate:zlib")
    assert found.kernel_sizes_at(page_size) is (found.kernel_sizes and page_size == 4096)
    lz4 = crypto.find("lz4:kernel")
    assert lz4.kernel_sizes_at(page_size) is True


# ---- the recorder ----


def test_lengths_come_back_as_they_were_packed() -> None:
    lengths = [NOT_STORED, 0, 1, 255, 256, 65536, 16384, -2]
    assert unpacked(packed(lengths)) == lengths
    assert unpacked(packed([])) == []


def test_a_new_answer_takes_the_place_of_the_old() -> None:
    machine = {"release": "6.18.15+deb13-arm64-16k", "machine": "aarch64", "page_size": 16384}
    figures = Figures({"kernels": [], "lengths": {}})
    for release, lengths in (("6.18.15", [1, 2]), ("7.3.4", [3, 4]), ("6.18.20", [5, 6])):
        answer = {"corpus": 0, "zram": "lz4", "lengths": lengths, "mem_used_total": 16384}
        figures.add([machine | {"release": f"{release}+deb13-arm64-16k"}, answer])
    releases_kept = [kernel["release"].split("+")[0] for kernel in figures.kernels]
    assert releases_kept == ["6.18.20", "7.3.4"]
    kept = [kernel["corpora"][0]["zram"]["lz4"] for kernel in figures.kernels]
    assert [figures.lengths(answer) for answer in kept] == [[5, 6], [3, 4]]


def test_a_counters_values_become_one_list() -> None:
    machine = {"release": "7.2.1+deb14-powerpc64le-64k", "machine": "ppc64le", "page_size": 65536}
    steps = [{"pool_total_size": n, "stored_pages": 2 * n} for n in range(6)]
    answer = {"corpus": 1, "zswap": "lzo", "lengths": [7], "steps": steps, "intact": True}
    figures = Figures({"kernels": [], "lengths": {}})
    figures.add([machine, answer | {"freed": {"pool_total_size": 0, "stored_pages": 9}}])
    kept = figures.kernels[0]["corpora"][1]["zswap"]["lzo"]
    assert kept["counters"]["stored_pages"] == [0, 2, 4, 6, 8, 10, 9]
    assert (figures.lengths(kept), kept["intact"]) == ([7], True)


def test_a_flavours_release_is_taken_and_no_other() -> None:
    names = {
        "linux-image-6.12.9+deb13-arm64-16k",
        "linux-image-6.12.10+deb13-arm64-16k",
        "linux-image-6.12.12+deb13-arm64",
        "linux-image-6.12.11+deb13-arm64-16k",  # its modules are not there
        "linux-binary-6.12.11+deb13-arm64-16k",
        "linux-image-6.120.1+deb15-arm64-16k",
    }
    release = "6.12.10+deb13-arm64-16k"
    assert parts_of("6.12", names, "arm64-16k") == (release, [f"linux-image-{release}"])
    with pytest.raises(MachineError, match=r"6\.12-powerpc64le-64k"):
        parts_of("6.12", names, "powerpc64le-64k")


def test_the_guests_program_compiles(tmp_path: Path) -> None:
    compiler = shutil.which(os.environ.get("CC", "cc"))
    if compiler is None:
        pytest.skip("needs a C compiler: install gcc or clang, or set CC")
    flags = ["-std=gnu11", "-O2", "-Wall", "-Wextra", "-Werror", "-c"]
    source = Path(__file__).parent / "vm/largepages/guest.c"
    subprocess.run([compiler, *flags, source, "-o", tmp_path / "guest.o"], check=True)


# ---- the document ----


def rows() -> list[tuple[str, str]]:
    """What the document's table has a row for."""
    found = []
    for kind in ("zswap", "zram"):
        of = (k["corpora"][0][kind] for k in RECORDED.kernels)
        found += [(kind, name) for name in dict.fromkeys(n for one in of for n in one)]
    return found


def table() -> list[str]:
    """The table of docs/fidelity.md: pages whose lengths differ, of those that the
    kernel compressed, and "pool" where only that differs.
    """
    lines = [table_head(), "| --- |" + " --- |" * len(RECORDED.kernels)]
    for kind, name in rows():
        line = [f"{kind} {name}", *(cell(kernel, kind, name) for kernel in RECORDED.kernels)]
        lines.append(f"| {' | '.join(line)} |")
    return lines


def table_head() -> str:
    """Its first line: the kernels."""
    names = [f"{k['release'].split('+')[0]}, {k['page_size'] >> 10} KiB" for k in RECORDED.kernels]
    return f"| | {' | '.join(names)} |"


def cell(kernel: dict[str, Any], kind: str, name: str) -> str:
    """What differs in one kernel, over all corpora."""
    differing = compressed = 0
    by, page_size = kernel_for(kernel["version"]).name, kernel["page_size"]
    if name not in kernel["corpora"][0][kind]:
        return "not there"
    pools = True
    for corpus in kernel["corpora"]:
        answer = corpus[kind][name]
        if kind == "zswap":
            ours, steps = our_zswap(corpus["seed"], page_size, name, by)
            theirs = zswap_lengths(kernel, answer)
            pools &= [s["pool_total_size"] for s in steps] == answer["counters"]["pool_total_size"]
        else:
            ours, used = our_zram(corpus["seed"], page_size, name, by)
            theirs = RECORDED.lengths(answer)
            pools &= used == answer["mem_used_total"]
        differing += len(wrong_lengths(ours, theirs))
        compressed += sum(length > 0 for length in theirs)
    if differing:
        return f"{differing:,} of {compressed:,}"
    return "0" if pools else "pool"


def test_the_documents_table_has_these_kernels() -> None:
    """A cell is 0 where the tests above must pass. `python tests/test_large_pages.py`
    prints the table.
    """
    text = (Path(__file__).parent.parent / "docs" / "fidelity.md").read_text().splitlines()
    head = text.index(table_head())
    shown = [[c.strip() for c in line.split("|")[1:-1]] for line in text[head + 2 :]]
    for (kind, name), cells_shown in zip(rows(), shown, strict=False):
        assert cells_shown[0] == f"{kind} {name}"
        for kernel, said in zip(RECORDED.kernels, cells_shown[1:], strict=True):
            if name not in kernel["corpora"][0][kind]:
                assert said == "not there"
            elif name != "deflate":
                assert said == "0"


if __name__ == "__main__":
    print("\n".join(table()))
