# SPDX-License-Identifier: GPL-2.0-or-later
"""Asks the running kernel for rules of kernels.TABLE that it can show by itself.

    python tests/record_kernel_rules.py     # as root, with a disk to swap to: /dev/vda

Symbols tell which functions a kernel has. A large folio is paged out whole, to a block
device, and vmstat tells whether zswap took it. A page of zram is overwritten, and the
pool tells whether its old object was freed before the new one was allocated. Prints one
JSON object.
"""

from __future__ import annotations

import ctypes
import json
import mmap
import os
import random
import subprocess
import time
from pathlib import Path
from typing import Any

from zswap_py.verify.host import MADV_PAGEOUT, Host

DISK = "/dev/vda"
LARGE = 2 << 20
SYMBOLS = (
    "zswap_cpu_comp_dead",
    "zs_obj_read_begin",
    "zs_obj_read_sg_begin",
    "zpool_malloc",
    "zswap_zpool_param_set",
)
EVENTS = ("zswpout", "pswpout", "thp_swpout", "thp_swpout_fallback")


def symbols() -> dict[str, bool]:
    """Returns which of SYMBOLS the kernel has."""
    with open("/proc/kallsyms", encoding="ascii") as f:
        there = {line.split()[2] for line in f}
    return {name: name in there for name in SYMBOLS}


def vmstat() -> dict[str, int]:
    with open("/proc/vmstat", encoding="ascii") as f:
        found = dict(line.split() for line in f)
    return {name: int(found.get(name, 0)) for name in EVENTS}


def large_folio() -> dict[str, int]:
    """Pages a folio of 2 MiB out. Returns the process's huge memory, of which it is
    one, and the changes of EVENTS.
    """
    Path("/sys/kernel/mm/transparent_hugepage/enabled").write_text("madvise")
    memory = mmap.mmap(-1, 2 * LARGE, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    first = ctypes.addressof(ctypes.c_char.from_buffer(memory))
    at = -first % LARGE
    memory.madvise(mmap.MADV_HUGEPAGE, at, LARGE)
    memory[at : at + LARGE] = bytes(i % 251 for i in range(4096)) * (LARGE // 4096)
    with open("/proc/self/smaps", encoding="ascii") as f:
        huge = sum(int(line.split()[1]) for line in f if line.startswith("AnonHugePages"))
    before = vmstat()
    memory.madvise(MADV_PAGEOUT, at, LARGE)
    time.sleep(2)
    after = vmstat()
    return {"folio_kb": huge, **{name: after[name] - before[name] for name in EVENTS}}


def overwrite(host: Host) -> list[int]:
    """Writes two pages that share a page of the pool, then the first one anew. Returns
    mem_used_total after each.
    """
    noise = random.Random(1).randbytes
    used = []
    with host.zram("lz4", 2) as zram:
        for slot in (0, 1, 0):
            zram.store(slot, noise(1950) + bytes(4096 - 1950))
            used.append(zram.stats()["mem_used_total"])
    return used


def main() -> None:
    host = Host()
    zpool = host.parameters / "zpool"
    if zpool.exists():
        zpool.write_text("zsmalloc")
    # before 6.14 only such a device has slots for a large folio
    (Path("/sys/block") / Path(DISK).name / "queue/rotational").write_text("0")
    subprocess.run(["mkswap", DISK], check=True, stdout=subprocess.DEVNULL)
    subprocess.run(["swapon", DISK], check=True)
    (host.parameters / "enabled").write_text("Y")
    recorded: dict[str, Any] = {
        "kernel": host.release,
        "machine": os.uname().machine,
        "symbols": symbols(),
        "parameters": sorted(path.name for path in host.parameters.iterdir()),
        "counters": sorted(path.name for path in (host.debugfs / "zswap").iterdir()),
        "large_folio": large_folio(),
        "zram_overwrite": overwrite(host),
    }
    print(json.dumps(recorded))


if __name__ == "__main__":
    main()
