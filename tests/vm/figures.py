# SPDX-License-Identifier: GPL-2.0-or-later
"""Asks the running kernel what its zswap and zram make of pages, and prints a record.

usage (root, no swap in use): python tests/vm/figures.py CORPUS...

Each CORPUS is a file of pages. The record is a JSON object: the kernel, its settings,
and by file and compressor what zswap_py.verify.walk.Walk has; of sizes those of the
first step, in which each page but those of zeros is stored once.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from zswap_py._lib.signals import Check, interruptions
from zswap_py.crypto import KERNEL_NAMES
from zswap_py.verify.host import PAGE_SIZE, Host
from zswap_py.verify.walk import Walk, host_zram, host_zswap

SWAP_IN = "/var/tmp"


def settings(host: Host) -> dict[str, str]:
    """What zswap and swap are set to while pages are swapped; zpool is none's since
    Linux 6.18.
    """
    paths = {"page-cluster": host.page_cluster, "zpool": host.parameters / "zpool"}
    with host.zswap("lzo", 1, SWAP_IN):
        return {name: path.read_text().strip() for name, path in paths.items() if path.is_file()}


def by_figure(walk: Walk, pages: Sequence[bytes]) -> dict[str, Any]:
    """A walk as JSON: each figure's values after the steps, and the pages' sizes."""
    told: dict[str, Any] = {name: [step[name] for step in walk.steps] for name in walk.steps[0]}
    if walk.sizes is not None:
        told["sizes"] = walk.sizes[: sum(any(page) for page in pages)]
    return told


def record(host: Host, corpora: Mapping[str, Sequence[bytes]], check: Check) -> dict[str, Any]:
    """Walks each corpus through zswap and zram, with each compressor that they take."""
    found: dict[str, Any] = {
        "host": host.described() | settings(host),
        "page_size": PAGE_SIZE,
        "chain_size": host.chain_size(),
        "not_recorded": {},
    }
    walks: dict[str, Callable[[str, Sequence[bytes]], Walk]] = {
        "zswap": lambda name, pages: host_zswap(host, name, pages, SWAP_IN, check),
        "zram": lambda name, pages: host_zram(host, name, pages, check),
    }
    taken = {"zram": host.zram_algorithms()}
    if reason := host.no_zswap():
        found["not_recorded"]["zswap"] = reason
    else:
        taken["zswap"] = host.zswap_compressors(list(KERNEL_NAMES))
    for where in sorted(taken, reverse=True):
        found[where] = {
            name: {of: by_figure(walks[where](name, pages), pages) for of, pages in corpora.items()}
            for name in KERNEL_NAMES
            if name in taken[where]
        }
    return found


def main(paths: Sequence[str]) -> None:
    """Prints the record of these files."""
    subprocess.run(["modprobe", "zram"], check=True)  # compressors are loaded by their names
    corpora = {}
    for path in map(Path, paths):
        data = path.read_bytes()
        corpora[path.name] = [
            data[i : i + PAGE_SIZE] for i in range(0, len(data) - PAGE_SIZE + 1, PAGE_SIZE)
        ]
    host = Host()
    host.must_be_usable()
    with interruptions() as check:
        json.dump(record(host, corpora, check), sys.stdout)


if __name__ == "__main__":
    main(sys.argv[1:])
