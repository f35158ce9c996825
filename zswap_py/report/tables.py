# SPDX-License-Identifier: GPL-2.0-or-later
"""A report for other programs: CSV for a spreadsheet, Markdown for a page."""

from __future__ import annotations

import csv
import dataclasses
import io
import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from zswap_py._lib.names import shown
from zswap_py.report.advice import advice, largest, lines
from zswap_py.report.data import Figures, Report, Savings
from zswap_py.report.format import around, micros, percent, size
from zswap_py.report.text import first_lines, headline

Row = dict[str, Any]

ESTIMATES = [field.name for field in dataclasses.fields(Savings)]


def to_csv(report: Report) -> str:
    """Returns a table with a row for each compressor, set of pages (all, cold) and
    group; the rows of kind "all" are the whole memory. Sizes in bytes, times in
    nanoseconds.
    """
    return csv_text(list(_rows(report)))


def _rows(report: Report) -> Iterator[Row]:
    head = {
        "report": report.id,
        "time": report.time,
        "host": report.host.name,
        **{f"label.{name}": value for name, value in sorted(report.labels.items())},
        "kernel": report.kernel,
    }
    for f in report.figures:
        name = report.label(f)
        parts = [("all", "", report.pages_total, report.cold_pages, f.all, f.cold)] + [
            (g.kind, g.label, g.pages, g.cold_pages, g.savings[name].all, g.savings[name].cold)
            for g in largest(report.groups)
            if name in g.savings
        ]
        for kind, label, pages, cold_pages, whole, cold in parts:
            for of, count, savings in (("all", pages, whole), ("cold", cold_pages, cold)):
                if savings is not None:
                    yield {
                        **head,
                        "kind": kind,
                        "label": label,
                        "compressor": name,
                        "of": of,
                        "pages": count,
                        **_estimates(savings),
                        "ratio": savings.ratio(report.page_size),
                        "store_ns_p50": f.store_ns_p50,
                        "load_ns_p50": f.load_ns_p50,
                    }


def _estimates(savings: Savings) -> Row:
    row: Row = {}
    for name in ESTIMATES:
        estimate = getattr(savings, name)
        row[name] = round(estimate.value)
        row[f"{name}_low"], row[f"{name}_high"] = round(estimate.low), round(estimate.high)
    return row


def csv_text(rows: Sequence[Row]) -> str:
    """Returns rows as CSV with a line of names. None is an empty cell; unprintable
    characters are escaped.
    """
    out = io.StringIO()
    names = list(dict.fromkeys(name for row in rows for name in row))
    writer = csv.DictWriter(out, names, lineterminator="\n")
    writer.writerow({name: shown(name) for name in names})
    for row in rows:
        writer.writerow({k: shown(v) if isinstance(v, str) else v for k, v in row.items()})
    return out.getvalue()


# ---- Markdown ----


def to_markdown(report: Report) -> str:
    """Returns a section for a page: the first lines, the sentence, two tables, the
    lines that follow.
    """
    out = []
    for line, _style in first_lines(report):
        out += [escaped(line), ""]
    out += [f"**{escaped(headline(report))}**", ""]
    name = report.label(report.pick or report.figures[0]) if report.figures else ""
    if report.groups and name:
        out += markdown_table(
            [
                ("", "swappable", "cold", "saved", "ratio", "do not compress"),
                *(
                    (
                        group.label,
                        size(group.pages * report.page_size),
                        "-"
                        if group.cold_pages is None
                        else size(group.cold_pages * report.page_size),
                        *_cells(group.savings[name].savings, report.page_size),
                        percent(group.savings[name].savings.incompressible),
                    )
                    for group in largest(report.groups)
                    if name in group.savings
                ),
            ]
        )
    out += markdown_table(
        [
            ("compressor", "saved", "ratio", "pool", "store µs/page", "load µs/page"),
            *(_compressor(report, f) for f in report.figures),
        ]
    )
    if sentence := advice(report):
        out += [escaped(sentence), ""]
    out += [f"- {title}: {escaped(text)}" for title, text in lines(report)]
    return "\n".join(out) + "\n"


def _compressor(report: Report, f: Figures) -> tuple[str, ...]:
    name = f"{report.label(f)}{'' if f.kernel_sizes else ' ~'}"
    return (
        f"**{name}**" if f is report.pick else name,
        *_cells(f.savings, report.page_size),
        size(f.savings.pool_total_size.value),
        micros(f.store_ns_p50),
        micros(f.load_ns_p50),
    )


def _cells(savings: Savings, page_size: int) -> tuple[str, str]:
    saved, ratio = savings.net_saved_bytes, savings.ratio(page_size)
    return around(saved.value, saved.error), "-" if ratio is None else f"{ratio:.2f}"


def markdown_table(rows: Iterable[Sequence[str]]) -> list[str]:
    """Returns the lines of a table; the first row is its head, the first column left-
    aligned. Names in the cells are escaped. An empty line ends it.
    """
    head, *body = [[escaped(cell) for cell in row] for row in rows]
    rule = ["---", *["---:"] * (len(head) - 1)]
    return [f"| {' | '.join(row)} |" for row in (head, rule, *body)] + [""]


def escaped(text: str) -> str:
    """Returns a text whose names change nothing in Markdown, nor in HTML."""
    return re.sub(r"([\\`|<>&\[\]])", r"\\\1", shown(text))
