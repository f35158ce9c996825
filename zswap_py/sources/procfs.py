# SPDX-License-Identifier: GPL-2.0-or-later
"""Reads what /proc shows of a process: its status, its stat line, its threads."""

from __future__ import annotations

import os
from typing import TextIO

from zswap_py._lib.names import shown
from zswap_py.sources.source import SourceError


class ProcessGone(SourceError):
    """There is no such process, or all its threads have exited."""


def open_names(path: str) -> TextIO:
    """Opens a file that has names in its lines. Only a newline ends a line: the kernel
    escapes it in a name, but not the other characters that end lines for Python.
    """
    return open(path, encoding="utf-8", errors="surrogateescape", newline="\n")


def read_status(pid: int | str) -> dict[str, str]:
    """Returns the fields of /proc/PID/status; none if it cannot be read."""
    try:
        with open_names(f"/proc/{pid}/status") as f:
            return {key: value.strip() for key, _, value in (line.partition(":") for line in f)}
    except OSError:
        return {}


def read_stat(pid: int) -> tuple[str, list[str]]:
    """Returns the name, and the fields of /proc/PID/stat from the state on."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as f:
            stat = os.fsdecode(f.read())
    except (FileNotFoundError, ProcessLookupError):
        raise ProcessGone(no_process(pid)) from None
    comm, _, fields = stat.partition("(")[2].rpartition(")")
    return shown(comm), fields.split()


def live_thread(pid: int, state: str) -> str | None:
    """Returns the directory in /proc of a live thread: of the main thread, with the
    given ``state``, or of another if that has exited. None if all have exited.
    """
    if state not in "ZX":
        return f"/proc/{pid}"
    try:
        threads = os.listdir(f"/proc/{pid}/task")
    except OSError:
        return None
    return next(
        (
            f"/proc/{pid}/task/{thread}"
            for thread in threads
            if read_status(f"{pid}/task/{thread}").get("State", "Z")[0] not in "ZX"
        ),
        None,
    )


def no_process(pid: int) -> str:
    """Returns the message for a pid without a process."""
    return (
        f"there is no process {pid}: it has exited, or belongs to another pid namespace. List "
        "them: ps -e"
    )


def all_pids() -> list[int]:
    """Returns the pids that /proc shows, without this process."""
    return sorted(
        int(name) for name in os.listdir("/proc") if name.isdecimal() and int(name) != os.getpid()
    )
