# SPDX-License-Identifier: GPL-2.0-or-later
"""report.py: from data to words. The data here are made up, so that each sentence has a
known cause.
"""

from __future__ import annotations

import dataclasses
import json
import re
from pathlib import Path
from typing import Any

import pytest

from zswap_py import report
from zswap_py.report import Figures, Report, Unavailable
from zswap_py.report.format import percent

P = 4096
MIB = 1 << 20

NOTHING_MISSED = dict.fromkeys(
    ("swapped", "locked", "hugetlb", "zero_mapped", "vanished", "unreadable"), 0
)


def figures(name: str, pool_pages: int, load: float = 1000.0, **changes: Any) -> Figures:
    """4,000 stored pages in a pool of so many; loads take `load` ns, quartiles 5% to
    both sides.
    """
    made = Figures(
        name=name,
        backend="kernel",
        library_version="1.0",
        kernel_sizes=True,
        stored_pages=4000,
        stored_incompressible_pages=40,
        rejected_pages=0,
        compressed_bytes=pool_pages * 3900,
        pool_total_size=pool_pages * P,
        ratio=4000 / pool_pages,
        net_saved_bytes=(4000 - pool_pages) * P,
        estimated_pool_total_size=pool_pages * P,
        estimated_net_saved_bytes=(4000 - pool_pages) * P,
        store_ns_p50=5 * load,
        store_ns_p25=4 * load,
        store_ns_p75=6 * load,
        load_ns_p50=load,
        load_ns_p25=0.95 * load,
        load_ns_p75=1.05 * load,
        intact=True,
    )
    return dataclasses.replace(made, **changes)


def make(*compressors: Figures | Unavailable, **changes: Any) -> Report:
    made = Report(
        schema=1,
        complete=True,
        command="zswap-py report x",
        host={"cpu": "a CPU", "kernel": "6.1"},
        source=[{"kind": "file", "label": "x", "path": "x", "pages": 4096, "tail_bytes": 0}],
        kernel="6.18",
        series="v10",
        page_size=P,
        folio_pages=1,
        pages_total=4096,
        estimated=False,
        pages=4096,
        zero_pages=96,
        not_read=dict(NOTHING_MISSED),
        processes_gone=[],
        compressors=list(compressors),
    )
    return dataclasses.replace(made, **changes)


# ---- JSON ----

TOP = {
    "schema": int,
    "complete": bool,
    "command": str,
    "host": dict,
    "source": list,
    "kernel": str,
    "series": str,
    "page_size": int,
    "folio_pages": int,
    "pages_total": int,
    "estimated": bool,
    "pages": int,
    "zero_pages": int,
    "not_read": dict,
    "processes_gone": list,
    "compressors": list,
}
EACH = {
    "name": str,
    "backend": str,
    "library_version": str,
    "kernel_sizes": bool,
    "stored_pages": int,
    "stored_incompressible_pages": int,
    "rejected_pages": int,
    "compressed_bytes": int,
    "pool_total_size": int,
    "ratio": float,
    "net_saved_bytes": int,
    "estimated_pool_total_size": int,
    "estimated_net_saved_bytes": int,
    "store_ns_p50": float,
    "store_ns_p25": float,
    "store_ns_p75": float,
    "load_ns_p50": float,
    "load_ns_p25": float,
    "load_ns_p75": float,
    "intact": bool,
}


def test_json_has_the_promised_names_and_types() -> None:
    data = json.loads(
        report.to_json(make(figures("lz4", 2000), Unavailable("842", None, "no library")))
    )
    assert {name: type(value) for name, value in data.items()} == TOP
    assert {name: type(value) for name, value in data["compressors"][0].items()} == EACH
    assert data["compressors"][1] == {"name": "842", "backend": None, "unavailable": "no library"}
    assert list(data["not_read"]) == list(NOTHING_MISSED)
    assert list(data["host"]) == ["cpu", "kernel"]


def sampled() -> Report:
    """A tenth was read; of the whole the pool is a little less than ten times as
    large.
    """
    estimate = {"estimated_pool_total_size": 19200 * P, "estimated_net_saved_bytes": 20800 * P}
    return make(figures("lz4", 2000, **estimate), pages_total=40960)


def test_every_field_is_in_the_docs() -> None:
    docs = (Path(__file__).parent.parent / "docs" / "report.md").read_text()
    names = [
        *TOP,
        *EACH,
        *NOTHING_MISSED,
        "unavailable",
        *("cpu", "kind", "label", "tail_bytes", "path", "pid"),
    ]
    assert [name for name in names if f"`{name}`" not in docs.replace("not_read.", "")] == []


# ---- scaling ----


def test_a_sample_is_scaled_up_and_says_so() -> None:
    text = report.to_text(sampled())
    assert "4,096 of 40,960 pages (16.0 MiB of 160.0 MiB), scaled up" in text
    assert "lz4 would save 81.2 MiB of 160.0 MiB, net" in text
    assert "81.2 MiB   2.08  75.0 MiB" in text
    assert "zero-filled pages: 3.8 MiB" in text  # 96 pages, ten times


def test_what_was_read_whole_is_not_scaled() -> None:
    assert make(figures("lz4", 2000)).scale == 1
    assert "scaled" not in report.to_text(make(figures("lz4", 2000)))


def test_pages_that_vanished_are_not_made_up_for() -> None:
    gone = make(figures("lz4", 2000), pages_total=5000, not_read=NOTHING_MISSED | {"vanished": 904})
    assert gone.scale == 1


def test_total_is_one_figure_when_pages_vanished() -> None:
    """A large process exited while a sample was read: what is left is in the header as
    in the headline.
    """
    vanished = NOTHING_MISSED | {"vanished": 36864}
    text = report.to_text(make(figures("lz4", 2000), pages_total=409600, not_read=vanished))
    assert "4,096 of 40,960 pages (16.0 MiB of 160.0 MiB), scaled up" in text
    assert " of 160.0 MiB, net" in text
    assert "1.6 GiB" not in text


def test_shares_of_pages_are_called_estimated() -> None:
    text = report.to_text(make(figures("lz4", 2000), estimated=True))
    assert "4,096 pages, 16.0 MiB, estimated\n" in text
    assert "estimated: only root can tell which pages processes share" in text
    assert "estimated" not in report.to_text(make(figures("lz4", 2000)))


def test_what_is_not_complete_is_not_scaled() -> None:
    cut = make(figures("lz4", 2000), pages_total=40960, complete=False)
    assert cut.scale == 1
    assert "incomplete, not scaled up" in report.to_text(cut)
    assert "lz4 would save 7.8 MiB of 16.0 MiB" in report.to_text(cut)


def test_nothing_read_makes_a_report_too() -> None:
    unknown = dict.fromkeys(f"{kind}_ns_p{q}" for kind in ("store", "load") for q in (25, 50, 75))
    none = figures(
        "lz4",
        1,
        stored_pages=0,
        ratio=None,
        estimated_pool_total_size=0,
        estimated_net_saved_bytes=0,
        **unknown,
    )
    text = report.to_text(make(none, pages=0, zero_pages=0, pages_total=None, complete=False))
    assert "Nothing was measured." in text
    assert "compressor" not in text
    assert report.advice(make(none)) is None


# ---- advice ----


def test_advice_names_saving_and_time() -> None:
    # 3,000 and 2,500 pages saved: 20% more; 4,200 and 2,000 ns
    assert (
        report.advice(make(figures("lz4", 1500, 2000), figures("zstd", 1000, 4200)))
        == "zstd saves 20% more memory than lz4; a load takes 2.1x as long."
    )


@pytest.mark.parametrize(
    "load", [2100, 2000, 1990], ids=["overlapping", "equal", "a little faster"]
)
def test_no_word_about_speed_where_the_quartiles_overlap(load: float) -> None:
    assert (
        report.advice(make(figures("lz4", 1500, 2000), figures("zstd", 1000, load)))
        == "zstd saves 20% more memory than lz4."
    )


def test_no_word_about_speed_after_few_pages() -> None:
    few = {"stored_pages": 1000, "estimated_net_saved_bytes": 500 * P}
    sentence = report.advice(
        make(
            figures("lz4", 500, 2000, **few),
            figures("zstd", 500, 9000, **few | {"estimated_net_saved_bytes": 600 * P}),
        )
    )
    assert sentence == "zstd saves 20% more memory than lz4."


def test_rivals_that_load_alike_are_told_apart_by_what_they_save() -> None:
    for lz4, lzo in ((1010, 1000), (1000, 1010)):
        made = make(
            figures("lz4", 1600, lz4), figures("lzo", 1500, lzo), figures("zstd", 1000, 4000)
        )
        assert str(report.advice(made)).startswith(
            "zstd saves 20% more memory than lzo; a load takes "
        )


def test_what_saves_the_same_and_loads_faster_is_picked() -> None:
    made = make(
        figures("deflate", 1000, 9000), figures("zstd", 1010, 4000), figures("lz4", 1500, 1000)
    )
    assert made.pick is not None
    assert made.pick.name == "zstd"
    assert [f.name for f in made.figures] == ["deflate", "zstd", "lz4"]
    assert report.advice(made) == "zstd saves 20% more memory than lz4; a load takes 4.0x as long."


def test_what_saves_the_same_and_loads_alike_is_not_picked() -> None:
    made = make(figures("deflate", 1000, 9000), figures("zstd", 1010, 8800))
    assert made.pick is not None
    assert made.pick.name == "deflate"
    assert report.advice(made) == "deflate and zstd save the same to within 2%."


def test_what_saves_most_and_loads_fastest_is_said() -> None:
    assert (
        report.advice(make(figures("lz4", 1500, 9000), figures("zstd", 1000, 4200)))
        == "zstd saves the most, and its loads are the fastest."
    )
    assert (
        report.advice(make(figures("lz4", 1010, 1000), figures("zstd", 1000, 4200)))
        == "lz4 saves as much as zstd, to within 0.33%, and its loads are the fastest."
    )


def test_one_compressor_is_measured_against_the_memory() -> None:
    assert (
        report.advice(make(figures("lz4", 1500)))
        == "lz4 would save 62% of this memory, without its zero-filled pages."
    )


def test_little_or_nothing_saved_has_its_cause() -> None:
    lost = figures("lz4", 4000, stored_incompressible_pages=3900, estimated_net_saved_bytes=-1)
    assert (
        report.advice(make(lost))
        == "zswap would save nothing here: 98% of the pages do not compress."
    )
    assert "zswap would save nothing of 16.0 MiB" in report.headline(make(lost))
    little = figures("lz4", 3800, stored_incompressible_pages=3700)
    assert (
        report.advice(make(little))
        == "zswap would save little here, 5% with lz4: 92% of the pages do not compress."
    )
    refused = figures(
        "lz4",
        1,
        stored_pages=0,
        stored_incompressible_pages=0,
        rejected_pages=4000,
        estimated_net_saved_bytes=0,
    )
    assert (
        report.advice(make(refused, folio_pages=16))
        == "zswap would save nothing here: 100% of the pages lie in folios with a page that does "
        "not compress."
    )


def test_rival_that_saves_nothing() -> None:
    nothing = figures("lz4", 4100, 1000, estimated_net_saved_bytes=-100)
    assert (
        report.advice(make(nothing, figures("zstd", 1000, 4000)))
        == "zstd saves memory, lz4 saves none; a load takes 4.0x as long."
    )


def test_damaged_figures_are_neither_picked_nor_compared() -> None:
    made = make(figures("zstd", 1000, intact=False), figures("lz4", 1500))
    assert made.pick is not None
    assert made.pick.name == "lz4"
    assert re.search(r"zstd +DAMAGED", report.to_text(made))
    assert (
        report.advice(made) == "lz4 would save 62% of this memory, without its zero-filled pages."
    )


@pytest.mark.parametrize(("scale", "pages"), [(1, "1 page, 0.025%"), (10, "10 pages, 0.025%")])
def test_what_goes_to_the_disk_is_said_in_words(scale: int, pages: str) -> None:
    refused = figures("lz4", 2000, stored_pages=3999, rejected_pages=1)
    most = figures("zstd", 1500, stored_pages=1000, rejected_pages=3000)
    said = report.to_text(
        make(refused, most, figures("lzo", 1000), kernel="6.16", pages_total=4096 * scale),
        width=200,
    )
    assert (
        f"rejected by zswap, and so written to disk: zstd {3000 * scale:,} pages, 75%; lz4 "
        f"{pages}\n" in said
    )
    assert "to disk" not in report.to_text(make(figures("lzo", 1000), kernel="6.16"))


def test_names_that_do_not_print_are_shown() -> None:
    label = "\x1b[31m\n\u202e\udcff"
    hostile = make(
        figures("lz4\x1b[0m", 1500),
        figures("lzo", 1500, kernel_sizes=False, library_version="1\x1b\n2"),
        Unavailable("842", None, "no\nlibrary"),
        source=[{"kind": "file", "label": label}],
    )
    for text in (report.to_text(hostile), report.to_text(hostile, colour=True)):
        plain = re.sub(r"\x1b\[[0-9;]*m", "", text) if text != report.to_text(hostile) else text
        assert plain.replace("\n", "").isprintable()
        assert plain.startswith(r"\x1b[31m\n\u202e\xff: ")
    assert r"lz4\x1b[0m" in report.to_text(hostile)
    assert json.loads(report.to_json(hostile))["source"][0]["label"] == label


# ---- the table ----


def everything() -> Report:
    """Numbers as wide as they come."""
    wide = {"pages_total": 4096 * 9999, "not_read": NOTHING_MISSED | {"locked": 12345}}
    return make(
        figures("lz4", 2345),
        figures("lzo-rle", 2000, 123456, stored_incompressible_pages=1),
        figures("deflate", 1000, kernel_sizes=False, backend="libdeflate"),
        figures("zstd", 1100, 900),
        Unavailable("842", None, "no library has sw842, the kernel's software encoder of it"),
        **wide,
    )


def test_the_table_fits_80_columns() -> None:
    text = report.to_text(everything())
    assert max(map(len, text.splitlines())) <= 80
    assert "842 is not available: no library has sw842" in text
    assert "deflate ~" in text
    assert "~ sizes may differ from the kernel's: libdeflate 1.0" in text
    assert "pages not read: 12,345 locked" in text
    rows = [
        line for line in text.splitlines() if re.match(r"[* ]  (deflate|zstd|lz4|lzo-rle) ", line)
    ]
    assert [line.split()[0] for line in rows] == ["*", "zstd", "lzo-rle", "lz4"] or [
        line[0] for line in rows
    ].count("*") == 1
    assert len({len(line) for line in rows}) == 1  # right-aligned


def test_narrow_output_cuts_no_figure() -> None:
    wide, narrow = report.to_text(everything()), report.to_text(everything(), width=50)
    numbers = re.findall(r"\d[\d.,]*", wide.partition("compressor")[2])
    assert re.findall(r"\d[\d.,]*", narrow.partition("compressor")[2]) == numbers
    assert "…" not in narrow


def test_colour_only_if_asked() -> None:
    assert "\x1b" not in report.to_text(everything())
    coloured = report.to_text(everything(), colour=True)
    assert "\x1b[1;32m" in coloured
    assert re.sub(r"\x1b\[[0-9;]*m", "", coloured).split() == report.to_text(everything()).split()


def test_outputs_without_the_micro_sign() -> None:
    assert "us/page" in report.to_text(everything(), micro="u")
    assert report.to_text(everything(), micro="u").isascii() is True


def test_backends_are_named_where_a_name_comes_twice() -> None:
    text = report.to_text(
        make(figures("lz4", 1500), figures("lz4", 1600, backend="liblz4", kernel_sizes=False))
    )
    assert "lz4:kernel  " in text
    assert "lz4:liblz4 ~" in text
    assert "lz4:" not in report.to_text(make(figures("lz4", 1500)))


def test_many_sources_are_counted() -> None:
    source = [
        {"kind": "process", "label": f'pid {i} "sh"', "pid": i, "pages": 5, "tail_bytes": 0}
        for i in range(2000)
    ]
    lines = report.to_text(
        make(figures("lz4", 1500), source=[*source, {"kind": "core", "label": "core"}])
    ).splitlines()
    assert lines[0].startswith("2,000 processes, 1 core: ")
    two = report.to_text(make(figures("lz4", 1500), source=source[:2])).splitlines()
    assert two[0].startswith('pid 0 "sh" and pid 1 "sh": ')


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
    ("share", "text"),
    [
        (0, "0%"),
        (0.00001, "0.01%"),
        (0.0041, "0.41%"),
        (0.05, "5%"),
        (0.994, "99%"),
        (0.9999, "99.9%"),
        (1, "100%"),
    ],
)
def test_percentages_are_0_and_100_only_if_it_is_none_or_all(share: float, text: str) -> None:
    assert percent(share) == text
