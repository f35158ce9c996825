# SPDX-License-Identifier: GPL-2.0-or-later
"""A verdict for other programs: CSV for a spreadsheet, Markdown for a page."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from zswap_py.report.tables import csv_text, escaped, markdown_table
from zswap_py.verify.data import POOL, STEPS, Comparison, Verdict
from zswap_py.verify.text import headline, notes


def to_csv(verdict: Verdict) -> str:
    """Returns a table: a row for each figure, after each step, of each comparison."""
    return csv_text([row for c in verdict.comparisons for row in _rows(verdict, c)])


def _rows(verdict: Verdict, c: Comparison) -> Iterator[dict[str, Any]]:
    for step, kernel, ours in zip(STEPS, c.kernel, c.ours, strict=True):
        for figure, value in kernel.items():
            yield {
                "host_kernel": verdict.host["kernel"],
                "rules": verdict.rules,
                "where": c.where,
                "name": c.name,
                "backend": c.backend,
                "kernel_sizes": c.kernel_sizes,
                "step": step,
                "figure": figure,
                "kernel": value,
                "ours": ours[figure],
            }


def to_markdown(verdict: Verdict) -> str:
    """Returns a section for a page: the verdict, a table, the notes."""
    table = markdown_table(
        [
            (
                "",
                "compressor",
                "kernel's pool, all stored",
                "ours minus it",
                "page sizes differing",
            ),
            *(_row(c) for c in verdict.comparisons),
        ]
    )
    rest = [f"- {escaped(note)}" for note in notes(verdict)]
    return "\n".join([f"**{escaped(headline(verdict))}**", "", *table, *rest]) + "\n"


def _row(c: Comparison) -> tuple[str, ...]:
    pages = "-" if c.page_stores is None else f"{c.page_stores_differ:,}"
    mark = "" if c.kernel_sizes else " ~"
    grown = c.differences[0]
    pool = c.kernel[0][POOL[c.where]]
    return (
        c.where,
        f"{c.name}:{c.backend}{mark}",
        f"{pool:,}",
        f"{grown:+,}" if grown else "0",
        pages,
    )
