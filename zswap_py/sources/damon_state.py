# SPDX-License-Identifier: GPL-2.0-or-later
"""Remembers what a search changed in DAMON, so that the next one can undo it if this
one is killed; and keeps two searches apart.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import stat
from pathlib import Path
from types import TracebackType
from typing import NamedTuple

from zswap_py.sources.coldness import CannotTell

_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


class Started(NamedTuple):
    """What a search has changed."""

    targets: list[int] = []  # noqa: RUF012  a default, never changed
    """The processes that the kdamond watches; none: there is no kdamond."""
    stat: bool = False
    """Whether DAMON_STAT was on, and is off now."""
    pid: int = 0
    """The pid of the searching process."""


class Lock:
    """The directory of the state, held by one search. A context manager; entering
    raises CannotTell if another search holds it.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._file = directory / "damon.json"
        self._fd = -1

    def __enter__(self) -> Lock:
        try:
            self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as e:
            raise CannotTell(
                f"{self._directory} cannot be made: {e.strerror}", "Run on the host, as root"
            ) from None
        found = self._directory.lstat()
        if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid() or found.st_mode & 0o022:
            raise CannotTell(
                f"{self._directory} is not a directory of root alone",
                f"Remove it: rm -r {self._directory}",
            )
        fd = os.open(self._directory / "damon.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(fd)
            state = self.load()
            who = f" (pid {state.pid})" if state else ""
            raise CannotTell(
                f"another zswap-py{who} searches for cold memory", "Wait until it has ended"
            ) from None
        self._fd = fd
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        os.close(self._fd)
        self._fd = -1

    def save(self, started: Started | None) -> None:
        """Writes the state, with this process's pid, or removes it."""
        if started is None or started == Started():
            self._file.unlink(missing_ok=True)
            return
        state = started._replace(pid=os.getpid())._asdict()
        new = self._file.with_suffix(".new")
        new.write_text(json.dumps({"boot": _boot(), **state}))
        new.rename(self._file)

    def load(self) -> Started | None:
        """Returns the state that a search has left; None if there is none of this boot,
        or no valid one.
        """
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
            state = json.loads(self._file.read_text())
            if state["boot"] == _boot():
                targets = [int(pid) for pid in state["targets"]]
                return Started(targets, bool(state["stat"]), int(state["pid"]))
        return None


def _boot() -> str:
    return _BOOT_ID.read_text().strip()
