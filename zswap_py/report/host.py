# SPDX-License-Identifier: GPL-2.0-or-later
"""The machine that a report is made on: memory, swap areas, the kernel's zswap."""

from __future__ import annotations

import os
import re
from pathlib import Path

from zswap_py._lib.params import kstrtobool
from zswap_py.report.data import Host, SwapArea, ZswapSettings

#: zram's devices count as swap in memory.
ZRAM = re.compile(r"zram\d+")


def read_host(root: str | Path = "/") -> Host:
    """Returns the facts of this machine. `root` has its proc and sys.

    What a kernel does not have, or hides from this user, is None or absent.
    """
    root = Path(root)
    uname = os.uname()
    return Host(
        name=uname.nodename,
        cpu=_cpu_model(root) or uname.machine,
        kernel=uname.release,
        ram=_mem_total(root),
        swap=_swap_areas(root),
        page_cluster=_number(root / "proc/sys/vm/page-cluster"),
        zswap=_zswap(root),
    )


def _read(path: Path) -> str | None:
    try:
        return path.read_text("utf-8", "surrogateescape").strip()
    except OSError:
        return None


def _number(path: Path) -> int | None:
    text = _read(path)
    return int(text) if text and text.isdecimal() else None


def _mem_total(root: Path) -> int:
    match = re.search(r"^MemTotal:\s+(\d+) kB", _read(root / "proc/meminfo") or "", re.M)
    return int(match[1]) << 10 if match else 0


def _cpu_model(root: Path) -> str | None:
    for line in (_read(root / "proc/cpuinfo") or "").splitlines():
        if line.startswith(("model name", "Model", "cpu model")):
            return " ".join(line.partition(":")[2].split())
    return None


# ---- swap ----


def _swap_areas(root: Path) -> list[SwapArea]:
    areas = []
    for line in (_read(root / "proc/swaps") or "").splitlines()[1:]:
        path, kind, size, used = line.rsplit(maxsplit=4)[:4]
        path = _unescaped(path)
        name = path.removeprefix("/dev/") if kind == "partition" else path
        areas.append(
            SwapArea(name, kind, int(size) << 10, int(used) << 10, _rotational(root, path))
        )
    return areas


def _unescaped(path: str) -> str:
    r"""Returns a path of /proc/swaps without the octal escapes: \040 is a space."""
    return re.sub(r"\\([0-7]{3})", lambda m: chr(int(m[1], 8)), path)


def _rotational(root: Path, path: str) -> bool | None:
    """Returns whether the disk below a device or file turns; None if unknown."""
    try:
        found = os.stat(root / path.lstrip("/"))
    except (OSError, ValueError):
        return None
    device = found.st_rdev or found.st_dev
    block = root / f"sys/dev/block/{os.major(device)}:{os.minor(device)}"
    for queue in (block / "queue", block / ".." / "queue"):  # a partition has its disk's
        flag = _number(queue / "rotational")
        if flag is not None:
            return bool(flag)
    return None


# ---- zswap ----


def _zswap(root: Path) -> ZswapSettings | None:
    parameters = root / "sys/module/zswap/parameters"
    enabled, compressor = _read(parameters / "enabled"), _read(parameters / "compressor")
    percent = _number(parameters / "max_pool_percent")
    if enabled is None or compressor is None or percent is None:
        return None
    shrinker = _read(parameters / "shrinker_enabled")
    return ZswapSettings(
        enabled=kstrtobool(enabled, "enabled"),
        compressor=compressor,
        max_pool_percent=percent,
        accept_threshold_percent=_number(parameters / "accept_threshold_percent"),
        shrinker_enabled=None if shrinker is None else kstrtobool(shrinker, "shrinker_enabled"),
    )
