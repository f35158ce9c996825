# SPDX-License-Identifier: GPL-2.0-or-later
"""The standard streams of a command: what it writes, says and draws."""

from __future__ import annotations

import argparse
import contextlib
import io
import os
import shutil
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, TextIO

from zswap_py import report
from zswap_py._lib.names import shown
from zswap_py.report import measure
from zswap_py.sources.pages import Pages

INTERRUPTED = 130  # the exit code

if TYPE_CHECKING:
    from rich.progress import Progress


class CommandError(Exception):
    """The command cannot run here. The message is for the user."""


def standard_streams() -> None:
    """Makes the three standard streams usable. Opens /dev/null in place of a closed
    descriptor, so that no other file gets its number. Escapes the characters that the
    encoding lacks. Raises CommandError if standard output is closed.
    """
    for fd in range(3):
        try:
            os.fstat(fd)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # returns the lowest free number: fd
    if sys.stderr is None:
        sys.stderr = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115
    if sys.stdout is None:
        raise CommandError("standard output is closed: redirect it to a file, or to /dev/null")
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def write(text: str) -> None:
    """Writes to standard output. Raises BrokenPipeError, or CommandError for any other
    failure, such as a full disk.
    """
    if sys.stdout is None:
        return
    try:
        sys.stdout.write(text)
        sys.stdout.flush()
    except OSError as e:
        _discard(sys.stdout)
        if isinstance(e, BrokenPipeError):
            raise
        raise CommandError(f"cannot write to standard output: {e.strerror}") from None


def _discard(stream: TextIO) -> None:
    """Points a stream that cannot be written to /dev/null. Else the interpreter, which
    flushes it at exit, would fail again and change the exit code to 120.
    """
    os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def settle() -> None:
    """Flushes standard error for the last time, whether it can be written or not."""
    try:
        if sys.stderr is not None:
            sys.stderr.flush()
    except OSError:
        _discard(sys.stderr)


def say(message: str) -> None:
    with contextlib.suppress(OSError):  # a lost message must not change the exit code
        print(f"zswap-py: {shown(message)}", file=sys.stderr, flush=True)


def must_draw(args: argparse.Namespace) -> None:
    """Raises CommandError if rich is missing, before any measuring. JSON needs none."""
    if args.json:
        return
    try:
        from rich import console, table, text  # noqa: F401
    except ImportError as e:
        raise CommandError(
            f"the table needs rich, which is missing ({e}): pip install rich, or give --json"
        ) from None


def style(color: str) -> tuple[bool, int]:
    """Returns whether to colour, and the width."""
    # 0: a terminal without a size, such as a serial console; Python 3.10 passes it on
    width = (sys.stdout.isatty() and shutil.get_terminal_size().columns) or 80
    return color == "always" or (color == "auto" and _fancy(sys.stdout)), width


def _fancy(stream: Any) -> bool:
    return bool(
        stream.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
    )


def micro() -> str:
    """Returns µ, or u where standard output cannot encode it."""
    try:
        "µ".encode(sys.stdout.encoding)
    except (UnicodeEncodeError, TypeError):  # None: a stream without an encoding
        return "u"
    return "µ"


@contextlib.contextmanager
def progress_bar(pages: Pages) -> Iterator[measure.Progress]:
    """Shows a bar with rate and time left on standard error, if that is a terminal,
    and erases it at the end.
    """
    if not (sys.stderr.isatty() and os.environ.get("TERM") != "dumb"):
        yield lambda done: None
        return
    try:
        made = _bar()
    except ImportError:  # JSON works without rich
        yield lambda done: None
        return
    with made as bar:
        task = bar.add_task("measuring", total=pages.bytes_expected)
        yield lambda done: bar.update(task, completed=done, total=pages.bytes_expected)


def _bar() -> Progress:
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        DownloadColumn,
        Progress,
        ProgressColumn,
        Task,
        TextColumn,
        TimeRemainingColumn,
    )
    from rich.text import Text

    class Rate(ProgressColumn):
        """The rate in binary units; rich's own is decimal."""

        def render(self, task: Task) -> Text:
            return Text(f"{report.size(task.speed or 0)}/s", style="progress.data.speed")

    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(binary_units=True),
        Rate(),
        TimeRemainingColumn(),
        console=Console(stderr=True),
        transient=True,
    )
