# SPDX-License-Identifier: GPL-2.0-or-later
"""The table of docs/fidelity.md, of what `zswap-py verify --json` told under kernels.

usage: python tests/vm/fidelity.py    writes the table between its two marks
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

DOCS = Path(__file__).resolve().parent.parent.parent / "docs"
DOCUMENT = DOCS / "fidelity.md"
VERDICTS = DOCS / "data"
START, END = "<!-- the table: python tests/vm/fidelity.py -->\n", "<!-- its end -->\n"


def verdicts() -> list[dict[str, Any]]:
    """Returns what each kernel told, oldest first."""
    paths = sorted(VERDICTS.glob("[0-9]*.json"), key=lambda p: [int(n) for n in p.stem.split(".")])
    return [json.loads(path.read_text()) for path in paths]


def cell(comparison: dict[str, Any]) -> str:
    """Returns the pool's largest difference, and how many pages' sizes differ, if any
    does; else the kernel's pool, all pages stored.
    """
    pool = {"zswap": "pool_total_size", "zram": "mem_used_total"}[comparison["where"]]
    kernel, ours = comparison["kernel"], comparison["ours"]
    differ = comparison["page_stores_differ"]
    mark = "" if comparison["kernel_sizes"] else " ~"
    if comparison["exact"]:
        return f"0{mark} ({kernel[0][pool]:,})" if pool in kernel[0] else f"0{mark} (sizes alone)"
    off = [b[pool] - a[pool] for a, b in zip(kernel, ours, strict=True) if pool in a]
    said = [f"{n:+,}" for n in [max(off, key=abs, default=0)] if n]
    said += [f"{differ:,} sizes"] if differ else []
    return (", ".join(said) or "a counter") + mark


def heading(verdict: dict[str, Any]) -> str:
    """Returns a column's: the release without a vendor's part, and the pages' size."""
    release = re.match(r"[\d.]+(-\d+)?", verdict["host"]["kernel"])
    assert release
    return f"{release[0]}, {verdict['pages'] * verdict['page_size'] >> 20} MiB"


def row_of(comparison: dict[str, Any]) -> tuple[str, str]:
    """Returns the key of a comparison's row."""
    return comparison["where"], f"{comparison['name']}:{comparison['backend']}"


def table() -> Iterator[str]:
    """Yields the lines of the table."""
    found = verdicts()
    cells: dict[tuple[str, str], dict[str, str]] = {}
    for v in found:
        for comparison in v["comparisons"]:
            row = cells.setdefault(row_of(comparison), {})
            row[v["host"]["kernel"]] = cell(comparison)
    releases = [v["host"]["kernel"] for v in found]
    yield f"| | {' | '.join(map(heading, found))} |"
    yield f"| --- |{' --- |' * len(found)}"
    for (where, codec), row in sorted(cells.items(), key=lambda of: of[0][0], reverse=True):
        yield f"| {where} {codec} | {' | '.join(row.get(r, '-') for r in releases)} |"
    for v in found:
        for what, why in (v["not_compared"] | v["broken_off"]).items():
            yield f"\nLinux {v['host']['kernel']}: {what} was not compared: {why}."


def document() -> str:
    """Returns the document with the table of today's verdicts."""
    before, _, rest = DOCUMENT.read_text().partition(START)
    after = rest.partition(END)[2]
    return f"{before}{START}{chr(10).join(table())}\n{END}{after}"


if __name__ == "__main__":
    DOCUMENT.write_text(document())
