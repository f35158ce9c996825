# SPDX-License-Identifier: GPL-2.0-or-later
"""report/: data and its JSON, the screen, CSV and Markdown. The reports are made up
(see reports.py), so that each figure has a known cause.
"""

from __future__ import annotations

import csv
import dataclasses
import io
import json
import math
import os
import re
from pathlib import Path
from typing import Any

import pytest
from reports import (
    GIB,
    MIB,
    NOTHING_MISSED,
    PROCESS,
    P,
    estimate,
    figures,
    group,
    host,
    live,
    make,
    savings,
    the_screen,
    zswap,
)

from zswap_py import report
from zswap_py.report import Report, Unavailable
from zswap_py.report.data import Coldness, SwapArea, together, total
from zswap_py.report.format import around, at_least, counted, percent, seconds
from zswap_py.report.host import read_host

DOCS = (Path(__file__).parent.parent / "docs" / "report.md").read_text()

# ---- JSON ----


def whole() -> Report:
    """A report that has each field."""
    return dataclasses.replace(
        the_screen(),
        labels={"service": "web"},
        selected=["app/*"],
        compressors=[*the_screen().compressors, Unavailable("842", None, "no library")],
    )


def keys(data: Any) -> set[str]:
    """All names of fields in a JSON object, but for those that are data."""
    if isinstance(data, list):
        return {name for item in data for name in keys(item)}
    if not isinstance(data, dict):
        return set()
    free = ("labels", "savings", "classes")
    return set(data) | {
        name
        for field, item in data.items()
        for name in (keys(item) if field not in free else keys(list(item.values())))
    }


def test_json_reads_back() -> None:
    made = whole()
    for indent in (2, None):
        text = report.to_json(made, indent)
        assert ("\n" in text) == (indent is not None)
        again = report.from_json(text)
        assert report.to_json(again, indent) == text
    assert dataclasses.replace(again, compressors=[], groups=[], zero_pages=made.zero_pages) == (
        dataclasses.replace(made, compressors=[], groups=[])
    )
    assert again.figures[0].savings.net_saved_bytes.value == round(
        made.figures[0].savings.net_saved_bytes.value
    )


def test_every_field_is_in_the_docs() -> None:
    found = keys(json.loads(report.to_json(whole()))) | set(NOTHING_MISSED)
    assert sorted(name for name in found if f"`{name}`" not in DOCS) == []


def test_json_has_whole_pages_and_bytes_and_the_ratio() -> None:
    f = figures("lz4", 1999.6, error=0.3)
    found = json.loads(report.to_json(make(f)))["compressors"][0]["all"]
    assert found["pool_total_size"] == {
        "value": round(1999.6 * P),
        "low": round(1999.3 * P),
        "high": round(1999.9 * P),
    }
    assert found["ratio"] == round(4000 / 1999.6, 4)
    empty = figures("lz4", 0, stored=0)
    assert json.loads(report.to_json(make(empty)))["compressors"][0]["all"]["ratio"] is None


def test_json_may_have_fields_of_a_later_release() -> None:
    data = json.loads(report.to_json(whole())) | {"moon": "full"}
    data["compressors"][0]["all"]["phase"] = 7
    assert report.from_json(json.dumps(data)).id == whole().id


def test_json_may_lack_what_has_a_default() -> None:
    data = json.loads(report.to_json(whole()))
    del data["scope"], data["selected"], data["sample"]["cells"]
    assert report.from_json(json.dumps(data)).scope == "processes"


def put(*path: str | int, value: Any = None) -> Any:
    """A change of one field of a JSON object; without a value it is removed."""

    def change(data: Any) -> None:
        for step in path[:-1]:
            data = data[step]
        if value is None:
            del data[path[-1]]
        else:
            data[path[-1]] = value

    return change


POOL = ("compressors", 0, "all", "pool_total_size")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (put("schema"), "schema is missing: give a report's JSON object"),
        (put("schema", value=1), "schema is 1: this version reads 2"),
        (put("host"), "host is missing"),
        (put("host", "ram"), "host.ram is missing"),
        (put("host", value=[1]), "host is [1]: it must be an object"),
        (put("complete", value=1), "complete is 1: it must be true or false"),
        (put("pages_total", value=True), "pages_total is True: it must be a whole number"),
        (put("pages_total", value=1.5), "pages_total is 1.5: it must be a whole number"),
        (put("compressors", value={}), "compressors is {}: it must be a list"),
        (put("compressors", 0, "name"), "compressors[0].name is missing"),
        (put(*POOL, "low", value="x"), "compressors[0].all.pool_total_size.low is 'x': it must be"),
        (put(*POOL, "low", value=1e300), "compressors[0].all.pool_total_size.low is 1e+300: it"),
        (put(*POOL, "low", value=10**400), "compressors[0].all.pool_total_size.low is 1000"),
        (put(*POOL, "low", value=GIB**2), "compressors[0].all.pool_total_size is *between low and"),
        (
            put("compressors", 0, "classes", "2048", value=["x"]),
            "compressors[0].classes.2048[0] is 'x': it must be a number",
        ),
        (
            put("groups", 1, "savings", "zstd", "all", "rejected_pages"),
            "groups[1].savings.zstd.all.rejected_pages is missing",
        ),
        (put("compressors", -1, "unavailable", value=7), "compressors[3].unavailable is 7: it"),
        (put("sample", "not_read", "locked", value="9"), "sample.not_read.locked is '9': it must"),
    ],
)
def test_json_that_is_no_report_names_the_field(change: Any, said: str) -> None:
    data = json.loads(report.to_json(whole()))
    change(data)
    with pytest.raises(ValueError, match="is") as caught:
        report.from_json(json.dumps(data))
    assert re.match(re.escape(said).replace(r"\*", ".*"), str(caught.value)), caught.value


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "is not JSON: "),
        ("{", "is not JSON: "),
        (b"\xff\xfe\xfa", "is not JSON: "),
        ('{"schema": NaN}', "is not JSON: NaN is not a number"),
        ('{"schema": 2, "zero_pages": Infinity}', "is not JSON: Infinity is not a number"),
        ("9" * 5000, "is not JSON: "),
        ("[" * 100_000, "is nested too deeply"),
        ("null", "schema is missing"),
        ("[2]", "schema is missing"),
        ('{"schema": "' + "x" * 9999 + '"}', "schema is 'xxxx"),
    ],
    ids=lambda value: ascii(value)[:20],
)
def test_text_that_is_no_report(text: str | bytes, said: str) -> None:
    with pytest.raises(ValueError, match=r"^(is|schema)") as caught:
        report.from_json(text)
    assert str(caught.value).startswith(said)
    assert len(str(caught.value)) < 200


# ---- names ----


def test_without_names_nothing_names_a_users_things() -> None:
    canary = "canary"
    named = live(
        figures("zstd", 2000),
        command=canary,
        host=host(name=canary, swap=[SwapArea(f"/{canary}", "file", GIB, 0)]),
        selected=[canary],
        source=[
            {"kind": "process", "label": canary, "pid": 4711, "pages": 9, "tail_bytes": 0},
            {"kind": "process", "label": canary, "pid": 4712, "pages": 8, "remark": canary},
            {"kind": "file", "label": canary, "path": canary, "pages": None, "tail_bytes": 3},
        ],
        groups=[group(canary, 4000, 1000), group(canary, 400, 100)],
        cold=Coldness(None, 5.0, None, [canary], canary, canary),
        processes_gone=[4711],
        cells=[{"label": canary, "pages": 7}],
        labels={"service": "web"},
    )
    made = report.without_names(named)
    text = report.to_json(made)
    for rendered in (text, report.to_text(made), report.to_csv(made), report.to_markdown(made)):
        assert canary not in rendered
        assert "471" not in rendered
    assert canary in report.to_json(named)
    assert made.source == [
        {"kind": "process", "sources": 2, "pages": 17, "tail_bytes": 0},
        {"kind": "file", "sources": 1, "pages": 0, "tail_bytes": 3},
    ]
    assert [g.label for g in made.groups] == ["cgroup 1", "cgroup 2"]
    assert made.labels == {"service": "web"}
    assert made.sample.cells == [{"pages": 7}]
    assert report.from_json(text).host.name is None


def test_names_that_do_not_print_are_shown() -> None:
    label = "\x1b[31m\n\u202e\udcff"
    hostile = make(
        figures("lz4\x1b[0m", 1500),
        figures("zstd", 1000, kernel_sizes=False, library_version="1\x1b\n2"),
        Unavailable("842", None, "no\nlibrary"),
        source=[{"kind": "file", "label": label}],
        groups=[group(label, 400, 100)],
    )
    for text in (
        report.to_text(hostile),
        report.to_text(hostile, colour=True),
        report.to_csv(hostile),
        report.to_markdown(hostile),
    ):
        plain = re.sub(r"\x1b\[[0-9;]*m", "", text) if "\x1b[1m" in text else text
        assert plain.replace("\n", "").isprintable()
        assert r"\x1b[31m" in plain.replace("\\\\", "\\").replace("\\[", "[")
    assert report.to_text(hostile).startswith(r"\x1b[31m\n\u202e\xff: ")
    assert json.loads(report.to_json(hostile))["source"][0]["label"] == label


# ---- sums of groups ----


def test_errors_of_samples_add_up_by_squares() -> None:
    assert total([estimate(10, 3), estimate(20, 4)]) == estimate(30, 5)
    assert total([estimate(1), estimate(2)]).exact
    assert total([]).value == 0


def test_groups_together_are_their_sum() -> None:
    one, two = group("a", 4000, 1000, cold=True, error=3), group("b", 400, 100, cold=True, error=4)
    both = together([one, two], "all others")
    assert (both.label, both.kind, both.pages, both.cold_pages) == (
        "all others",
        "cgroup",
        4400,
        2200,
    )
    assert both.facts == {"anon": 4400 * P, "swap": 10 * MIB}
    saved = both.savings["zstd"].all.net_saved_bytes
    assert (saved.value, saved.error) == (3300 * P, 5 * P)
    assert both.savings["zstd"].savings.stored_pages.value == 2200


# ---- the first lines ----


def lines_of(made: Report, **how: Any) -> list[str]:
    return report.to_text(made, **{"width": 200} | how).splitlines()


def test_a_host_is_named_with_its_memory_and_what_was_read() -> None:
    first, second = lines_of(the_screen())[:2]
    assert first == "web-042: 41.2 GiB swappable of 64.0 GiB RAM; 512.0 MiB read in 9 s"
    assert second == "Linux 6.12.117, zswap off, swap 8.0 GiB (nvme0n1p3), modelled as 6.12"


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({"scope": "processes"}, 'pid 7 "sh": 16.0 MiB swappable of 64.0 GiB RAM; all read in 9 s'),
        ({"scope": "cgroups", "selected": ["app/api"]}, "app/api: 16.0 MiB swappable of *"),
        ({"scope": "cgroups", "selected": ["a", "b", "c"]}, "3 cgroups: 16.0 MiB swappable *"),
        ({"host": host(name=None)}, "this host: *"),
        ({"host": host(ram=0)}, "web-042: 16.0 MiB swappable; all read in 9 s"),
        ({"estimated": True}, "*; all read in 9 s; estimated"),
        ({"complete": False, "pages": 1024}, "*; 4.0 MiB read in 9 s; incomplete, not scaled up"),
        ({"source": PROCESS * 2000, "scope": "processes"}, "2,000 processes: *"),
    ],
)
def test_whose_memory(changes: dict[str, Any], line: str) -> None:
    first = lines_of(live(figures("zstd", 2000), **changes))[0]
    assert re.fullmatch(re.escape(line).replace(r"\*", ".*"), first), first


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({}, "x: 4,096 pages, 16.0 MiB"),
        ({"pages_total": 40960}, "x: 4,096 of 40,960 pages (16.0 MiB of 160.0 MiB)"),
        ({"pages_total": None, "complete": False}, "x: 4,096 pages, 16.0 MiB; incomplete, *"),
    ],
)
def test_a_file_has_no_host_line(changes: dict[str, Any], line: str) -> None:
    first, second = lines_of(make(figures("zstd", 2000), **changes))[:2]
    assert re.fullmatch(re.escape(line).replace(r"\*", ".*"), first), first
    assert second == "zswap modelled as Linux 6.18; a CPU"


def test_many_sources_are_counted() -> None:
    source = [{"kind": "file", "label": "a"}] * 3 + [{"kind": "core", "label": "core"}]
    assert lines_of(make(figures("lz4", 1500), source=source))[0].startswith("3 files, 1 core: ")
    two = lines_of(make(figures("lz4", 1500), source=source[:2]))[0]
    assert two.startswith("a and a: ")


@pytest.mark.parametrize(
    ("machine", "said"),
    [
        ({"zswap": None}, ", no zswap, "),
        ({"zswap": zswap(enabled=True)}, ", zswap on (lzo), "),
        ({"swap": []}, ", no swap, "),
        (
            {"swap": [SwapArea("sda2", "partition", GIB, 0), SwapArea(None, "file", GIB, 0)]},
            ", swap 2.0 GiB (sda2, file), ",
        ),
    ],
)
def test_the_state_of_the_host(machine: dict[str, Any], said: str) -> None:
    assert said in lines_of(live(figures("zstd", 2000), host=host(**machine)))[1]


def test_folios_of_several_pages_are_named() -> None:
    assert lines_of(make(figures("lz4", 2000), folio_pages=16))[1] == (
        "zswap modelled as Linux 6.18, folios of 64 KiB; a CPU"
    )


# ---- the headline ----


@pytest.mark.parametrize(
    ("made", "said"),
    [
        (
            make(figures("lz4", 2000)),
            "At most, if everything were swapped, lz4 saves 7.8 MiB of 16.0 MiB; its zero-filled "
            "pages save 384.0 KiB without zswap.",
        ),
        (
            make(figures("lz4", 2000, error=20), zero_pages=estimate(0)),
            "At most, if everything were swapped, lz4 saves 7.8 MiB (±0.1) of 16.0 MiB.",
        ),
        (
            make(figures("lz4", 4000, saved=-1)),
            "zswap would save nothing of 16.0 MiB; its zero-filled pages save 384.0 KiB without "
            "zswap.",
        ),
        (make(figures("lz4", 0, stored=0), pages=0), "Nothing was measured."),
        (
            make(figures("lz4", 500, 1000), pages=1024, complete=False, zero_pages=estimate(0)),
            "At most, if everything were swapped, lz4 saves 13.7 MiB of the 4.0 MiB read.",
        ),
        (
            the_screen(),
            "With zstd this host gets 6.7 GiB (±0.3) back from 9.6 GiB cold for 120 s.",
        ),
        (
            dataclasses.replace(the_screen(), scope="processes"),
            "zstd saves 6.7 GiB (±0.3) of 9.6 GiB cold for 120 s.",
        ),
    ],
)
def test_the_headline(made: Report, said: str) -> None:
    assert report.headline(made) == said


def test_the_ceiling_stands_below_cold_memory() -> None:
    text = report.to_text(the_screen())
    assert "\nAt most, if everything were swapped: 28.5 GiB (±0.2).\n" in text
    assert report.to_text(make(figures("lz4", 2000))).count("At most") == 1


def test_exact_figures_have_no_error() -> None:
    assert "±" not in report.to_text(make(figures("lz4", 2000), figures("zstd", 1000)))
    assert "8.9 MiB ±0.2" in report.to_text(make(figures("lz4", 1712, error=33)))


# ---- the tables ----


def rows_of(made: Report, first: str, **how: Any) -> list[list[str]]:
    """The cells of the table whose head has the word, by two spaces."""
    text = report.to_text(made, **{"width": 200} | how)
    table = next(part for part in text.split("\n\n")[1:] if first in part)
    return [re.split(r"  +", line.strip()) for line in table.splitlines()]


def test_the_table_of_groups_has_the_largest_first() -> None:
    assert rows_of(the_screen(), "swappable ", width=100) == [
        ["swappable", "cold", "saved, cold", "ratio", "to disk"],
        ["app/api", "22.4 GiB", "11.2 GiB", "8.7 GiB ±0.1", "4.5", "0%"],
        ["app/cache", "14.6 GiB", "7.3 GiB", "4.8 GiB", "2.9", "9.9%"],
        ["app/batch", "3.0 GiB", "1.5 GiB", "1.0 GiB", "3.0", "0%"],
        ["other", "1.2 GiB", "614.4 MiB", "409.6 MiB", "3.0", "0%"],
    ]


def test_a_kernel_that_keeps_pages_raw_says_so_of_each_group() -> None:
    """Also where no page was kept raw: not that none goes to disk."""
    later = dataclasses.replace(the_screen(), kernel="7.3")
    assert rows_of(later, "swappable ", width=100)[0][-1] == "kept raw"


def test_a_label_is_no_markup() -> None:
    labels = ("[heap]", "[bold]x", "[/]", ":smile:")
    made = live(figures("zstd", 2000), groups=[group(name, 400, 100) for name in labels])
    assert {row[0] for row in rows_of(made, "swappable ")[1:]} == set(labels)


def test_groups_have_their_own_counters_where_there_is_room() -> None:
    head, api, *_ = rows_of(the_screen(), "swappable ", width=120)
    assert head[-2:] == ["anon now", "swap now"]
    assert api[-2:] == ["22.4 GiB", "5.0 MiB"]


def test_what_is_kept_raw_is_told_from_what_goes_to_disk() -> None:
    raw = live(figures("zstd", 2000), groups=[group("a", 4000, 2000, raw=1000)])
    head, row = rows_of(raw, "swappable ", width=100)
    assert (head[-1], row[-1]) == ("kept raw", "25%")


def test_small_groups_are_one_row() -> None:
    many = [group(f"g{i}", 100 * i, 25 * i, error=3) for i in range(1, 31)]
    rows = rows_of(live(figures("zstd", 2000), groups=many), "swappable ")
    assert [row[0] for row in rows[1:]] == [f"g{i}" for i in range(30, 20, -1)] + ["all others"]
    pages = sum(100 * i for i in range(1, 21))
    assert rows[-1][1] == report.size(pages * P)
    assert rows[-1][2] == around(pages * P * 0.75, math.sqrt(20) * 3 * P)
    few = live(figures("zstd", 2000), groups=many[:11])
    assert len(rows_of(few, "swappable ")) == 12
    assert "all others" not in report.to_text(few)


def test_without_groups_and_cold_memory_the_screen_is_short() -> None:
    text = report.to_text(live(*(figures(name, 2000) for name in ("lzo", "lz4", "zstd"))))
    assert "swappable " not in text.partition("\n")[2]
    assert "cold" not in text.partition("Unknown")[0]
    assert len(text.splitlines()) <= 20


def test_the_table_of_compressors() -> None:
    made = make(figures("lz4", 2000, 1000), figures("zstd", 1000, 6200), figures("lzo", 1800))
    assert rows_of(made, "faults/s")[2:] == [
        ["*", "zstd", "11.7 MiB", "4.00", "3.9 MiB", "31.0", "6.20", "3.7%"],
        ["lzo", "8.6 MiB", "2.22", "7.0 MiB", "5.00", "1.00", "0.6%"],
        ["lz4", "7.8 MiB", "2.00", "7.8 MiB", "5.00", "1.00", "0.6%"],
    ]


def test_cold_memory_ranks_the_compressors() -> None:
    fast = figures("lz4", 2000, cold=savings(200, 1000))
    small = figures("zstd", 1000, cold=savings(300, 1000))
    made = live(fast, small, cold_pages=1000, cold=Coldness("damon", 5.0))
    assert made.pick is fast
    assert [row[0] for row in rows_of(made, "faults/s")[2:]] == ["*", "zstd"]


def test_a_compressor_without_stores_has_no_times() -> None:
    unknown = dict.fromkeys(f"{kind}_ns_p{q}" for kind in ("store", "load") for q in (25, 50, 75))
    none = figures("lz4", 0, stored=0, raw=0, **unknown)
    assert rows_of(make(none), "faults/s")[2] == ["lz4", "0 B", "-", "0 B", "-", "-", "-"]


def everything() -> Report:
    """Numbers and names as wide as they come."""
    wide = 9999 * GIB // P
    labels = ("kubepods/burstable/pod0f8fad5b-d9cb-469f-a165-70867728950e", "日本", 'pid 1 "x"')
    return dataclasses.replace(
        the_screen(),
        pages_total=wide,
        compressors=[
            figures("lz4", 2345, all=savings(wide / 3, wide, error=wide / 9)),
            figures("lzo-rle", 2000, 123456, all=savings(wide / 2, wide, error=wide / 9)),
            figures("deflate", 1000, kernel_sizes=False, backend="libdeflate"),
            figures("zstd", 1100, 900),
            Unavailable("842", None, "no library has sw842, the kernel's software encoder of it"),
        ],
        groups=[group(name, wide // 4, wide / 8, cold=True, error=wide / 99) for name in labels],
        cold_pages=wide // 2,
    )


@pytest.mark.parametrize("colour", [False, True], ids=["plain", "colour"])
@pytest.mark.parametrize("width", [60, 80, 120])
def test_the_screen_fits(width: int, colour: bool) -> None:
    for made in (the_screen(), everything(), make(figures("lz4", 2000))):
        text = report.to_text(made, width=width, colour=colour)
        lines = re.sub(r"\x1b\[[0-9;]*m", "", text).splitlines()
        assert max(map(len, lines)) <= width
        assert "…" not in text


def test_narrow_output_cuts_labels_not_figures() -> None:
    wide, narrow = report.to_text(everything()), report.to_text(everything(), width=60)
    assert "kubepods" in wide
    assert re.search(r"^k\w*\.\.\w*e ", narrow, re.M)
    for figure in re.findall(r"\d[\d.,]* [TGM]iB", wide):
        assert figure in narrow.replace("\n        ", " ")
    assert "faults/s" in wide
    assert "faults/s" not in narrow  # it follows from the times


def test_colour_only_if_asked() -> None:
    plain, coloured = report.to_text(everything()), report.to_text(everything(), colour=True)
    assert "\x1b" not in plain
    assert "\x1b[1;32m" in coloured
    assert re.sub(r"\x1b\[[0-9;]*m", "", coloured).split() == plain.split()


def test_outputs_without_micro_and_plus_minus() -> None:
    text = report.to_text(the_screen(), plain=True)
    assert "us/page" in text
    assert "8.7 GiB +-0.1" in text
    assert "(+-0.3)" in text
    assert text.isascii() is True


def test_backends_are_named_where_a_name_comes_twice() -> None:
    made = make(figures("lz4", 1500), figures("lz4", 1600, backend="liblz4", kernel_sizes=False))
    text = report.to_text(made)
    assert "lz4:kernel  " in text
    assert "lz4:liblz4 ~" in text
    assert "lz4:" not in report.to_text(make(figures("lz4", 1500)))


def test_damage_and_absence_are_seen() -> None:
    made = make(
        figures("zstd", 1000, intact=False), figures("lz4", 1500), Unavailable("842", None, "no")
    )
    assert made.pick is not None
    assert made.pick.name == "lz4"
    assert re.search(r"zstd +DAMAGED", report.to_text(made))
    assert "\n842 is not available: no\n" in report.to_text(made)


def test_an_incomplete_source_is_told() -> None:
    source = [{"kind": "core", "label": "core.7", "incomplete": "is truncated: 7 bytes"}]
    assert "\ncore.7 is truncated: 7 bytes\n" in report.to_text(
        make(figures("lz4", 2000), source=source)
    )


# ---- CSV and Markdown ----


def test_csv_has_a_row_for_each_compressor_set_and_group() -> None:
    made = dataclasses.replace(the_screen(), labels={"service": "web"})
    rows = list(csv.DictReader(io.StringIO(report.to_csv(made))))
    assert [(r["kind"], r["label"], r["compressor"], r["of"]) for r in rows[:4]] == [
        ("all", "", "zstd", "all"),
        ("all", "", "zstd", "cold"),
        ("cgroup", "app/api", "zstd", "all"),
        ("cgroup", "app/api", "zstd", "cold"),
    ]
    assert len(rows) == 3 * 2 * (1 + 4)
    cold = rows[1]
    saved = made.figures[0].savings.net_saved_bytes
    assert int(cold["net_saved_bytes"]) == round(saved.value)
    assert int(cold["net_saved_bytes_low"]) == round(saved.low)
    assert int(cold["pages"]) == made.cold_pages
    assert (cold["label.service"], cold["host"], cold["report"]) == ("web", "web-042", made.id)


def test_csv_quotes_what_would_break_a_row() -> None:
    made = live(figures("zstd", 2000), groups=[group('a,"b"\nc', 400, 100)])
    rows = list(csv.DictReader(io.StringIO(report.to_csv(made))))
    assert [row["label"] for row in rows] == ["", 'a,"b"\\nc']
    assert all(None not in row for row in rows)


def test_markdown_has_the_screens_figures() -> None:
    text = report.to_markdown(the_screen())
    whose, where = report.to_text(the_screen(), width=200).splitlines()[:2]
    assert text.replace("\\", "").startswith(
        f"{whose}\n\n{where}\n\n**With zstd this host gets 6.7 "
    )
    assert "| app/api | 22.4 GiB | 11.2 GiB | 8.7 GiB ±0.1 | 4.48 | 0% |\n" in text
    assert "| **zstd** | 6.7 GiB ±0.3 | 3.48 | 2.7 GiB | 31.0 | 6.20 |\n" in text
    assert "\n- To do: compressor=zstd, enabled=Y; " in text
    for table in re.findall(r"(?:^\|.*\n)+", text, re.M):
        assert len({line.count("|") for line in table.splitlines()}) == 1


def test_markdown_escapes_names() -> None:
    made = live(figures("zstd", 2000), groups=[group("a|<b>`[c](d)", 400, 100)])
    assert r"| a\|\<b\>\`\[c\](d) |" in report.to_markdown(made)


# ---- the host ----


def test_this_machine_is_read() -> None:
    with open("/proc/meminfo", encoding="ascii") as f:
        ram = int(f.readline().split()[1]) << 10
    found = read_host()
    assert found.ram == ram
    assert found.cpu
    with open("/proc/swaps", encoding="utf-8") as f:
        assert len(found.swap) == len(f.readlines()) - 1
    assert (found.zswap is not None) == Path("/sys/module/zswap/parameters").is_dir()


def machine(root: Path, **files: str) -> Path:
    """A root directory with these files; __ stands for / and _ for -."""
    for name, text in files.items():
        path = root / name.replace("__", "/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


SWAPS = """\
Filename				Type		Size		Used		Priority
/dev/vda2                               partition	1048572		512		-2
/var/my\\040swap                         file		2048		0		-3
/dev/zram0                              partition	4096		0		100
"""


def test_the_facts_of_a_host(tmp_path: Path) -> None:
    parameters = "sys__module__zswap__parameters"
    root = machine(
        tmp_path,
        proc__meminfo="MemTotal:       16384 kB\nMemFree: 1 kB\n",
        proc__cpuinfo="processor : 0\nmodel name\t:  A   CPU\n",
        proc__swaps=SWAPS,
        **{
            f"{parameters}__enabled": "Y\n",
            f"{parameters}__compressor": "zstd\n",
            f"{parameters}__max_pool_percent": "25\n",
            f"{parameters}__accept_threshold_percent": "90\n",
        },
    )
    found = read_host(root)
    assert (found.ram, found.cpu) == (16 * MIB, "A CPU")
    assert found.swap == [
        SwapArea("vda2", "partition", 1048572 << 10, 512 << 10, None),
        SwapArea("/var/my swap", "file", 2 * MIB, 0, None),
        SwapArea("zram0", "partition", 4 * MIB, 0, None),
    ]
    assert found.zswap == zswap(
        enabled=True, compressor="zstd", max_pool_percent=25, shrinker_enabled=None
    )


def test_a_host_that_hides_all(tmp_path: Path) -> None:
    found = read_host(tmp_path)
    assert (found.ram, found.swap, found.zswap, found.page_cluster) == (0, [], None, None)


def test_a_disk_that_turns(tmp_path: Path) -> None:
    """The file's own device, whatever it is here, with a queue of our own."""
    device = tmp_path.stat().st_dev
    block = f"sys__dev__block__{os.major(device)}:{os.minor(device)}__queue__rotational"
    for flag, turns in (("1", True), ("0", False)):
        machine(
            tmp_path,
            swap__file="",
            **{block: flag},
            proc__swaps=SWAPS.replace("/var/my\\040swap", "/swap/file"),
        )
        assert read_host(tmp_path).swap[1].rotational is turns


# ---- figures as text ----


@pytest.mark.parametrize(
    ("nbytes", "text"),
    [
        (0, "0 B"),
        (1023, "1023 B"),
        (1024, "1.0 KiB"),
        (-1536, "-1.5 KiB"),
        (15.1 * MIB, "15.1 MiB"),
        (3 << 30, "3.0 GiB"),
        (5 << 40, "5.0 TiB"),
        (5000 << 40, "5000.0 TiB"),
    ],
)
def test_sizes_have_binary_units(nbytes: float, text: str) -> None:
    assert report.size(nbytes) == text


@pytest.mark.parametrize(
    ("value", "error", "text"),
    [
        (3 * GIB, 0, "3.0 GiB"),
        (3 * GIB, 1, "3.0 GiB ±0.1"),
        (3 * GIB, 0.11 * GIB, "3.0 GiB ±0.2"),
        (2 * MIB, GIB, "2.0 MiB ±1.0 GiB"),
        (100, 3.2, "100 B ±4"),
        (0, 2982939, "0 B ±2.9 MiB"),
        (MIB, 1023.99 * MIB, "1.0 MiB ±1.0 GiB"),
        (-2 * MIB, MIB, "-2.0 MiB ±1.0"),
    ],
)
def test_errors_are_in_the_figures_unit_or_a_larger_one_and_rounded_up(
    value: float, error: float, text: str
) -> None:
    assert around(value, error) == text


@pytest.mark.parametrize(
    ("share", "text"),
    [
        (0, "0%"),
        (0.00001, "0.01%"),
        (0.0041, "0.41%"),
        (0.013, "1.3%"),
        (0.05, "5%"),
        (0.0996, "10%"),
        (0.994, "99%"),
        (0.9999, "99.9%"),
        (1, "100%"),
    ],
)
def test_percentages_are_0_and_100_only_if_it_is_none_or_all(share: float, text: str) -> None:
    assert percent(share) == text


@pytest.mark.parametrize(
    ("nbytes", "text"), [(9.6 * GIB, "10 GiB"), (GIB, "1 GiB"), (GIB + 1, "2 GiB"), (7, "7 B")]
)
def test_needs_are_rounded_up(nbytes: float, text: str) -> None:
    assert at_least(nbytes) == text


def test_times_and_counts() -> None:
    assert [seconds(s) for s in (0.04, 8.61, 9.96, 9, 120.0)] == [
        "0.0 s",
        "8.6 s",
        "10 s",
        "9 s",
        "120 s",
    ]
    assert [counted(n, "process") for n in (1, 2000)] == ["1 process", "2,000 processes"]
    assert [counted(n, "page") for n in (0, 1)] == ["0 pages", "1 page"]
