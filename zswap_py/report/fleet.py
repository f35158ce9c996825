# SPDX-License-Identifier: GPL-2.0-or-later
"""Hosts side by side: quantiles and sums of the figures of many reports.

Hosts are never one pool. Each report gives one value of each figure; only their
distribution and their sum are shown. A report is read once and dropped: what stays is a
number of 8 bytes for each value, and its row.
"""

from __future__ import annotations

import itertools
import math
from array import array
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from zswap_py.report.data import LIMIT, Report, from_json, to_json
from zswap_py.report.files import Document, NotAReport, parse
from zswap_py.report.merge import MergeError, merge, sample_key

#: Figures of a report, in bytes.
WHOLE = ("swappable_bytes", "cold_bytes", "zero_bytes")

#: Figures of a compressor over a set of pages, all or the cold ones: bytes; a ratio.
OF_PAGES = ("net_saved_bytes", "pool_total_size", "rejected_bytes", "ratio")

#: Figures of a compressor, in nanoseconds a page.
OF_SPEED = ("store_ns_p50", "load_ns_p50")

#: Values of a label that a table can show.
MAX_LABELS = 4096

BAD_FIELD = "lacks a field of a report, or has a bad value in one"
INCOMPLETE = "is incomplete: its figures are not scaled to the whole memory"

SUMMED = frozenset(name for name in (*WHOLE, *OF_PAGES) if name != "ratio")


class TooManyLabels(ValueError):
    """The label has more values than a table can show. The message has the remedy."""


class Rules(NamedTuple):
    """What reports must have in common for their figures to stand in one row."""

    kernel: str
    target: str
    series: str | None
    page_size: int  #: bytes
    folio_pages: int

    @classmethod
    def of(cls, row: Row) -> Rules:
        """Returns the rules of a row."""
        return cls(*(getattr(row, name) for name in cls._fields))


class Figure(NamedTuple):
    """The name of a figure: what it measures, of what."""

    compressor: str | None  #: None: of the report itself
    pages: str | None  #: "all", "cold", or None
    name: str


class Value(NamedTuple):
    """A figure of one report with its 95% interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Sum:
    """A sum over reports; the interval holds if their errors are independent."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Row:
    """The distribution of one figure over the reports with one value of the label.

    Quantiles are exact, and interpolated between neighbours. Bytes, or nanoseconds a
    page for names in ``_ns``; a ratio has neither unit nor sum.
    """

    label: str | None  #: the value of ``--by``'s label; None: without that label
    kernel: str
    target: str
    series: str | None
    page_size: int
    folio_pages: int
    compressor: str | None
    pages: str | None
    figure: str
    reports: int
    p5: float
    p50: float
    p95: float
    sum: Sum | None


@dataclass
class LeftOut:
    """Files that count in no row, and why."""

    reason: str
    files: int
    first: str  #: one of them


@dataclass
class _Column:
    """One figure over all reports of the same rules."""

    values: array[float] = field(default_factory=lambda: array("d"))
    rows: array[int] = field(default_factory=lambda: array("I"))
    below: array[float] = field(default_factory=lambda: array("d"))  # by row: sum of squares
    above: array[float] = field(default_factory=lambda: array("d"))

    def add(self, row: int, it: Value) -> None:
        self.values.append(it.value)
        self.rows.append(row)
        if row >= len(self.below):
            more = bytes(8 * (row + 1 - len(self.below)))
            self.below.frombytes(more)
            self.above.frombytes(more)
        self.below[row] += (it.value - it.low) ** 2
        self.above[row] += (it.high - it.value) ** 2


@dataclass
class _Table:
    """The reports of the same rules."""

    labels: dict[str | None, int] = field(default_factory=dict)
    columns: dict[Figure, _Column] = field(default_factory=dict)

    def add(self, label: str | None, figures: dict[Figure, Value]) -> None:
        row = self.labels.setdefault(label, len(self.labels))
        if row == MAX_LABELS:
            raise TooManyLabels(
                f"the label has more than {MAX_LABELS:,} values: name one that many reports share"
            )
        for figure, it in figures.items():
            column = self.columns.get(figure)
            if column is None:
                column = self.columns[figure] = _Column()
            column.add(row, it)


class Fleet:
    """Reports, added one by one. `by` names the label that makes rows."""

    def __init__(self, by: str | None = None) -> None:
        self.by = by
        self.reports = 0  #: in rows; the parts of one sample count once
        self.duplicates = 0  #: dropped: their id was there already
        self.merged = 0  #: parts that became one pool with others
        self.left_out: dict[str, LeftOut] = {}
        self.distinct = 0  #: reports with an id of their own, in rows or not
        self.label_names: set[str] = set()  #: of reports in rows; not all, if many
        self._first: Document | None = None
        self._whole: Report | None = None
        self._ids: set[bytes] = set()
        self._tables: dict[Rules, _Table] = {}
        self._parts: dict[tuple[Any, ...], list[Document]] = {}

    def read(self, found: Iterable[Document]) -> None:
        """Adds documents, then the samples that came in parts."""
        for document in found:
            self._guard([document], self._add)
        for parts in self._parts.values():
            self._guard(parts, self._add_parts)
        self._parts.clear()

    def _guard(self, parts: list[Document], add: Callable[[list[Document]], None]) -> None:
        """Calls `add`; leaves the documents out where it raises."""
        try:
            add(parts)
        except NotAReport as e:
            self._leave_out(parts, str(e))
        except OSError as e:
            self._leave_out(parts, f"cannot be read: {e.strerror}")

    def _leave_out(self, parts: list[Document], reason: str) -> None:
        known = self.left_out.setdefault(reason, LeftOut(reason, 0, parts[0].name))
        known.files += len(parts)

    def _add(self, documents: list[Document]) -> None:
        (document,) = documents
        if document.wrong is not None:
            raise NotAReport(document.wrong)
        data = parse(document.text)
        identity = _identity(data)
        if identity in self._ids:
            self.duplicates += 1
            return
        self._ids.add(identity)
        self.distinct += 1
        if self._first is None:
            self._first = document
        key = sample_key(data)
        if key is not None:
            self._parts.setdefault(key, []).append(document.place())
        else:
            self._count(data)

    def _add_parts(self, parts: list[Document]) -> None:
        if len(parts) == 1:
            self._count(parse(parts[0].again()))
            return
        reports: list[Report] = []
        for part in parts:
            try:
                reports.append(from_json(part.again()))
            except ValueError:
                self._leave_out([part], BAD_FIELD)
        try:
            self._whole = merge(reports) if reports else None
        except MergeError as e:
            raise NotAReport(str(e)) from None
        if self._whole is not None:
            self.merged += len(reports)
            self._count(parse(to_json(self._whole).encode()))

    def _count(self, data: dict[str, Any]) -> None:
        rules, label, figures = observe(data, self.by)
        self._tables.setdefault(rules, _Table()).add(label, figures)
        if len(self.label_names) < MAX_LABELS:
            self.label_names.update(data["labels"])
        self.reports += 1

    @property
    def labelled(self) -> bool:
        """Whether a report in rows has the label `by`."""
        return any(label is not None for table in self._tables.values() for label in table.labels)

    def only(self) -> Report | None:
        """Returns the report, if there is one, or the parts of one; complete or not.

        Raises NotAReport, with the field's name, if it lacks one.
        """
        if self.distinct == 1 and self._first is not None:
            try:
                return from_json(self._first.text)
            except ValueError as e:
                raise NotAReport(f"{self._first.name}: {e}") from None
        return self._whole if self.merged == self.distinct and self.reports == 1 else None

    def rows(self) -> Iterator[Row]:
        """Yields the rows: by rules, then figure, then label."""
        for rules in sorted(self._tables, key=repr):
            table = self._tables[rules]
            for figure in sorted(table.columns, key=_order):
                yield from _rows(rules, table.labels, figure, table.columns[figure])


def _order(figure: Figure) -> tuple[Any, ...]:
    names = (*WHOLE, *OF_PAGES, *OF_SPEED)
    return (figure.compressor or "", figure.pages or "", names.index(figure.name))


def _rows(
    rules: Rules, labels: dict[str | None, int], figure: Figure, column: _Column
) -> Iterator[Row]:
    names = {row: label for label, row in labels.items()}
    by_row = sorted(zip(column.rows, column.values, strict=True))
    found = {row: [v for _, v in it] for row, it in itertools.groupby(by_row, lambda it: it[0])}
    for row in sorted(found, key=lambda row: (names[row] is None, names[row])):
        values, summed = found[row], figure.name in SUMMED
        total = math.fsum(values)
        low, high = math.sqrt(column.below[row]), math.sqrt(column.above[row])
        p5, p50, p95 = (_rounded(quantile(values, p), summed) for p in (0.05, 0.5, 0.95))
        yield Row(
            names[row],
            *rules,
            *figure,
            reports=len(values),
            p5=p5,
            p50=p50,
            p95=p95,
            sum=Sum(round(total), round(total - low), round(total + high)) if summed else None,
        )


def _rounded(value: float, whole: bool) -> float:
    """Returns a figure in whole bytes, or in as many digits as a ratio or time has."""
    return round(value) if whole else round(value, 4)


def quantile(values: list[float], p: float) -> float:
    """Returns the p-quantile of sorted values, interpolated between neighbours."""
    at = p * (len(values) - 1)
    i = int(at)
    if i + 1 == len(values):
        return values[i]
    return values[i] + (at - i) * (values[i + 1] - values[i])


# ---- one report ----


def observe(data: dict[str, Any], by: str | None) -> tuple[Rules, str | None, dict[Figure, Value]]:
    """Returns a report's rules, the value of its label `by`, and its figures, from its
    JSON object. Raises NotAReport for a report that lacks a field, or covers a part of
    its pages.

    It reads the object as it is: to make the classes of report.data would take longer
    than to parse the text.
    """
    try:
        if data["complete"] is not True:
            raise NotAReport(INCOMPLETE)
        rules = _rules(data)
        label = data["labels"].get(by)
        if not (label is None or isinstance(label, str)):
            raise TypeError
        figures = _of_report(data, rules.page_size)
        for compressor in data["compressors"]:
            if "unavailable" not in compressor:
                figures.update(_of_compressor(compressor, rules.page_size))
        if not all(-LIMIT < n < LIMIT for value in figures.values() for n in value):
            raise ValueError
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError):
        raise NotAReport(BAD_FIELD) from None
    return rules, label, figures


def _identity(data: dict[str, Any]) -> bytes:
    try:
        return bytes.fromhex(data["id"])
    except (KeyError, TypeError, ValueError):
        raise NotAReport("has no id") from None


def _rules(data: dict[str, Any]) -> Rules:
    rules = Rules(*(data[name] for name in Rules._fields))
    texts = (rules.kernel, rules.target, "" if rules.series is None else rules.series)
    if not all(isinstance(text, str) for text in texts):
        raise TypeError
    if not all(isinstance(n, int) for n in (rules.page_size, rules.folio_pages)):
        raise TypeError
    return rules


def _of_report(data: dict[str, Any], page_size: int) -> dict[Figure, Value]:
    figures = {}
    for name, pages in zip(WHOLE, ("pages_total", "cold_pages"), strict=False):
        if data[pages] is not None:
            nbytes = data[pages] * page_size
            figures[Figure(None, None, name)] = Value(nbytes, nbytes, nbytes)
    figures[Figure(None, None, "zero_bytes")] = _scaled(data["zero_pages"], page_size)
    return figures


def _of_compressor(data: dict[str, Any], page_size: int) -> Iterator[tuple[Figure, Value]]:
    if data["intact"] is not True:
        return
    name = data["name"]
    if not isinstance(name, str):
        raise TypeError
    if data["backend"] != "kernel":
        name = f"{name}:{data['backend']}"
    for pages in ("all", "cold"):
        it = data[pages]
        if it is None:
            continue
        yield Figure(name, pages, "net_saved_bytes"), _scaled(it["net_saved_bytes"], 1)
        pool = _scaled(it["pool_total_size"], 1)
        yield Figure(name, pages, "pool_total_size"), pool
        yield Figure(name, pages, "rejected_bytes"), _scaled(it["rejected_pages"], page_size)
        if pool.value:
            ratio = it["stored_pages"]["value"] * page_size / pool.value
            yield Figure(name, pages, "ratio"), Value(ratio, ratio, ratio)
    for speed in OF_SPEED:
        if data[speed] is not None:
            yield Figure(name, None, speed), Value(data[speed], data[speed], data[speed])


def _scaled(estimate: dict[str, float], by: int) -> Value:
    return Value(estimate["value"] * by, estimate["low"] * by, estimate["high"] * by)
