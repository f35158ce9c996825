# SPDX-License-Identifier: GPL-2.0-or-later
"""Reports that are made up, so that each sentence and each row has a known cause."""

from __future__ import annotations

import dataclasses
from typing import Any

from zswap_py.report import (
    SCHEMA,
    Cost,
    Estimate,
    Figures,
    Group,
    GroupSavings,
    Host,
    Report,
    Sample,
    Savings,
    Unavailable,
)
from zswap_py.report.data import Coldness, SwapArea, ZswapSettings

P = 4096
MIB, GIB = 1 << 20, 1 << 30
NAMES = ("zstd", "lzo", "lz4")

NOTHING_MISSED = dict.fromkeys(
    (
        "swapped",
        "locked",
        "hugetlb",
        "droppable",
        "file_backed",
        "zero_mapped",
        "vanished",
        "unreadable",
    ),
    0,
)


def estimate(value: float, error: float = 0) -> Estimate:
    """A figure with an interval of `error` to both sides."""
    return Estimate(value, value - error, value + error)


def savings(
    pool_pages: float,
    stored: float = 4000,
    *,
    raw: float = 40,
    rejected: float = 0,
    error: float = 0,
    saved: float | None = None,
) -> Savings:
    """`stored` pages in a pool of so many; `error` pages to both sides of the figure of
    what is saved, and of the pool.
    """
    saved = (stored - pool_pages) * P if saved is None else saved
    return Savings(
        stored_pages=estimate(stored),
        stored_incompressible_pages=estimate(raw),
        rejected_pages=estimate(rejected),
        compressed_bytes=estimate(pool_pages * 3900),
        pool_total_size=estimate(pool_pages * P, error * P),
        net_saved_bytes=estimate(saved, error * P),
    )


def figures(name: str, pool_pages: float, load: float = 1000.0, **changes: Any) -> Figures:
    """4,000 stored pages in a pool of so many; loads take `load` ns, quartiles 5% to
    both sides. `changes` are fields, or savings()' arguments.
    """
    fields = {field.name for field in dataclasses.fields(Figures)}
    of_savings = {name: changes.pop(name) for name in list(changes) if name not in fields}
    made = Figures(
        name=name,
        backend="kernel",
        library_version="1.0",
        kernel_sizes=True,
        intact=True,
        all=savings(pool_pages, **of_savings),
        cold=None,
        classes={"2048": [4000.0]},
        store_ns_p50=5 * load,
        store_ns_p25=4 * load,
        store_ns_p75=6 * load,
        load_ns_p50=load,
        load_ns_p25=0.95 * load,
        load_ns_p75=1.05 * load,
        sample={"stored_pages": 4000, "pool_total_size": round(pool_pages * P)},
    )
    return dataclasses.replace(made, **changes)


FILE = [{"kind": "file", "label": "x", "path": "x", "pages": 4096, "tail_bytes": 0}]
PROCESS = [{"kind": "process", "label": 'pid 7 "sh"', "pid": 7, "pages": 4096, "tail_bytes": 0}]


def sample(**changes: Any) -> Sample:
    """4,096 pages, all that there are."""
    made = Sample(
        pages=4096,
        zero_pages=96,
        runs=512,
        seed=1,
        precision=None,
        ended="all",
        not_read=dict(NOTHING_MISSED),
        processes_gone=[],
        processes_denied=0,
        heated_pages=0,
    )
    return dataclasses.replace(made, **changes)


def host(**changes: Any) -> Host:
    """A machine of 64 GiB with zswap off and a swap of 8 GiB."""
    made = Host(
        name="web-042",
        cpu="a CPU",
        kernel="6.12.117",
        ram=64 * GIB,
        swap=[SwapArea("nvme0n1p3", "partition", 8 * GIB, 0, False)],
        page_cluster=3,
        zswap=zswap(),
    )
    return dataclasses.replace(made, **changes)


def zswap(**changes: Any) -> ZswapSettings:
    """Its defaults."""
    return dataclasses.replace(ZswapSettings(False, "lzo", 20, 90, False), **changes)


def make(*compressors: Figures | Unavailable, **changes: Any) -> Report:
    """A report on a file of 4,096 pages. `changes` are fields of Report or Sample."""
    fields = {field.name for field in dataclasses.fields(Sample)} - {"zero_pages"}
    of_sample = {name: changes.pop(name) for name in list(changes) if name in fields}
    made = Report(
        schema=SCHEMA,
        id="0f8fad5bd9cb469fa16570867728950e",
        time="2026-11-28T18:00:00Z",
        complete=True,
        command="zswap-py report x",
        host=host(),
        labels={},
        scope="files",
        selected=[],
        source=FILE,
        kernel="6.18",
        target="zswap",
        series="v10",
        page_size=P,
        folio_pages=1,
        pages_total=4096,
        cold_pages=None,
        zero_pages=estimate(96),
        estimated=False,
        cold=None,
        groups=[],
        compressors=list(compressors),
        sample=sample(**of_sample),
        cost=Cost(8.6, 9.0, 4096 * P, 190 * MIB, 1, "idle"),
    )
    return dataclasses.replace(made, **changes)


def live(*compressors: Figures | Unavailable, **changes: Any) -> Report:
    """A report on all processes of the host."""
    return make(*compressors, **({"source": PROCESS, "scope": "host"} | changes))


def group(label: str, pages: int, pool_pages: float, *, cold: bool = False, **how: Any) -> Group:
    """A control group whose pages each of NAMES stores in a pool of so many. Half of it
    is cold, if it is.
    """
    whole = savings(pool_pages, pages, **{"raw": 0} | how)
    half = savings(pool_pages / 2, pages / 2, **{k: v / 2 for k, v in ({"raw": 0} | how).items()})
    return Group(
        kind="cgroup",
        label=label,
        facts={"anon": pages * P, "swap": 5 * MIB},
        pages=pages,
        cold_pages=pages // 2 if cold else None,
        zero_pages=estimate(0),
        savings=dict.fromkeys(NAMES, GroupSavings(whole, half if cold else None)),
    )


def the_screen() -> Report:
    """A host with three groups and cold memory, as large as they come."""
    gib = GIB // P

    def zstd(pool: float, stored: float) -> Savings:
        return savings(
            pool * gib, stored * gib, raw=0, rejected=0.01 * stored * gib, error=0.2 * gib
        )

    def one(name: str, all_pool: float, cold_pool: float, load: float) -> Figures:
        return figures(name, 1, load, all=zstd(all_pool, 40), cold=zstd(cold_pool, 9.4))

    return live(
        one("zstd", 11.5, 2.7, 6200),
        one("lzo", 16, 3.8, 2200),
        one("lz4", 17, 4.1, 1800),
        kernel="6.12",
        pages_total=round(41.2 * gib),
        cold_pages=round(9.6 * gib),
        cold=Coldness("damon", 120.0),
        pages=512 * MIB // P,
        precision=0.05,
        ended="precision",
        groups=[
            group("app/api", round(22.4 * gib), 5 * gib, cold=True, error=0.1 * gib),
            group("app/cache", round(14.6 * gib), 5 * gib, cold=True, rejected=1.6 * gib),
            group("app/batch", round(3.0 * gib), gib, cold=True),
            group("other", round(1.2 * gib), 0.4 * gib, cold=True),
        ],
    )
