# SPDX-License-Identifier: GPL-2.0-or-later
"""How many bytes of a cgroup are cold, by the generations of the multi-generational LRU
(debugfs ``lru_gen``).

A page that was touched moves to a younger generation only when the LRU ages, and
without memory pressure it never does. So :func:`cold_bytes` ages it before the wait and
after it. The pages that are then older than the last generation before the wait were
not touched during it. Reclaim follows the same order, so this disturbs it. It
needs root, debugfs and CONFIG_LRU_GEN, and tells no addresses.

Pages of huge pages count as touched with any part of them; those in swap do not count.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from zswap_py._lib.signals import interruptions
from zswap_py.sources.coldness import CannotTell, Progress, no_progress, valid_seconds, wait
from zswap_py.sources.pagemap import PAGE_SIZE
from zswap_py.sources.procfs import open_names

REMARK = "cold by lru_gen, which aged the cgroups' LRU: reclaim follows its order"


# The kernel passes over a process that is changing its mappings, so one ageing may miss
# it. It keeps four generations: two after the wait leave those from before it apart.
_BEFORE, _AFTER = 3, 2
_PAUSE = 0.1  # seconds before each


# Linux 6.18 moves a page only when a second ageing finds it used, and forgets the first
# use when it folds the oldest generation. 6.12 and 7.3 give the right figures; the
# releases between were not measured.
_WRONG = (6, 13), (7, 3)


class _Generation(NamedTuple):
    number: int
    pages: int  # anonymous pages, shmem with them


class _Lru(NamedTuple):
    """The generations of one cgroup on one node, oldest first."""

    path: str
    memcg: str
    node: int
    generations: list[_Generation]

    @property
    def newest(self) -> int:
        return self.generations[-1].number


def cold_bytes(
    path: str,
    seconds: float,
    *,
    progress: Progress = no_progress,
    root: Path = Path("/sys"),
) -> dict[int, int]:
    """Returns the bytes of anonymous memory and shmem of the cgroup, and of those below
    it, that are not touched in ``seconds`` from now on: by NUMA node.

    ``path`` is the cgroup's below the mount, as ``/app/api``. Raises CannotTell where
    the LRU cannot be asked or the cgroup is not there, and KeyboardInterrupt on SIGINT,
    SIGTERM and SIGHUP.
    """
    return cold_bytes_of([path], seconds, progress=progress, root=root)[path]


def cold_bytes_of(
    paths: Sequence[str],
    seconds: float,
    *,
    progress: Progress = no_progress,
    root: Path = Path("/sys"),
) -> dict[str, dict[int, int]]:
    """Does the same for several cgroups in one wait. Returns the bytes by path."""
    valid_seconds(seconds)
    enabled, file = root / "kernel/mm/lru_gen/enabled", root / "kernel/debug/lru_gen"
    _must_be_usable(enabled, file)
    for path in paths:
        if not list(_below(path, file)):
            raise CannotTell(
                f"lru_gen lists no cgroup {path}",
                "Give a path below the cgroup mount, of a cgroup with the memory controller",
            )
    for _ in range(_BEFORE):
        since = _age(paths, file)
    with interruptions() as check:
        wait(seconds, progress, check)
    for _ in range(_AFTER):
        _age(paths, file)
    cold: dict[str, dict[int, int]] = {path: {} for path in paths}
    for path, nodes in cold.items():
        for lru in _below(path, file):
            # a cgroup that is new has no generation from before the wait
            first = since.get((lru.path, lru.memcg, lru.node), 0)
            if first and lru.generations[0].number >= first:
                raise CannotTell(
                    f"reclaim or another program aged {lru.path} meanwhile",
                    "Try again, with fewer seconds",
                )
            pages = sum(g.pages for g in lru.generations if g.number < first)
            nodes[lru.node] = nodes.get(lru.node, 0) + pages * PAGE_SIZE
    return cold


def _must_be_usable(enabled: Path, file: Path) -> None:
    release = os.uname().release
    match = re.match(r"(\d+)\.(\d+)", release)
    if match and _WRONG[0] <= (int(match[1]), int(match[2])) < _WRONG[1]:
        raise CannotTell(
            f"lru_gen of Linux {release} takes memory that is used once in a while for cold",
            "Use a kernel with DAMON",
        )
    try:
        on = int(enabled.read_text(), 16) & 1
    except (OSError, ValueError):
        raise CannotTell(
            "this kernel has no multi-generational LRU",
            "Use a kernel with CONFIG_LRU_GEN",
        ) from None
    if not on:
        raise CannotTell(
            "the multi-generational LRU is switched off", f"Switch it on: echo y >{enabled}"
        )
    try:
        file.read_bytes()
    except PermissionError:
        raise CannotTell(f"{file} may not be read", "Run as root") from None
    except OSError:
        raise CannotTell(
            f"{file} is missing", "Mount debugfs: mount -t debugfs debugfs /sys/kernel/debug"
        ) from None


def _age(paths: Sequence[str], file: Path) -> dict[tuple[str, str, int], int]:
    """Opens a new generation. Returns its number by path, id and node."""
    time.sleep(_PAUSE)
    before = {(lru.path, lru.memcg, lru.node): lru for path in paths for lru in _below(path, file)}
    for lru in before.values():
        # can_swap and force_scan: without swap, anonymous memory ages only so
        _write(file, f"+ {lru.memcg} {lru.node} {lru.newest} 1 1")
    return {key: lru.newest + 1 for key, lru in before.items()}


def _write(file: Path, command: str) -> None:
    fd = os.open(file, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(fd, command.encode())
    except OSError as e:
        raise CannotTell(
            f"lru_gen rejects {command!r} ({e.strerror})", "Try again: the cgroup may be gone"
        ) from None
    finally:
        os.close(fd)


def _below(path: str, file: Path) -> Iterator[_Lru]:
    """Yields the LRUs of the cgroup and of those below it."""
    prefix = path.rstrip("/") + "/"
    with open_names(str(file)) as f:
        text = f.read()
    for lru in _parse(text):
        if f"{lru.path.rstrip('/')}/".startswith(prefix):
            yield lru


def _parse(text: str) -> Iterator[_Lru]:
    """Yields the LRUs that the file lists."""
    memcg, path = "0", "/"
    lru: _Lru | None = None
    for line in text.split("\n"):
        words = line.split(None, 2)
        if words[:1] == ["memcg"]:
            memcg, path = words[1], words[2] if len(words) > 2 else "/"
            continue
        if words[:1] == ["node"]:
            if lru and lru.generations:
                yield lru
            lru = _Lru(path, memcg, int(words[1]), [])
        elif lru and words:
            number, _, anonymous = line.split()[:3]
            lru.generations.append(_Generation(int(number), int(anonymous.rstrip("x"))))
    if lru and lru.generations:
        yield lru
