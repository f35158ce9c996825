# SPDX-License-Identifier: GPL-2.0-or-later
"""Records of kernels' figures, as JSON; and ours of the same pages, compared with them.

A record has no page. It names its corpora by seed and number of pages, with their
SHA-256: zswap_py.corpus makes them again.
"""

from __future__ import annotations

import argparse
import json
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from zswap_py import crypto
from zswap_py.corpus import corpus, digest
from zswap_py.verify.compare import as_modelled, comparison, rules_of
from zswap_py.verify.data import POOL, Comparison, Steps
from zswap_py.verify.walk import Ours, Walk

#: The kernels that are recorded: those of Debian's stable releases, and later ones.
VERSIONS = ("6.1", "6.12", "6.16", "6.17", "6.18", "7.2", "7.3")
DATA = Path(__file__).resolve().parent.parent / "data" / "kernels"


class Corpus(NamedTuple):
    """Pages that zswap_py.corpus makes."""

    seed: int
    nr_pages: int

    @property
    def name(self) -> str:
        """The key of it in a record, and its file's name."""
        return f"seed {self.seed}"

    @property
    def pages(self) -> tuple[bytes, ...]:
        """The pages."""
        return corpus(self.seed, self.nr_pages)

    def described(self) -> dict[str, Any]:
        """What a record has of it."""
        return {"seed": self.seed, "pages": self.nr_pages, "sha256": digest(self.pages)}


def corpora_of(record: dict[str, Any]) -> dict[str, Corpus]:
    """Makes a record's corpora again. Raises ValueError if their bytes are others."""
    found = {}
    for name, described in record["corpora"].items():
        found[name] = Corpus(described["seed"], described["pages"])
        if found[name].described() != described:
            raise ValueError(f"corpus {name}: zswap_py.corpus makes other pages now: record anew")
    return found


def dumps(record: dict[str, Any]) -> str:
    """Returns a record as JSON, a figure a line."""
    text = json.dumps(record, indent=1)
    return re.sub(r"\[[\s\d,-]+\]", lambda m: re.sub(r"\s+", " ", m[0]), text) + "\n"


def load(directory: Path = DATA) -> dict[str, dict[str, Any]]:
    """Returns the records in a directory, by version, in the order of VERSIONS."""
    paths = {version: directory / f"{version}.json" for version in VERSIONS}
    return {v: json.loads(path.read_text()) for v, path in paths.items() if path.is_file()}


# ---- ours ----


def walk_of(told: dict[str, Any]) -> Walk:
    """A walk of a record."""
    figures = {name: values for name, values in told.items() if name != "sizes"}
    steps: Steps = [
        dict(zip(figures, values, strict=True)) for values in zip(*figures.values(), strict=True)
    ]
    return Walk(steps, told.get("sizes"))


def backend_of(name: str) -> crypto.CompressorInfo | None:
    """Returns the backend whose sizes should be the kernel's: the first one."""
    found = [c for c in crypto.compressors() if c.name == name and c.available]
    return max(found, key=lambda c: c.kernel_sizes, default=None)


def compared(record: dict[str, Any], where: str, name: str, corpus: Corpus) -> Comparison:
    """Walks through ours, as the record's kernel, and compares."""
    codec = backend_of(name)
    assert codec is not None, f"no backend of {name} is here"
    ours = Ours(rules_of(record["host"]["kernel"]), record["chain_size"])
    spec = f"{codec.name}:{codec.backend}"
    kernel = walk_of(record[where][name][corpus.name])
    walk = (ours.zswap if where == "zswap" else ours.zram)(spec, corpus.pages)
    if kernel.sizes is not None and walk.sizes is not None:
        walk = walk._replace(sizes=walk.sizes[: len(kernel.sizes)])
    return as_modelled(comparison(where, codec, kernel, walk), record["host"]["kernel"])


def all_compared(record: dict[str, Any]) -> Iterator[tuple[Corpus, Comparison]]:
    """Compares each figure of a record of which a backend is here."""
    for of in corpora_of(record).values():
        for where in POOL:
            for name in record.get(where, {}):
                if backend_of(name):
                    yield of, compared(record, where, name, of)


# ---- the table ----


def cell(found: Sequence[Comparison]) -> str:
    """Returns what differs of some comparisons: "0", or the largest differences."""
    if all(c.exact for c in found):
        return "0" if found[0].differences else "0 (sizes)"
    said = []
    if largest := max((n for c in found for n in c.differences), key=abs, default=0):
        said.append(f"{largest:+,}")
    if stores := sum(c.page_stores_differ or 0 for c in found):
        said.append(f"{stores:,} sizes")
    if not said:
        said = sorted({counter for c in found for counter in c.wrong_counters})
    return "\n".join(said)


def main(argv: Sequence[str]) -> int:
    """The command line of tests/vm/compare."""
    from rich import box
    from rich.console import Console
    from rich.table import Table

    parser = argparse.ArgumentParser(
        prog="tests/vm/compare",
        description="Compares ours with the figures of kernels that tests/vm/record wrote: the "
        "largest difference of the pool, in bytes, after any step of any corpus, and in zram the "
        "number of pages whose sizes differ.",
        epilog="Exit codes: 0: a backend that claims the kernel's sizes has them; 3: one differs.",
    )
    parser.add_argument("directory", type=Path, nargs="?", default=DATA, help="(%(default)s)")
    directory = parser.parse_args(argv).directory
    records = load(directory)
    if not records:
        parser.error(f"{directory} has no records: tests/vm/record --to {directory}")
    cells: dict[tuple[str, str], dict[str, list[Comparison]]] = {}
    for version, record in records.items():
        for _, c in all_compared(record):
            row = c.where, f"{c.name}:{c.backend}{'' if c.kernel_sizes else ' ~'}"
            cells.setdefault(row, {}).setdefault(version, []).append(c)
    table = Table("", "", *records, box=box.SIMPLE)
    for row, by in sorted(cells.items(), key=lambda of: of[0][0], reverse=True):  # zswap first
        table.add_row(*row, *(cell(by[v]) if v in by else "-" for v in records))
    console = Console(width=160)
    console.print(table)
    for version, record in records.items():
        pages = sum(of["pages"] for of in record["corpora"].values())
        console.print(f"{version}: Linux {record['host']['kernel']}, {pages:,} pages")
        for what, why in record["not_recorded"].items():
            console.print(f"  {what} was not recorded: {why}")
    found = [c for by in cells.values() for those in by.values() for c in those]
    return 3 if any(c.kernel_sizes and not c.exact for c in found) else 0
