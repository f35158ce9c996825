# SPDX-License-Identifier: GPL-2.0-or-later
"""Cold memory: what a search for it finds, or why there is none.

Memory is cold for N seconds if no process touched it in them.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

from zswap_py.sources.pagemap import Runs
from zswap_py.sources.source import SourceError

Progress = Callable[[float, float], None]
"""Is called about ten times a second with the seconds waited, and those to wait."""

_STEP = 0.1  # seconds


@dataclass(frozen=True)
class Cold:
    """The memory that was not touched for ``seconds`` or longer."""

    method: Literal["damon", "lru_gen", "clear_refs"]
    seconds: float
    #: by pid: addresses. They may include addresses without a page, so cut them with
    #: the pages of a survey: ``by_pid[pid].within(runs)``. A process that exited
    #: meanwhile is absent; one without swappable memory has no runs
    by_pid: dict[int, Runs] = field(default_factory=dict)
    bytes_by_pid: dict[int, int] = field(default_factory=dict)  #: by clear_refs, bytes only
    bytes_by_cgroup: dict[str, int] = field(default_factory=dict)  #: by lru_gen, bytes only
    remarks: list[str] = field(default_factory=list)  #: limits of the figures, for people


@dataclass(frozen=True)
class Unknown:
    """Nothing on this machine tells which memory is cold, or not now."""

    reason: str  #: "this kernel has no DAMON"
    remedy: str  #: what to do about it


class CannotTell(SourceError):
    """One way to find cold memory is not to be had, or not now."""

    def __init__(self, reason: str, remedy: str) -> None:
        super().__init__(f"cold memory unknown: {reason}. {remedy}")
        self.unknown = Unknown(reason, remedy)


def valid_seconds(seconds: float) -> float:
    """Returns the seconds. Raises ValueError unless they are from 1 to a day."""
    if not 1 <= seconds <= 86400:
        raise ValueError(f"{seconds} seconds of coldness: give 1 to 86400")
    return seconds


def no_progress(_waited: float, _seconds: float) -> None:
    """Shows nothing."""


def wait(seconds: float, progress: Progress, check: Callable[[], None]) -> None:
    """Waits, and calls ``progress`` and ``check`` meanwhile."""
    began = time.monotonic()
    while (waited := time.monotonic() - began) < seconds:
        progress(waited, seconds)
        check()
        time.sleep(min(_STEP, seconds - waited))
    progress(seconds, seconds)
