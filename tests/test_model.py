# SPDX-License-Identifier: GPL-2.0-or-later
"""The model against the kernel: what was recorded of one, and the rules where a kernel
cannot be asked.
"""

from __future__ import annotations

import errno
import json
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from corpus import SEEDS, churn, corpus, digest, holes, small_page
from model import Zsmalloc, Zspage, Zswap, class_of, huge_class_size, size_classes
from model_codecs import COMPRESSORS, coded, page_of

from zswap_py.crypto.testmgr import KERNEL_SIZES, known_pages

PAGE = 4096
RECORDED = json.loads((Path(__file__).parent / "data" / "kernel_figures.json").read_text())
ZLIB_IS_THE_KERNELS = [COMPRESSORS["deflate"](page) for page in known_pages()] == list(
    KERNEL_SIZES["deflate"]
)
needs_deflate = pytest.mark.skipif(
    not ZLIB_IS_THE_KERNELS,
    reason=f"zlib {zlib.ZLIB_RUNTIME_VERSION} here has other sizes than the kernel's deflate",
)


# --- against the kernel's figures -----------------------------------------------------


@pytest.mark.parametrize("seed", SEEDS)
def test_corpus_is_the_recorded_one(seed: int) -> None:
    assert digest(corpus(seed)) == RECORDED[f"corpus:{seed}"]["sha256"]


@pytest.mark.parametrize("compressor", [pytest.param("deflate", marks=needs_deflate), "lzo"])
@pytest.mark.parametrize("seed", SEEDS)
def test_every_step_of_the_churn_is_the_kernels(seed: int, compressor: str) -> None:
    figures = RECORDED[f"corpus:{seed}"][f"churn:{compressor}"]
    assert churn(Zswap(COMPRESSORS, compressor), corpus(seed)) == figures


@pytest.mark.parametrize("compressor", [pytest.param("deflate", marks=needs_deflate), "lzo"])
@pytest.mark.parametrize("seed", SEEDS)
def test_the_order_within_a_group_is_the_kernels(seed: int, compressor: str) -> None:
    page = small_page(seed)
    objs = class_of(COMPRESSORS[compressor](page)).objs
    assert objs >= 21
    sizes = holes(Zswap(COMPRESSORS, compressor), page, objs)
    assert sizes == RECORDED[f"corpus:{seed}"][f"holes:{compressor}"]
    assert sizes[2] * 2 == sizes[1]


def zram(compressor: str, pages: Sequence[bytes]) -> dict[str, int]:
    """zram's rules over the same allocator: repeated words are not stored, what would
    be huge is stored raw.
    """
    pool = Zsmalloc()
    huge = compr_data_size = same = 0
    for page in pages:
        if page[:8] * (PAGE // 8) == page:
            same += 1
            continue
        length = COMPRESSORS[compressor](page)
        if not 0 < length < huge_class_size():
            length, huge = PAGE, huge + 1
        pool.malloc(length)
        compr_data_size += length
    used = pool.pages_allocated * PAGE
    return {
        "compr_data_size": compr_data_size,
        "mem_used_total": used,
        "same_pages": same,
        "huge_pages": huge,
    }


@pytest.mark.parametrize("compressor", ["lz4", "lzo", "lzo-rle"])
@pytest.mark.parametrize("seed", SEEDS)
def test_zram_totals_are_the_kernels(seed: int, compressor: str) -> None:
    assert zram(compressor, corpus(seed)) == RECORDED[f"corpus:{seed}"][f"zram:{compressor}"]


# --- zsmalloc -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("page_size", "slots", "classes", "sums", "huge_from"),
    [
        (4096, 255, 119, (147360, 590, 4213), 3625),
        (16384, 257, 121, (590464, 681, 7022), 14553),
        (65536, 257, 123, (2403136, 623, 7885), 58137),
    ],
)
def test_size_classes(
    page_size: int, slots: int, classes: int, sums: tuple[int, int, int], huge_from: int
) -> None:
    table = size_classes(page_size)
    distinct = set(table)
    assert (len(table), len(distinct)) == (slots, classes)
    assert (
        sum(c.size for c in distinct),
        sum(c.chain for c in distinct),
        sum(c.objs for c in distinct),
    ) == sums
    assert huge_class_size(page_size) == huge_from


@pytest.mark.parametrize(
    ("page_size", "chain_size", "classes", "largest"),
    [
        (4096, 4, 69, 3264),
        (4096, 6, 94, 3504),
        (4096, 10, 141, 3712),
        (4096, 16, 192, 3840),
        (16384, 4, 70, 13088),
        (16384, 16, 192, 15392),
        (65536, 4, 72, 52256),
        (65536, 16, 191, 61472),
    ],
)
def test_size_classes_of_other_chains(
    page_size: int, chain_size: int, classes: int, largest: int
) -> None:
    distinct = set(size_classes(page_size, chain_size))
    assert len(distinct) == classes
    assert max(c.size for c in distinct if not c.huge) == largest


@pytest.mark.parametrize(
    ("length", "size", "chain", "objs"),
    [
        (1, 32, 1, 128),
        (24, 32, 1, 128),
        (25, 48, 3, 256),
        (789, 816, 1, 5),
        (1337, 1360, 1, 3),
        (1400, 1424, 8, 23),
        (3624, 3632, 8, 9),
        (3625, 4096, 1, 1),
        (4096, 4096, 1, 1),
    ],
)
def test_class_of_a_length(length: int, size: int, chain: int, objs: int) -> None:
    c = class_of(length)
    assert (c.size, c.chain, c.objs) == (size, chain, objs)


def test_fullness_groups() -> None:
    of_ten, of_59 = class_of(2864 - 8), class_of(416 - 8)
    assert (of_ten.objs, of_59.objs) == (10, 59)
    # exactly a tenth is in the second
    assert [Zspage(of_ten, n).fullness for n in (0, 1, 9, 10)] == [0, 2, 10, 11]
    assert [Zspage(of_59, n).fullness for n in (0, 1, 5, 6, 58, 59)] == [0, 1, 1, 2, 10, 11]


def malloc(pool: Zsmalloc, length: int, count: int) -> list[Zspage]:
    zspages = [pool.malloc(length) for _ in range(count)]
    assert all(isinstance(zspage, Zspage) for zspage in zspages)
    return zspages  # type: ignore[return-value]


def test_an_object_goes_to_the_fullest_zspage_and_there_to_the_last_that_came() -> None:
    pool = Zsmalloc()
    length = 1337  # three to a page
    a, b, c = (malloc(pool, length, 3) for _ in range(3))
    pages = [group[0] for group in (a, b, c)]
    assert all(set(group) == {page} for group, page in zip((a, b, c), pages, strict=True))
    pool.free(pages[0])
    pool.free(pages[2])
    pool.free(pages[2])
    pool.free(pages[1])  # in use: a 2, b 2 and later than a, c 1
    assert malloc(pool, length, 4) == [pages[1], pages[0], pages[2], pages[2]]
    assert pool.pages_allocated == 3
    for page in pages:
        for _ in range(3):
            pool.free(page)
    assert pool.pages_allocated == 0


def test_a_zspage_that_stays_in_its_group_stays_in_its_place() -> None:
    pool = Zsmalloc()
    length = 416 - 8  # 59 objects: one or two missing, both in the tenth group
    older, newer = (malloc(pool, length, 59)[0] for _ in range(2))
    for zspage in (older, newer, older):
        pool.free(zspage)
    assert malloc(pool, length, 3) == [newer, older, older]


def test_zsmalloc_refuses_by_errno() -> None:
    pool = Zsmalloc()
    assert (pool.malloc(0), pool.malloc(PAGE + 1)) == (-errno.EINVAL, -errno.ENOSPC)
    assert isinstance(pool.malloc(PAGE), Zspage)
    assert pool.pages_allocated == 1


# --- zswap ----------------------------------------------------------------------------


def zswap(**settings: Any) -> Zswap:
    return Zswap({"coded": coded, "other": coded}, "coded", **settings)


def moved(z: Zswap) -> dict[str, int]:
    return {name: count for name, count in z.counters.items() if count}


@pytest.mark.parametrize("batch_size", [1, 2, 8])
@pytest.mark.parametrize("failing", [0, 9, 15])
def test_a_folio_that_fails_leaves_none_of_its_slots(batch_size: int, failing: int) -> None:
    z = zswap(incompressible="reject", batch_size=batch_size)
    assert z.store(0, page_of(100) * 18)
    folio = [page_of(200 + i) for i in range(16)]
    folio[failing] = page_of(-errno.EINVAL)
    r = z.store(1, b"".join(folio))
    assert (bool(r), r.reason) == (False, "reject_compress_fail")
    assert sorted(z.entries) == [0, 17]
    assert moved(z) == {"reject_compress_fail": 1}
    assert z.stats()["pool_total_size"] == PAGE * class_of(100).chain


def test_an_old_entry_is_freed_after_its_batch_was_allocated() -> None:
    """Two pages over two huge ones: four pages at the peak with a batch of two, three
    without.
    """
    for batch_size, peak in ((1, 3), (2, 4)):
        z = zswap(batch_size=batch_size, max_pool_percent=100)
        most = 0
        z.store(0, page_of(4000) * 2)
        pool = z.pools["coded"]
        malloc = pool.malloc

        def watched(length: int, malloc: Any = malloc, pool: Zsmalloc = pool) -> Zspage | int:
            nonlocal most
            handle: Zspage | int = malloc(length)
            most = max(most, pool.pages_allocated)
            return handle

        pool.malloc = watched  # type: ignore[method-assign]
        z.store(0, page_of(4000) * 2)
        assert (most, pool.pages_allocated) == (peak, 2)


def test_a_batch_of_one_request_counts_each_page_that_fails() -> None:
    z = zswap(incompressible="reject", batching={"coded": 8})
    answers = [100, -errno.EINVAL, 100, -errno.ENOSPC, 100, 100, 100, -errno.ENOSPC, -errno.EINVAL]
    r = z.store(0, b"".join(page_of(answer) for answer in answers))
    # the last of the first eight; the ninth is never tried
    assert r.reason == "reject_compress_poor"
    assert moved(z) == {"reject_compress_fail": 1, "reject_compress_poor": 2}
    assert not z.pools["coded"].pages_allocated


@pytest.mark.parametrize("batch_size", [1, 2, 8])
@pytest.mark.parametrize("kind", ["compress", "handle", "zspage", "tree"])
@pytest.mark.parametrize("nth", [1, 2, 5])
def test_a_fault_at_any_page_undoes_the_folio(kind: str, nth: int, batch_size: int) -> None:
    z = zswap(incompressible="reject", batch_size=batch_size)
    z.store(0, page_of(100) * 8)
    z.faults[kind] = nth
    r = z.store(1, b"".join(page_of(300 * i) for i in range(1, 7)))  # each of a class of its own
    assert r.reason == ("reject_compress_fail" if kind == "compress" else "reject_alloc_fail")
    assert sorted(z.entries) == [0, 7]
    assert z.total_pages() == class_of(100).chain
    assert z.store(1, page_of(300))


@pytest.mark.parametrize(
    ("kernel", "incompressible", "answer", "reason", "raw"),
    [
        ("6.18", "store", -errno.EINVAL, None, 1),
        ("6.18", "store", -errno.ENOSPC, None, 1),
        ("6.18", "store", 4096, None, 1),
        ("6.18", "store", 5000, None, 1),
        ("6.18", "store", 0, None, 1),
        ("6.18", "store", 4095, None, 0),
        ("6.18", "reject", -errno.EINVAL, "reject_compress_fail", 0),
        ("6.18", "reject", -errno.ENOSPC, "reject_compress_poor", 0),
        ("6.18", "reject", 4096, "reject_compress_fail", 0),
        ("6.18", "reject", 4095, None, 0),
        ("6.16", "reject", -errno.EINVAL, "reject_compress_fail", 0),
        ("6.16", "reject", -errno.ENOSPC, "reject_compress_poor", 0),
        ("6.16", "reject", 4096, None, 0),
        ("6.16", "reject", 4097, "reject_compress_poor", 0),
        ("6.16", "reject", 0, "reject_alloc_fail", 0),
    ],
)
def test_a_page_that_does_not_fit(
    kernel: str, incompressible: str, answer: int, reason: str | None, raw: int
) -> None:
    z = zswap(kernel=kernel, incompressible=incompressible)
    r = z.store(7, page_of(answer))
    assert (bool(r), r.reason) == (reason is None, reason)
    assert moved(z) == ({reason: 1} if reason else {})
    assert z.stats()["stored_incompressible_pages"] == raw
    assert (7 in z) == (reason is None)


def test_the_kernels_decide_about_raw_pages() -> None:
    assert (zswap().incompressible, zswap(kernel="6.16").incompressible) == ("store", "reject")


def test_full_until_the_threshold() -> None:
    z = zswap(total_ram=107 * PAGE)  # 20%: 21 pages, and 90% of those: 18
    assert (z.max_pages(), z.accept_thr_pages()) == (21, 18)
    huge = page_of(4000)
    assert all(z.store(slot, huge) for slot in range(21))
    assert [z.store(50, huge).reason for _ in range(2)] == ["pool_limit_hit"] * 2
    assert moved(z) == {"pool_limit_hit": 2}
    for slot in (0, 1):
        z.invalidate(slot)
        # under the maximum, over the threshold: refused and not counted
        assert not z.store(50, huge)
    assert moved(z) == {"pool_limit_hit": 2}
    z.invalidate(2)
    assert z.store(50, huge)
    assert z.store(51, huge * 16)  # looked at once a folio, before: it may pass the limit
    assert z.total_pages() == 35


def test_a_store_at_the_limit_takes_the_older_entry_away() -> None:
    z = zswap(total_ram=50 * PAGE)
    assert z.store(0, page_of(4000) * 10)
    assert not z.store(3, page_of(50))
    assert 3 not in z
    assert z.total_pages() == 9


@pytest.mark.parametrize(("percent", "accept"), [(0, 90), (0, 100)])
def test_a_maximum_of_nothing(percent: int, accept: int) -> None:
    z = zswap(max_pool_percent=percent, accept_threshold_percent=accept)
    assert not z.store(0, page_of(50))
    assert moved(z) == {"pool_limit_hit": 1}


def test_disabled_stores_nothing_and_forgets_what_it_had() -> None:
    z = zswap()
    z.store(0, page_of(50) * 4)
    z.enabled = False
    r = z.store(1, page_of(60) * 2)
    assert (bool(r), r.reason) == (False, "disabled")
    assert sorted(z.entries) == [0, 3]
    assert moved(z) == {}


def test_loads_are_exclusive_in_the_swap_cache_only() -> None:
    z = zswap()
    z.store(5, page_of(300, fill=9))
    out = bytearray(PAGE)
    for _ in range(2):
        assert z.peek(5, out)
        assert z.load(5, out, swapcache=False)
        assert out == page_of(300, fill=9)
    assert z.load(5, out)
    assert 5 not in z
    assert not z.load(5, out)
    assert z.stats()["pool_total_size"] == 0


def test_a_folio_of_two_pages_cannot_be_loaded() -> None:
    z = zswap()
    z.store(0, page_of(300) * 2)
    with pytest.raises(OSError) as e:
        z.load(0, bytearray(2 * PAGE))
    assert e.value.errno == errno.EINVAL
    assert sorted(z.entries) == [0, 1]


def test_a_batch_of_loads_answers_one_by_one() -> None:
    z = zswap()
    z.store(0, page_of(300, fill=1) + page_of(301, fill=2))
    out = bytearray(4 * PAGE)
    assert z.load_batch([1, 9, 0, 1], out) == [0, -errno.ENOENT, 0, -errno.ENOENT]
    assert out[:PAGE] == page_of(301, fill=2)
    assert out[2 * PAGE : 3 * PAGE] == page_of(300, fill=1)


def test_a_switch_of_compressor_leaves_entries_and_the_total() -> None:
    z = zswap(total_ram=50 * PAGE)
    z.store(0, page_of(4000) * 9)
    z.compressor = "other"
    assert z.store(9, page_of(4000))
    assert [pool.pages_allocated for pool in z.pools.values()] == [9, 1]
    assert z.store(10, page_of(50)).reason == "pool_limit_hit"
