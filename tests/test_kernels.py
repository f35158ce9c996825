# SPDX-License-Identifier: GPL-2.0-or-later
"""kernels.TABLE: a release's rules, and each against what that kernel itself showed.

data/kernel_lengths.json and data/kernel_rules.json hold what tests/record_lengths.py
and tests/record_kernel_rules.py printed on each kernel.
"""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from typing import Any

import pytest
from record_lengths import pages

import zswap_py as zs
from zswap_py import crypto, kernels
from zswap_py.corpus import digest
from zswap_py.crypto import testmgr
from zswap_py.crypto.methods import LIBRARIES, method
from zswap_py.kernels import KERNELS, NEWEST, OLDEST, SERIES, TABLE, kernel_for, rules

DATA = Path(__file__).parent / "data"
LENGTHS = json.loads((DATA / "kernel_lengths.json").read_text())
RULES = json.loads((DATA / "kernel_rules.json").read_text())
PAGE = 4096
HUGE = 3625  # from this length on zram keeps a page of 4 KiB raw

every_kernel = pytest.mark.parametrize("kernel", KERNELS)


# ---- releases ----


def test_the_names_differ_from_each_other_or_say_so() -> None:
    for one, other in itertools.combinations(KERNELS, 2):
        equal = rules(one, None) == rules(other, None)
        assert equal == (kernels.EQUAL.get(other) == one), (one, other)


def test_a_stable_release_has_the_changes_that_its_branch_took() -> None:
    before, after = rules("6.12.108", None), rules("6.12.109", None)
    assert (before["worker_without_memcg"], after["worker_without_memcg"]) == ("idle", "root")
    del before["worker_without_memcg"], after["worker_without_memcg"]
    assert before == after == {k: v for k, v in rules("6.12", None).items() if k in before}
    assert rules("6.16", None)["worker_without_memcg"] == "idle"
    assert rules("6.13.109", None)["worker_without_memcg"] == "idle"
    assert rules("7.3", None)["worker_without_memcg"] == "root"


@pytest.mark.parametrize(
    ("release", "name", "exact", "remark"),
    [
        ("6.18.44-fc-v595", "6.18", True, ""),
        ("6.18.0-rc3", "6.18", True, ""),
        ("7.3.4+deb13-amd64", "7.3", True, ""),
        ("6.12.108", "6.12", True, ""),
        ("6.12.109", "6.12.109", True, ""),
        ("6.12.117+deb13-amd64", "6.12.109", True, ""),
        (
            "5.14.0-503.el9",
            "6.12",
            False,
            "this machine's Linux 5.14 is not modelled; as 6.12; its zswap may use zbud",
        ),
        (
            "6.12.0-55.9.1.el10_0.x86_64",
            "6.12",
            False,
            "this machine's Linux 6.12 is a vendor's, and may have later changes too; as 6.12",
        ),
        (
            "6.17.0-8-generic",
            "6.17",
            False,
            "this machine's Linux 6.17 is a vendor's, and may have later changes too; as 6.17",
        ),
        (
            "7.0.3",
            "7.0",
            False,
            "this machine's Linux 7.0's own figures are not recorded; by its changes",
        ),
        (
            "7.4.1",
            "7.3",
            False,
            "this machine's Linux 7.4 is newer than any modelled; as 7.3",
        ),
    ],
)
def test_the_kernel_that_stands_for_a_release(
    release: str, name: str, exact: bool, remark: str
) -> None:
    assert kernel_for(release) == (name, exact, remark)
    rules(name, None)


def test_a_release_without_a_number_is_named() -> None:
    with pytest.raises(ValueError, match="release 'mainline': must begin as uname -r prints it"):
        kernel_for("mainline")


def test_the_machines_kernel_is_the_one_that_runs() -> None:
    import platform

    assert kernels.this_machines() == kernel_for(platform.release())


@pytest.mark.parametrize("kernel", ["6.11", "7.4", "6.18-rc1", "", "newest", 6.18])
def test_a_kernel_that_is_not_modelled_is_named(kernel: Any) -> None:
    with pytest.raises(ValueError, match=r"must be one of '6\.12', .* such as '6\.12\.109'"):
        rules(kernel, None)


def test_every_row_has_a_value_for_the_oldest_kernel_and_a_source() -> None:
    names = set(rules(OLDEST, None))
    for row in TABLE:
        assert row.name in names
        assert row.source
        if row.axis == "kernel":
            assert row.values[0][1] == (OLDEST,)
        values = [value for value, _ in row.values]
        assert all(a != b for a, b in itertools.pairwise(values)), row.name


def test_a_series_overrides_its_kernel() -> None:
    assert {s: rules("6.18", s)["dead_frees"] for s in SERIES} == {
        None: True,
        "v10": False,
        "v13": False,
        "v14": False,
    }
    assert rules("7.2", None)["dead_frees"] is False
    assert [rules("7.3", s)["buffer_pages"] for s in SERIES] == [1, 2, 2, 1]


# ---- what a kernel showed ----


@every_kernel
def test_the_recorded_pages_are_these(kernel: str) -> None:
    assert LENGTHS[kernel]["sha256"] == digest(pages())
    assert kernel_for(LENGTHS[kernel]["kernel"])[:2] in {(kernel, True), ("6.12.109", True)}
    assert LENGTHS[kernel]["kernel"].startswith(kernel + ".")


def ours(z: zs.Zswap) -> list[int | None]:
    """The length at which each page is kept; None if it is rejected."""
    z.swapon(len(pages()))
    return [z.length(i) if z.store(i, page) else None for i, page in enumerate(pages())]


@every_kernel
@pytest.mark.parametrize("name", ["zstd", "deflate"])
def test_each_page_is_kept_at_the_kernels_length(kernel: str, name: str) -> None:
    with zs.Zswap(name, kernel=kernel, series=None, total_ram=1 << 32) as z:
        if not z.pool.kernel_sizes:
            pytest.skip(f"needs {z.pool.info.remedy}")
        assert ours(z) == LENGTHS[kernel]["zswap"][name]
        counted = LENGTHS[kernel]["zswap_counters"][name]
        stats = z.stats()
        for counter, value in counted.items():
            assert stats.get(counter, 0) == value, counter


@every_kernel
@pytest.mark.parametrize("name", ["zstd", "deflate"])
def test_each_page_has_the_length_of_the_kernels_zram(kernel: str, name: str) -> None:
    compressor = crypto.find(name)
    by = method(name, rules(kernel, None), zram=True)
    if not compressor.choose(by).kernel_sizes:
        pytest.skip(f"needs {compressor.choose(by).remedy}")
    lengths = [len(compressor.run(True, page, 2 * PAGE, by)) for page in pages()]
    assert [n if n < HUGE else PAGE for n in lengths] == LENGTHS[kernel]["zram"][name]


def test_zstd_of_one_kernel_is_not_that_of_another() -> None:
    """The recorded figures tell the parameters and the library apart."""
    kept = {k: tuple(LENGTHS[k]["zswap"]["zstd"]) for k in KERNELS}
    assert len({kept["6.12"], kept["6.16"], kept["6.17"]}) == 3
    assert len({tuple(n or PAGE for n in kept[k]) for k in KERNELS[2:]}) == 1
    zram = {k: tuple(LENGTHS[k]["zram"]["zstd"]) for k in KERNELS}
    assert zram["6.12"] != zram["6.16"]
    assert len({zram[k] for k in KERNELS[1:]}) == 1


@pytest.mark.parametrize("kernel", ["6.12", "6.16", "6.17"])
def test_a_library_without_a_kernels_sizes_says_what_to_install(
    kernel: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(testmgr, "KERNEL_SIZES", {})
    monkeypatch.setattr(crypto, "_loaded", {})
    by = method("zstd", rules(kernel, None))
    with zs.Zswap("zstd", kernel=kernel) as z:
        assert not z.pool.kernel_sizes
        assert z.pool.info.remedy == LIBRARIES[by.sizes or "zstd"]
        assert z.pool.info.library_version == z.pool.compressor.library_version


def test_a_level_of_zram_is_its_codecs() -> None:
    newest = rules(NEWEST, None)
    compressor, page = crypto.find("zstd"), testmgr.known_pages()[1]
    sizes = [
        len(compressor.run(True, page, PAGE, method("zstd", newest, zram=True, level=level)))
        for level in (1, 3, 19)
    ]
    default = compressor.run(True, page, PAGE, method("zstd", newest, zram=True))
    assert len(set(sizes)) == 3
    assert min(sizes) == sizes[2]
    assert sizes[1] == len(default)
    with pytest.raises(ValueError, match="level=3: lzo has none here"):
        method("lzo", newest, zram=True, level=3)
    with pytest.raises(ValueError, match="level=30"):
        method("zstd", newest, zram=True, level=30)


# ---- other rules ----


@every_kernel
def test_the_rules_are_what_the_kernel_shows_of_itself(kernel: str) -> None:
    seen, by = RULES[kernel], rules(kernel, None)
    assert seen["symbols"]["zs_obj_read_sg_begin"] == by["sg_reads"]
    assert seen["symbols"]["zswap_cpu_comp_dead"] == by["dead_frees"]
    assert ("zpool" in seen["parameters"]) == by["zpool"]
    assert ("stored_incompressible_pages" in seen["counters"]) == by["check_dlen"]
    folio = seen["large_folio"]
    assert folio["folio_kb"] >= 2048
    assert (folio["zswpout"], folio["pswpout"]) == (
        (0, 512) if by["small_folios_only"] else (512, 0)
    )


@every_kernel
def test_a_large_folio_is_stored_or_refused_as_the_kernel_does(kernel: str) -> None:
    page = bytes(i % 251 for i in range(PAGE))
    with zs.Zswap("lzo", kernel=kernel, series=None, total_ram=1 << 32) as z:
        z.swapon(512)
        assert z.store(3, page)
        result = z.store(0, page * 512)
        seen = RULES[kernel]["large_folio"]["zswpout"]
        assert bool(result) == (seen == 512)
        assert result.reason == (None if seen else "large_folio")
        assert z.events()["zswpout"] == 1 + seen
        assert z.stats()["stored_pages"] == seen  # a refused folio leaves no older page either
        assert not any(v for k, v in z.stats().items() if k.startswith("reject"))


@pytest.mark.parametrize(("kernel", "kept"), [("6.18", False), ("7.0", False), ("7.1", True)])
def test_a_context_stays_with_a_cpu_that_goes_offline_since_7_1(kernel: str, kept: bool) -> None:
    with zs.Zswap("lzo", kernel=kernel, series=None, nr_cpus=2) as z:
        before = z.pool.context(1)
        z.cpuhp.offline(1)
        after = z.pool.context(1)
        assert (after == before) is kept
        assert (after.acomp is None) is not kept


@pytest.mark.parametrize(
    ("kernel", "series", "pages"),
    [("6.18", None, 2), ("7.0", None, 1), ("7.0", "v13", 2), ("6.18", "v14", 1)],
)
def test_the_pages_of_a_contexts_buffer(kernel: str, series: str | None, pages: int) -> None:
    with zs.Zswap("lzo", kernel=kernel, series=series, nr_cpus=1) as z:
        one = z.memory()["buffer"]
    assert one == pages * PAGE


SHORT = 217  # bytes: the least in 16 KiB pages' class of 288, whose 57th ends on a border


def test_since_7_0_only_a_payload_in_two_pieces_counts_as_crossing() -> None:
    """Of 57 objects one crosses a border, and only with bytes that its page leaves
    unused.
    """
    zs.register_compressor(
        "short",
        lambda page, room: bytes(page[:SHORT]),
        lambda packed, size: bytes(packed) + bytes(size - SHORT),
    )
    reads = {}
    try:
        for kernel, highmem in itertools.product(("6.18", "7.0"), (0.0, 1.0)):
            with zs.Zswap(
                "short",
                kernel=kernel,
                series=None,
                nr_cpus=1,
                highmem=highmem,
                page_size=4 * PAGE,
                total_ram=1 << 30,
            ) as z:
                z.swapon(57)
                out = bytearray(4 * PAGE)
                for i in range(57):
                    page = bytes([i + 1]) * SHORT + bytes(4 * PAGE - SHORT)
                    assert z.store(i, page)
                    assert z.peek(i, out)
                    assert out == page
                reads[kernel, highmem] = z.pool.crossing_reads, z.pool.context(0).highmem_copies
    finally:
        zs.unregister_compressor("short")
    assert reads["6.18", 0.0][0] == 1
    assert reads["7.0", 0.0] == (0, 0)
    assert reads["7.0", 1.0] == (0, 0)
    assert reads["6.18", 1.0] == (1, 56)


# ---- the document ----


def table() -> list[str]:
    """The table of kernels in docs/fidelity.md. `python tests/test_kernels.py` prints
    it.
    """
    lines = [
        "| | " + " | ".join(KERNELS) + " | source |",
        "| --- | " + " | ".join("---" for _ in KERNELS) + " | --- |",
    ]
    for row in TABLE:
        if row.axis == "kernel":
            values = [rules(kernel, None)[row.name] for kernel in KERNELS]
            stable = [str(f) for _, since in row.values for f in since if str(f).count(".") == 2]
            said = f"{row.source}; in {', '.join(stable)} too" if stable else row.source
            cells = [f"`{row.name}`", *map(said_as, values), said]
            lines.append(f"| {' | '.join(cells)} |")
    return lines


def said_as(value: object) -> str:
    return (
        {True: "yes", False: "no"}.get(value, str(value)) if isinstance(value, bool) else str(value)
    )


def test_the_documents_table_is_the_table() -> None:
    text = (DATA.parent.parent / "docs" / "fidelity.md").read_text()
    assert "\n".join(table()) in text


if __name__ == "__main__":
    print("\n".join(table()))
