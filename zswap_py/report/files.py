# SPDX-License-Identifier: GPL-2.0-or-later
"""Finds reports in files, directories and streams, and parses their JSON.

A document begins with a line that begins with ``{``. So a file holds one report,
indented or not, or many, such as a day's reports of a fleet, one a line.
"""

from __future__ import annotations

import json
import os
import stat
import sys
from collections.abc import Iterable, Iterator
from typing import IO, Any, NamedTuple, NoReturn

from zswap_py.report.data import SCHEMA

#: Bytes from which a document cannot be a report.
MAX_DOCUMENT = 16 << 20


class NotAReport(Exception):
    """A file or document holds no report that this release can use. The message is the
    reason; equal causes have equal reasons.
    """


class Document(NamedTuple):
    """One document, or the reason for which there is none."""

    name: str  #: the file, or "standard input"
    offset: int | None  #: byte of the file at which it begins; None in a stream
    text: bytes
    wrong: str | None = None

    def place(self) -> Document:
        """Returns the document without its text, if that can be read again."""
        return self if self.offset is None else self._replace(text=b"")

    def again(self) -> bytes:
        """Returns the text, read again if need be. Raises OSError if that fails."""
        if self.offset is None or self.text:
            return self.text
        with open(self.name, "rb") as f:
            f.seek(self.offset)
            return next(_split(self.name, f, self.offset)).text


def documents(names: Iterable[str]) -> Iterator[Document]:
    """Yields the documents of files, of the ``.json`` and ``.jsonl`` files in and below
    directories, and of standard input (``-``).
    """
    for name in names:
        if name == "-":
            yield from _split("standard input", sys.stdin.buffer, None)
        elif os.path.isdir(name):
            for path in _below(name):
                yield from _file(path)
        else:
            yield from _file(name)


def _below(top: str) -> Iterator[str]:
    """Yields the files of reports below a directory, in order of their names."""
    for where, directories, files in os.walk(top):
        directories.sort()
        for name in sorted(files):
            if name.endswith((".json", ".jsonl")):
                yield os.path.join(where, name)


def _file(path: str) -> Iterator[Document]:
    try:
        # a FIFO without a writer would block the open
        with open(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as f:
            mode = os.fstat(f.fileno()).st_mode
            if stat.S_ISREG(mode):
                yield from _split(path, f, 0)
            elif stat.S_ISFIFO(mode):
                os.set_blocking(f.fileno(), True)
                yield from _split(path, f, None)
            else:
                yield Document(path, None, b"", "is no file")
    except OSError as e:
        yield Document(path, None, b"", f"cannot be read: {e.strerror}")


def _split(name: str, f: IO[bytes], offset: int | None) -> Iterator[Document]:
    """Yields a file's documents; an empty one if the file is empty."""
    begin, length, found = offset, 0, False
    lines: list[bytes] = []

    def document() -> Document:
        if length > MAX_DOCUMENT:
            return Document(name, begin, b"", f"is larger than {MAX_DOCUMENT >> 20} MiB")
        return Document(name, begin, b"".join(lines))

    for line in iter(lambda: f.readline(MAX_DOCUMENT + 1), b""):
        if line.startswith(b"{") and length:
            yield document()
            found = True
            if begin is not None:
                begin += length
            lines, length = [], 0
        length += len(line)
        if length <= MAX_DOCUMENT:
            lines.append(line)
        else:
            lines.clear()
    if length or not found:
        yield document()


def parse(text: bytes) -> dict[str, Any]:
    """Returns a report's JSON object. Raises NotAReport."""
    try:
        data = json.loads(text, parse_constant=_no_number)
    except (ValueError, RecursionError):
        raise NotAReport("is not JSON, or is cut off" if text.strip() else "is empty") from None
    if not isinstance(data, dict) or not isinstance(data.get("schema"), int):
        raise NotAReport("is JSON, but not a report")
    schema = data["schema"]
    if schema != SCHEMA:
        release = "an earlier" if schema < SCHEMA else "a later"
        raise NotAReport(
            f"has schema {schema if abs(schema) < 1000 else '?'}, of {release} release: this one "
            f"reads {SCHEMA}"
        )
    return data


def _no_number(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")
