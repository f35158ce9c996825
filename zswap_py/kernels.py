# SPDX-License-Identifier: GPL-2.0-or-later
"""What differs between kernels, and between versions of the batching series: one table,
one row a difference.
"""

from __future__ import annotations

from typing import Any, NamedTuple

KERNELS = ("6.16", "6.18")
SERIES = (None, "v10", "v13")


class Difference(NamedTuple):
    """One thing that is not the same everywhere, its value by kernel or by series, and
    where that was read or seen.
    """

    name: str
    axis: str
    values: dict[str | None, Any]
    source: str


TABLE = (
    Difference(
        "incompressible",
        "kernel",
        {"6.16": "reject", "6.18": "store"},
        'linux-mm, August 2025, "mm/zswap: store <PAGE_SIZE compression failed page as-is"; seen '
        "on 6.18",
    ),
    Difference(
        "check_dlen",
        "kernel",
        {"6.16": False, "6.18": True},
        "zswap_compress(): a length of 0 or of a page and more is a failed compression from 6.18 "
        "on; before, it is "
        "left to zs_malloc(), which takes exactly a page and answers -ENOSPC to more",
    ),
    Difference(
        "zstd_variant",
        "kernel",
        {"6.16": 1, "6.18": 0},
        "crypto/zstd.c: parameters of level 3 for an unknown size; for 256 KiB since it is an "
        "acomp algorithm (6.17)",
    ),
    Difference(
        "max_batch",
        "series",
        {None: 1, "v10": 8, "v13": 8},
        "ZSWAP_MAX_BATCH_SIZE, v10 23/25; before the series a context has one buffer",
    ),
    Difference(
        "sequential_batch",
        "series",
        {None: 1, "v10": 2, "v13": 8},
        "pool->batch_size of a compressor that does not batch: v10 23/25 has ZSWAP_MAX_BATCH_SIZE "
        "/ 4, v11 and later "
        "all of it",
    ),
    Difference(
        "dead_frees",
        "series",
        {None: True, "v10": False, "v13": False},
        "zswap_cpu_comp_dead(): a CPU that goes offline loses its context; v10 21/25 ties it to "
        "the pool's life",
    ),
    Difference(
        "instance_stays",
        "series",
        {None: True, "v10": False, "v13": True},
        "v10 21/25 removes the hotplug instance as soon as it was added, so a CPU that first "
        "comes up later gets no "
        "context; "
        "v13 removes it when the pool is destroyed",
    ),
)


def rules(kernel: str, series: str | None) -> dict[str, Any]:
    """Each difference's value for a kernel ("6.16", "6.18") and a series (None, "v10",
    "v13"); else ValueError.
    """
    if kernel not in KERNELS:
        raise ValueError(f"kernel {kernel!r} is not one of {', '.join(KERNELS)}")
    if series not in SERIES:
        raise ValueError(
            f"series {series!r} is not one of None, {', '.join(str(s) for s in SERIES if s)}"
        )
    return {row.name: row.values[kernel if row.axis == "kernel" else series] for row in TABLE}
