# SPDX-License-Identifier: GPL-2.0-or-later
"""The standard streams of a command: what it writes, says and draws."""

from __future__ import annotations

import argparse
import contextlib
import io
import os
import shutil
import sys
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, TextIO

from zswap_py import report
from zswap_py._lib.names import shown
from zswap_py.cli.options import ENDINGS
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


def must_write(args: argparse.Namespace) -> None:
    """Raises CommandError, before any measuring, if a file of -o cannot be written."""
    for path in args.outputs:
        directory = os.path.dirname(path) or "."
        if not os.path.isdir(directory):
            raise CommandError(f"cannot write {path}: there is no directory {directory}: make it")
        if not os.access(directory, os.W_OK | os.X_OK):
            raise CommandError(f"cannot write {path}: {directory} is not writable: name another")
        if os.path.isdir(path) and not path.endswith("/"):
            raise CommandError(f"cannot write {path}: it is a directory: give {path}/")


def must_draw(args: argparse.Namespace) -> None:
    """Raises CommandError, before any measuring, if rich is missing. Only the table
    needs it.
    """
    if _printed(args) != "table":
        return
    try:
        from rich import console, table, text  # noqa: F401
    except ImportError as e:
        raise CommandError(
            f"the table needs rich, which is missing ({e}): pip install rich, or give --json"
        ) from None


def _printed(args: argparse.Namespace) -> str | None:
    """Returns the format on standard output; None if only files are written."""
    chosen: str | None = args.format
    return chosen or (None if args.outputs else "table")


def deliver(args: argparse.Namespace, render: Callable[[str], str], identity: str) -> None:
    """Writes the result to each -o FILE, and to standard output in --format. `render`
    returns the text of a format. JSON is indented on standard output; in a file it is
    one line, so that files can be joined. A file in a directory is named by `identity`.
    """
    for path in args.outputs:
        if path.endswith("/"):
            path += f"{identity}.json"
        chosen = ENDINGS[os.path.splitext(path)[1]]
        _write_file(path, render("json line" if chosen == "json" else chosen))
    if printed := _printed(args):
        write(render(printed))


def _write_file(path: str, text: str) -> None:
    """Writes a file as a whole or not at all, whatever reads it meanwhile."""
    made = f"{path}.{os.getpid()}.tmp"
    try:
        try:
            with open(made, "x", encoding="utf-8", errors="backslashreplace") as f:
                f.write(text)
                f.flush()
                os.fsync(f.fileno())
            os.replace(made, path)
        except BaseException:
            with contextlib.suppress(OSError):
                os.unlink(made)
            raise
    except OSError as e:
        raise CommandError(f"cannot write {path}: {e.strerror}") from None


def style(color: str) -> tuple[bool, int]:
    """Returns whether to colour, and the width."""
    # 0: a terminal without a size, such as a serial console; Python 3.10 passes it on
    width = (sys.stdout.isatty() and shutil.get_terminal_size().columns) or 80
    return color == "always" or (color == "auto" and _fancy(sys.stdout)), width


def _fancy(stream: Any) -> bool:
    return bool(
        stream.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
    )


def plain() -> bool:
    """Returns whether standard output cannot encode µ and ±."""
    try:
        "µ±".encode(sys.stdout.encoding)
    except (UnicodeEncodeError, TypeError):  # None: a stream without an encoding
        return True
    return False


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
