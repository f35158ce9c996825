# SPDX-License-Identifier: GPL-2.0-or-later
"""report/advice.py: each line of a report with the fact that brings it, the fact that
takes it away, and the fact that changes it.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any

import pytest
from reports import (
    GIB,
    MIB,
    NOTHING_MISSED,
    P,
    figures,
    group,
    host,
    live,
    make,
    savings,
    the_screen,
    zswap,
)

from zswap_py.report import Report
from zswap_py.report.advice import advice, lines
from zswap_py.report.data import Coldness, Cost, SwapArea

# ---- which compressor, and why ----


def test_advice_names_saving_and_time() -> None:
    # 3,000 and 2,500 pages saved: 20% more; 4,200 and 2,000 ns
    assert (
        advice(make(figures("lz4", 1500, 2000), figures("zstd", 1000, 4200)))
        == "zstd saves 20% more memory than lz4; a load takes 2.1x as long."
    )


@pytest.mark.parametrize(
    "load", [2100, 2000, 1990], ids=["overlapping", "equal", "a little faster"]
)
def test_no_word_about_speed_where_the_quartiles_overlap(load: float) -> None:
    assert (
        advice(make(figures("lz4", 1500, 2000), figures("zstd", 1000, load)))
        == "zstd saves 20% more memory than lz4."
    )


def test_no_word_about_speed_after_few_pages() -> None:
    few = {"sample": {"stored_pages": 1000}}
    sentence = advice(make(figures("lz4", 1500, 2000, **few), figures("zstd", 1000, 9000, **few)))
    assert sentence == "zstd saves 20% more memory than lz4."


def test_rivals_that_load_alike_are_told_apart_by_what_they_save() -> None:
    for lz4, lzo in ((1010, 1000), (1000, 1010)):
        made = make(
            figures("lz4", 1600, lz4), figures("lzo", 1500, lzo), figures("zstd", 1000, 4000)
        )
        assert str(advice(made)).startswith("zstd saves 20% more memory than lzo; a load takes ")


def test_what_saves_the_same_and_loads_faster_is_picked() -> None:
    made = make(
        figures("deflate", 1000, 9000), figures("zstd", 1010, 4000), figures("lz4", 1500, 1000)
    )
    assert made.pick is not None
    assert made.pick.name == "zstd"
    assert [f.name for f in made.figures] == ["deflate", "zstd", "lz4"]
    assert advice(made) == "zstd saves 20% more memory than lz4; a load takes 4.0x as long."


def test_what_saves_the_same_and_loads_alike_is_not_picked() -> None:
    made = make(figures("deflate", 1000, 9000), figures("zstd", 1010, 8800))
    assert made.pick is not None
    assert made.pick.name == "deflate"
    assert advice(made) == "deflate and zstd save the same to within 2%."


def test_what_saves_most_and_loads_fastest_is_said() -> None:
    assert (
        advice(make(figures("lz4", 1500, 9000), figures("zstd", 1000, 4200)))
        == "zstd saves the most, and its loads are the fastest."
    )
    assert (
        advice(make(figures("lz4", 1010, 1000), figures("zstd", 1000, 4200)))
        == "lz4 saves as much as zstd, to within 0.33%, and its loads are the fastest."
    )


def test_one_compressor_is_measured_against_the_memory() -> None:
    assert (
        advice(make(figures("lz4", 1500)))
        == "lz4 saves 62% of this memory, without its zero-filled pages."
    )


def test_little_or_nothing_saved_has_its_cause() -> None:
    lost = figures("lz4", 4000, raw=3900, saved=-1)
    assert advice(make(lost)) == "zswap would save nothing here: 98% of the pages do not compress."
    little = figures("lz4", 3800, raw=3700)
    assert (
        advice(make(little))
        == "zswap would save little here, 5% with lz4: 92% of the pages do not compress."
    )
    refused = figures("lz4", 1, stored=0, raw=0, rejected=4000, saved=0)
    assert (
        advice(make(refused, folio_pages=16))
        == "zswap would save nothing here: 100% of the pages lie in folios with a page that does "
        "not compress."
    )
    assert "Watch" in dict(lines(make(refused, folio_pages=16, kernel="99.1")))
    old = make(refused, folio_pages=16, kernel="6.12")
    assert (
        advice(old) == "zswap would save nothing here: zswap of Linux 6.12 refuses folios of "
        "several pages: --folio 4K."
    )
    assert dict(lines(old))["Watch"].startswith(
        "zswap of Linux 6.12 refuses folios of several pages: they go to disk"
    )
    few = figures("lz4", 100, stored=100, raw=0, saved=-1)
    assert str(advice(make(few))).endswith(": there are too few pages to fill the zspages.")
    assert advice(make(figures("lz4", 0, stored=0))) is None


def test_a_rival_that_saves_nothing() -> None:
    nothing = figures("lz4", 4100, 1000, saved=-100)
    assert (
        advice(make(nothing, figures("zstd", 1000, 4000)))
        == "zstd saves memory, lz4 saves none; a load takes 4.0x as long."
    )


def test_damaged_figures_are_not_compared() -> None:
    made = make(figures("zstd", 1000, intact=False), figures("lz4", 1500))
    assert advice(made) == "lz4 saves 62% of this memory, without its zero-filled pages."


# ---- facts, and the line that follows ----

GROUPS = [group("api", 4000, 1000), group("cache", 2000, 1500, raw=400)]
REFUSED = [group("api", 4000, 1000), group("cache", 2000, 1500, rejected=400)]
MANY = [group(f"g{i}", 1000 - i, 900, raw=200 + i) for i in range(5)]
COLD = Coldness("damon", 120.0)


def on(**machine: Any) -> dict[str, Any]:
    """A host with these facts."""
    return {"host": host(**machine)}


def swap(*areas: SwapArea) -> dict[str, Any]:
    """A host with these swap areas, and zswap as the report wants it."""
    return on(swap=list(areas), zswap=zswap(enabled=True, compressor="zstd"))


def area(size: float, used: float = 0, name: str = "sda2", turns: bool | None = False) -> SwapArea:
    return SwapArea(name, "partition", int(size), int(used), turns)


READY = on(zswap=zswap(enabled=True, compressor="zstd"))
COLD_ZSTD = figures("zstd", 1000, 4000, cold=savings(300, 1200))
COLD_GIB = {"cold": COLD, "cold_pages": int(9.6 * GIB // P), "compressors": [COLD_ZSTD]}

FACTS: list[tuple[str, dict[str, Any], str | None]] = [
    # zswap
    ("To do", {}, "compressor=zstd, enabled=Y"),
    ("To do", READY, None),
    ("To do", on(zswap=zswap(compressor="zstd")), "enabled=Y"),
    ("To do", on(zswap=zswap(enabled=True, compressor="lz4")), "compressor=zstd"),
    ("To do", on(zswap=None), "a kernel with CONFIG_ZSWAP=y: this one has no zswap"),
    # a compressor that was not measured is not known to be worse
    ("To do", on(zswap=zswap(enabled=True, compressor="842")), None),
    ("To do", on(zswap=zswap(compressor="842")), "compressor=zstd, enabled=Y"),
    # as good as the pick: within 2% of it, and no slower
    ("To do", on(zswap=zswap(enabled=True, compressor="deflate")), None),
    (
        "To do",
        on(zswap=zswap(enabled=True, compressor="deflate"))
        | {"compressors": [figures("zstd", 1010, 4000), figures("deflate", 1000, 9000)]},
        "compressor=zstd",
    ),
    # little or nothing to save
    ("To do", {"compressors": [figures("zstd", 3800)]}, None),
    ("To do", {"compressors": [figures("zstd", 4000, saved=-1)]}, None),
    # a swap
    (
        "To do",
        swap(),
        "a swap of up to 16 MiB (there is none, and each page in zswap keeps its slot in one)",
    ),
    ("To do", swap(area(MIB)), None),  # how much will be swapped is not known
    ("To do", COLD_GIB | swap(area(10 * GIB)), None),
    ("To do", COLD_GIB | swap(area(8 * GIB)), "a swap of at least 10 GiB (8.0 GiB is too small)"),
    (
        "To do",
        COLD_GIB | swap(area(8 * GIB), area(4 * GIB, 3 * GIB)),
        "a swap of at least 13 GiB (of 12.0 GiB 9.0 GiB are free)",
    ),
    ("To do", COLD_GIB | swap(area(8 * GIB), area(4 * GIB)), None),
    ("To do", COLD_GIB | swap(), "a swap of at least 10 GiB (there is none, and each *"),
    # the pool's limit
    ("Limit", {}, "max_pool_percent 20 is 12.8 GiB: not reached at most (3.9 MiB)"),
    ("Limit", on(zswap=None), None),
    ("Limit", on(ram=0), None),
    ("Limit", {"compressors": []}, None),
    ("Limit", on(zswap=zswap(max_pool_percent=35)), "max_pool_percent 35 is 22.4 GiB: not *"),
    (
        "Limit",
        on(ram=16 * MIB),
        "max_pool_percent 20 is 3.2 MiB: reached at most (3.9 MiB). A full pool sends pages to "
        "disk until the pool is below 90% of it",
    ),
    (
        "Limit",
        on(ram=16 * MIB, zswap=zswap(accept_threshold_percent=None)),
        "*: reached at most (3.9 MiB). A full pool sends pages to disk",
    ),
    (
        "Limit",
        on(ram=20 * MIB) | {"compressors": [figures("zstd", 1000, error=50)]},
        "*: perhaps reached at most (3.9 MiB). A full pool *",
    ),
    ("Limit", COLD_GIB, "*: not reached cold (1.2 MiB), nor at most (3.9 MiB)"),
    ("Limit", COLD_GIB | on(ram=16 * MIB), "*: not reached cold (1.2 MiB); reached at most (3.9 *"),
    ("Limit", COLD_GIB | on(ram=4 * MIB), "*: reached cold (1.2 MiB). A full pool *"),
    # pages that do not compress
    ("Watch", {}, None),
    ("Watch", {"compressors": [figures("zstd", 1000, raw=199)]}, None),
    (
        "Watch",
        {"compressors": [figures("zstd", 1000, raw=200)]},
        "5% of the pages do not compress and are kept raw (before Linux 6.18: refused, to disk)",
    ),
    (
        "Watch",
        {"compressors": [figures("zstd", 1000, stored=3000, raw=0, rejected=1000)]},
        "25% of the pages are refused and go to disk (Linux 6.18 keeps them raw)",
    ),
    ("Watch", {"groups": GROUPS}, "cache: 20% of its pages do not compress and are kept raw *"),
    ("Watch", {"groups": REFUSED}, "cache: 17% of its pages are refused and go to disk *"),
    (
        "Watch",
        {"groups": MANY},
        "g0 20%, g1 20%, g2 20%, 2 groups more of their pages do not compress *",
    ),
    # swap areas
    ("Watch", swap(area(GIB, name="zram0")), "zram0 is swap in memory: what zswap rejects *"),
    ("Watch", swap(area(GIB, name="zd16")), "zd16 is a ZFS volume: swapping to one can deadlock *"),
    ("Watch", swap(area(GIB, turns=True)), "sda2 is a rotating disk to the kernel: pages *"),
    ("Watch", swap(area(GIB, turns=None)), None),
    # what the reading did
    (
        "Watch",
        {"heated_pages": 16384},
        "reading marked 16,384 pages as accessed, as /proc/kcore cannot be read: they look hot for "
        "a while",
    ),
    # pages that are left out
    ("Without", {}, None),
    ("Without", {"not_read": NOTHING_MISSED | {"locked": 40}}, None),
    ("Without", {"not_read": NOTHING_MISSED | {"swapped": 4000}}, None),
    ("Without", {"not_read": NOTHING_MISSED | {"locked": 41}}, "41 locked pages"),
    (
        "Without",
        {"not_read": NOTHING_MISSED | {"locked": 1234, "file_backed": 2}},
        "1,234 locked, 2 file backed pages",
    ),
    # what the figures cannot tell
    ("Unknown", {}, "how much of it is cold: --cold 120"),
    ("Unknown", {"cold": COLD, "cold_pages": 7}, "how often cold pages return"),
    (
        "Unknown",
        {"cold": Coldness(None, 120.0, reason="DAMON is in use", remedy="End damo")},
        "how much of it is cold: DAMON is in use. End damo",
    ),
    (
        "Unknown",
        {"cold": Coldness("lru_gen", 120.0, bytes=3 * GIB)},
        "which pages are cold: by lru_gen only that 3.0 GiB are",
    ),
    ("Unknown", {"processes_denied": 3}, "*; 3 processes that could not be read"),
    ("Unknown", {"estimated": True}, "*; which pages processes share: only root sees it; each *"),
    (
        "Unknown",
        {"not_read": NOTHING_MISSED | {"swapped": 512}},
        "*; 2.0 MiB that are in swap already",
    ),
    # how sure
    (
        "Sure?",
        {},
        "every page was read; sizes exact to the byte for 6.18; the processes ran on meanwhile",
    ),
    ("Sure?", {"compressors": [figures("zstd", 1000, error=9)]}, "± is 95%; sizes exact to *"),
    (
        "Sure?",
        {
            "compressors": [figures("zstd", 1000, error=9)],
            "precision": 0.05,
            "ended": "precision",
        },
        "± is 95%; sizes exact to *",
    ),
    (
        "Sure?",
        {"compressors": [figures("zstd", 1000, error=9)], "precision": 0.05, "ended": "sample"},
        "± is 95%, not yet 5% of the figure; *",
    ),
    (
        "Sure?",
        {"compressors": [figures("zstd", 1000, error=9)], "precision": 0.05, "ended": "budget"},
        "± is 95%, as far as the CPU budget went; *",
    ),
    ("Sure?", {"cold": COLD, "cold_pages": 7}, "cold by DAMON, 120 s; every page was read; *"),
    (
        "Sure?",
        {"cold": dataclasses.replace(COLD, remarks=["maps changed"]), "cold_pages": 7},
        "*; the processes ran on meanwhile; maps changed",
    ),
    ("Sure?", {"complete": False}, "incomplete: see the messages; *"),
    (
        "Sure?",
        {"compressors": [figures("zstd", 1000, kernel_sizes=False, backend="libzstd")]},
        "every page was read; ~ sizes may differ from the kernel's (libzstd 1.0); the processes *",
    ),
    (
        "Sure?",
        {
            "compressors": [
                figures("zstd", 1000, kernel_sizes=False, backend="libzstd"),
                figures("lz4", 1500),
            ],
            "kernel": "6.12",
        },
        "*(libzstd 1.0); other sizes exact to the byte for 6.12; *",
    ),
    # what it cost
    ("Cost", {}, "8.6 s CPU on one thread, idle priority, 190 MiB; no contents kept"),
    (
        "Cost",
        {"cost": Cost(0.25, 1.0, 1, 90 * MIB, 2, "other")},
        "0.2 s CPU on 2 threads, 90 MiB; no contents kept",
    ),
]


def matches(said: str, pattern: str) -> bool:
    """Whether a line is the pattern, in which an asterisk at an end stands for more."""
    if pattern.startswith("*") and pattern.endswith("*"):
        return pattern.strip("*") in said
    if pattern.startswith("*"):
        return said.endswith(pattern[1:])
    return said.startswith(pattern[:-1]) if pattern.endswith("*") else said == pattern


def reported(changes: dict[str, Any]) -> Report:
    """A report of this host on zstd, deflate and lz4, with these facts."""
    compressors = changes.pop(
        "compressors",
        [figures("zstd", 1000, 4000), figures("deflate", 1010, 4100), figures("lz4", 1500)],
    )
    return live(*compressors, **changes)


def facts() -> Iterator[Any]:
    for i, (title, changes, line) in enumerate(FACTS):
        yield pytest.param(title, changes, line, id=f"{i}-{title}-{'absent' if not line else ''}")


@pytest.mark.parametrize(("title", "changes", "line"), list(facts()))
def test_a_line_follows_from_the_facts(
    title: str, changes: dict[str, Any], line: str | None
) -> None:
    found = [text for its, text in lines(reported(dict(changes))) if its == title]
    wanted = line.split("|") if line else []
    assert len(found) == len(wanted), found
    for said, pattern in zip(found, wanted, strict=True):
        assert matches(said, pattern), said


def test_each_line_is_absent_present_and_changed_in_the_table() -> None:
    titles = {line.title for line in lines(the_screen())} | {"Without"}
    assert titles == {title for title, _changes, _line in FACTS}
    for title in titles:
        said = {line for its, _changes, line in FACTS if its == title}
        assert len(said - {None}) >= 1
        assert len(said) >= 2


def test_a_file_has_nothing_of_this_host() -> None:
    made = make(figures("zstd", 1000), heated_pages=5, **on(swap=[area(GIB, name="zram0")]))
    assert [title for title, _text in lines(made)] == ["Sure?", "Cost"]


def test_the_lines_of_a_host_in_their_order() -> None:
    assert [(title, text.partition(";")[0]) for title, text in lines(the_screen())] == [
        ("To do", "compressor=zstd, enabled=Y"),
        (
            "Limit",
            "max_pool_percent 20 is 12.8 GiB: not reached cold (2.7 GiB), nor at most (11.5 GiB)",
        ),
        (
            "Watch",
            "app/cache: 9.9% of its pages are refused and go to disk (Linux 6.18 keeps them raw)",
        ),
        ("Unknown", "how often cold pages return"),
        ("Sure?", "cold by DAMON, 120 s"),
        ("Cost", "8.6 s CPU on one thread, idle priority, 190 MiB"),
    ]
