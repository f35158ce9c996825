# SPDX-License-Identifier: GPL-2.0-or-later
"""DAMON's files in sysfs: sets up a kdamond, starts it, reads its regions, ends it."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple

from zswap_py._lib.signals import Check
from zswap_py.sources.coldness import CannotTell
from zswap_py.sources.pagemap import Runs

AGGREGATION = 1.0  #: seconds; DAMON counts ages in them
#: Regions given at the start. Each costs the kernel some 8 KiB of caches for its files
#: while it is set up and read, and the kdamond's time
MAX_REGIONS = 1 << 14

_SAMPLE_US, _AGGREGATION_US, _UPDATE_US = 500_000, 1_000_000, 2_000_000
_LEAST = 3  # the kernel rejects a lower minimum
_ADMIN = "kernel/mm/damon/admin/kdamonds"
_NR = f"{_ADMIN}/nr_kdamonds"
_STAT = "module/damon_stat/parameters/enabled"
_OTHERS = ("damon_reclaim", "damon_lru_sort")
_OFF_AFTER_EXIT = (errno.EINVAL, errno.ECANCELED)  # up to Linux 6.18, and later


Targets = dict[int, Runs]
"""Ranges by pid."""


class _Region(NamedTuple):
    start: int
    end: int
    accesses: int
    age: int  # in aggregations


class Sysfs:
    """Files below the mount of sysfs."""

    def __init__(self, root: str | os.PathLike[str] = "/sys") -> None:
        self.root = os.fspath(root)

    def read(self, path: str) -> str:
        fd = os.open(f"{self.root}/{path}", os.O_RDONLY | os.O_CLOEXEC)
        try:
            return os.read(fd, 4096).decode().strip()
        finally:
            os.close(fd)

    def write(self, path: str, value: str | int) -> None:
        """Writes the value in one write(), as sysfs wants it."""
        fd = os.open(f"{self.root}/{path}", os.O_WRONLY | os.O_CLOEXEC)
        try:
            os.write(fd, str(value).encode())
        finally:
            os.close(fd)

    def names(self, path: str) -> list[str]:
        return os.listdir(f"{self.root}/{path}")


class Damon:
    """The first kdamond, with one context."""

    def __init__(self, sysfs: Sysfs) -> None:
        self._sysfs = sysfs
        self._kdamond = f"{_ADMIN}/0"
        self._context = f"{_ADMIN}/0/contexts/0"

    # ---- who has it ----

    def must_be_there(self) -> None:
        """Raises CannotTell if there is no DAMON, or not for this user."""
        try:
            nr = self._sysfs.read(_NR)
        except PermissionError:
            raise CannotTell("only root may use DAMON", "Run as root") from None
        except FileNotFoundError:
            raise CannotTell(
                "this kernel has no DAMON",
                "Use a kernel with CONFIG_DAMON_VADDR and CONFIG_DAMON_SYSFS",
            ) from None
        except OSError as e:
            raise CannotTell(f"DAMON's {_NR} cannot be read: {e.strerror}", "Try again") from None
        if not nr.isdecimal():
            raise CannotTell(f"DAMON's {_NR} is {nr!r}", "Use a kernel of Linux 5.18 or later")

    def must_be_free(self) -> None:
        """Raises CannotTell if another tool, or the kernel itself, uses DAMON."""
        for module in _OTHERS:
            path = f"module/{module}/parameters/enabled"
            if self._read_or_none(path) == "Y":
                raise CannotTell(
                    f"DAMON is in use by {module}",
                    f"If it may pause: echo N >{self._sysfs.root}/{path}, and Y afterwards",
                )
        for number in range(int(self._sysfs.read(_NR))):
            if self._state(number) == "on":
                raise CannotTell(
                    f"DAMON is in use by another tool: {self._describe(number)}",
                    "End that tool, or stop what it left running: "
                    f"echo off >{self._sysfs.root}/{_ADMIN}/{number}/state; "
                    f"echo 0 >{self._sysfs.root}/{_NR}",
                )
        if self._sysfs.read(_NR) != "0":
            raise CannotTell(
                f"DAMON has the settings of another tool: {self._describe(0)}, off",
                f"If no tool needs them: echo 0 >{self._sysfs.root}/{_NR}",
            )

    def _describe(self, number: int) -> str:
        base = f"{_ADMIN}/{number}"
        targets = self._targets(f"{base}/contexts/0")
        pid = self._read_or_none(f"{base}/pid")
        thread = f" (pid {pid})" if pid and pid != "-1" else ""
        watched = f", which watches pid {', '.join(map(str, targets))}" if any(targets) else ""
        return f"kdamond {number}{thread}{watched}"

    def _targets(self, context: str) -> list[int]:
        nr = self._read_or_none(f"{context}/targets/nr_targets") or "0"
        return [
            int(self._read_or_none(f"{context}/targets/{i}/pid_target") or 0)
            for i in range(int(nr))
        ]

    def _state(self, number: int = 0) -> str:
        return self._read_or_none(f"{_ADMIN}/{number}/state") or "off"

    def _read_or_none(self, path: str) -> str | None:
        try:
            return self._sysfs.read(path)
        except OSError:
            return None

    def kdamond(self) -> int:
        """Returns the pid of the running kdamond; 0 if it is off."""
        return max(0, int(self._read_or_none(f"{self._kdamond}/pid") or 0))

    def is_set_to(self, pids: Sequence[int]) -> bool:
        """Returns whether the settings are those of a search over these processes, or,
        while it is off, what such a search had written before it was killed.
        """
        if self._sysfs.read(_NR) != "1":
            return False
        on = self._state() == "on"
        if self._read_or_none(f"{self._kdamond}/contexts/nr_contexts") == "0":
            return not on
        targets = self._targets(self._context)
        intervals = f"{self._context}/monitoring_attrs/intervals"
        if on or (targets and all(targets)):
            return (
                targets == [*pids]
                and self._read_or_none(f"{self._context}/operations") == "fvaddr"
                and self._read_or_none(f"{intervals}/sample_us") == str(_SAMPLE_US)
                and self._read_or_none(f"{intervals}/aggr_us") == str(_AGGREGATION_US)
            )
        return all(target in (0, pid) for target, pid in zip(targets, pids, strict=False))

    # ---- DAMON_STAT ----

    @property
    def stat_file(self) -> str:
        return f"{self._sysfs.root}/{_STAT}"

    def stat_enabled(self) -> bool:
        return self._read_or_none(_STAT) == "Y"

    def enable_stat(self, on: bool) -> None:
        self._sysfs.write(_STAT, "Y" if on else "N")

    # ---- a run ----

    def configure(self, targets: Targets, check: Check) -> None:
        """Writes the settings: the ranges by pid, and a scheme that lists every region.

        Raises CannotTell if this DAMON cannot watch given ranges of processes.
        """
        sysfs, context = self._sysfs, self._context
        try:
            sysfs.write(_NR, 1)
        except OSError as e:
            if e.errno == errno.EBUSY:  # since must_be_free()
                self.must_be_free()
            raise
        sysfs.write(f"{self._kdamond}/contexts/nr_contexts", 1)
        if "fvaddr" not in sysfs.read(f"{context}/avail_operations").split():
            raise CannotTell(
                "this kernel's DAMON cannot watch processes",
                "Use a kernel with CONFIG_DAMON_VADDR, of Linux 5.19 or later",
            )
        sysfs.write(f"{context}/operations", "fvaddr")
        attrs = f"{context}/monitoring_attrs"
        sysfs.write(f"{attrs}/intervals/sample_us", _SAMPLE_US)
        sysfs.write(f"{attrs}/intervals/aggr_us", _AGGREGATION_US)
        sysfs.write(f"{attrs}/intervals/update_us", _UPDATE_US)
        least, most = _limits(targets.values())
        sysfs.write(f"{attrs}/nr_regions/max", most)
        sysfs.write(f"{attrs}/nr_regions/min", least)
        sysfs.write(f"{context}/targets/nr_targets", len(targets))
        for i, (pid, runs) in enumerate(targets.items()):
            target = f"{context}/targets/{i}"
            sysfs.write(f"{target}/pid_target", pid)
            sysfs.write(f"{target}/regions/nr_regions", len(runs.starts))
            for j, (start, end) in enumerate(zip(*runs, strict=True)):
                sysfs.write(f"{target}/regions/{j}/start", start)
                sysfs.write(f"{target}/regions/{j}/end", end)
                check()
        sysfs.write(f"{context}/schemes/nr_schemes", 1)
        scheme = f"{context}/schemes/0"
        sysfs.write(f"{scheme}/action", "stat")
        for what, most in ("sz", 2**64 - 1), ("nr_accesses", 2**32 - 1), ("age", 2**32 - 1):
            sysfs.write(f"{scheme}/access_pattern/{what}/max", most)

    def start(self) -> None:
        """Starts the kdamond."""
        try:
            self._sysfs.write(f"{self._kdamond}/state", "on")
        except OSError as e:
            if e.errno != errno.EBUSY:
                raise
            raise CannotTell(
                "DAMON is in use by another part of the kernel",
                "See which of damon_stat, damon_reclaim and damon_lru_sort is enabled: "
                f"grep . {self._sysfs.root}/module/damon_*/parameters/enabled",
            ) from None

    def aggregations(self, targets: Targets) -> int:
        """Returns the number of aggregations since the start, over all targets; more if
        there were others, which have exited.
        """
        self._update("update_schemes_stats")
        tried = int(self._sysfs.read(f"{self._context}/schemes/0/stats/sz_tried"))
        return tried // max(1, sum(sum(r.ends) - sum(r.starts) for r in targets.values()))

    def untouched(self, targets: Targets, age: int, alive: Callable[[Targets], Targets]) -> Targets:
        """Returns, by pid, the regions without an access in ``age`` aggregations.

        The kernel lists the regions of all targets in one row: of each target in turn,
        ascending, and together they fill the target's ranges. Linux 7.3 leaves out
        those of an exited process, which ``alive`` tells.
        """
        regions = list(self._regions())
        for listed in (targets, alive(targets)):
            if (found := _by_target(regions, listed, age)) is not None:
                return found
        raise CannotTell(
            "DAMON lists other regions than were given",
            "Try again; if it stays so, this kernel's DAMON is not supported",
        )

    def _regions(self) -> Iterator[_Region]:
        """Yields each region."""
        self._update("update_schemes_tried_regions")
        tried = f"{self._context}/schemes/0/tried_regions"
        for number in sorted(int(name) for name in self._sysfs.names(tried) if name.isdecimal()):
            region = f"{tried}/{number}"
            start, end, accesses, age = (
                int(self._sysfs.read(f"{region}/{what}"))
                for what in ("start", "end", "nr_accesses", "age")
            )
            yield _Region(start, end, accesses, age)

    def _update(self, what: str) -> None:
        try:
            self._sysfs.write(f"{self._kdamond}/state", what)
        except OSError as e:
            if e.errno not in _OFF_AFTER_EXIT:
                raise
            raise CannotTell("the kdamond has ended: all processes exited", "Try again") from None

    def stop(self) -> None:
        """Ends the kdamond and removes the settings."""
        if self._state() == "on":
            try:
                self._sysfs.write(f"{self._kdamond}/state", "off")
            except OSError as e:
                if self._state() == "on":  # else it ended by itself
                    raise CannotTell(
                        f"the kdamond cannot be ended: {e.strerror}",
                        f"End it: echo off >{self._sysfs.root}/{self._kdamond}/state",
                    ) from None
        if self._sysfs.read(_NR) != "0":
            self._sysfs.write(_NR, 0)


def _limits(targets: Iterable[Runs]) -> tuple[int, int]:
    """Returns the limits of the number of regions that leave the ranges as they are.

    DAMON merges like neighbours, and from Linux 7.0 on splits regions, up to the size
    of all ranges by the lower limit. It splits each region in two while they are at
    most half of the upper limit.
    """
    sizes = [end - start for runs in targets for start, end in zip(*runs, strict=True)]
    return max(_LEAST, sum(sizes) // max(sizes)), max(_LEAST, len(sizes))


def _by_target(regions: Sequence[_Region], targets: Targets, age: int) -> Targets | None:
    """Returns the untouched regions of each target; None if the regions are not those
    of these targets.
    """
    found: Targets = {}
    rest = iter(regions)
    for pid, runs in targets.items():
        left, last, cold = sum(runs.ends) - sum(runs.starts), runs.starts[0], Runs.none()
        while left > 0:
            region = next(rest, None)
            if not region or not last <= region.start < region.end <= runs.ends[-1]:
                return None
            left, last = left - region.end + region.start, region.end
            if not region.accesses and region.age >= age:
                if cold.ends and cold.ends[-1] == region.start:
                    cold.ends[-1] = region.end
                else:
                    cold.append(region.start, region.end)
        if left < 0:
            return None
        found[pid] = cold
    return found if next(rest, None) is None else None
