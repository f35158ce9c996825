# SPDX-License-Identifier: GPL-2.0-or-later
"""A report's data, and its JSON. Nothing here measures or reads arguments.

The fields have the names of the JSON object; docs/report.md describes each. What the
report says of the memory is an Estimate; what was counted in the pages that were read
lies under `sample`.
"""

from __future__ import annotations

import dataclasses
import functools
import json
import math
import reprlib
import types
import typing
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

SCHEMA = 2

#: Pages below which a report says nothing about speed: quartiles need more runs.
ENOUGH_PAGES = 1024

#: The label of the group that stands for those that have no row.
OTHERS = "all others"

#: Savings that differ by less than this share count as equal.
ALIKE = 0.02


@dataclass(frozen=True)
class Estimate:
    """A figure of the whole memory with its 95% interval. The three are equal if every
    page was read.
    """

    value: float
    low: float
    high: float

    @classmethod
    def exactly(cls, value: float) -> Estimate:
        """Returns the estimate of a figure that was counted."""
        return cls(value, value, value)

    @property
    def exact(self) -> bool:
        """Whether the figure was counted, not estimated."""
        return self.low == self.high

    @property
    def error(self) -> float:
        """The figure behind ±: the distance to the farther end of the interval."""
        return max(self.value - self.low, self.high - self.value)


@dataclass(frozen=True)
class Savings:
    """What one compressor makes of one set of pages: all pages, the cold ones, or those
    of a group. Sizes are in bytes. The pool of a group is its part of the common pool.
    """

    stored_pages: Estimate
    stored_incompressible_pages: Estimate  #: stored raw (Linux 6.18)
    rejected_pages: Estimate  #: of folios that zswap rejects: these go to disk
    compressed_bytes: Estimate
    pool_total_size: Estimate
    net_saved_bytes: Estimate  #: stored bytes - pool - metadata

    @property
    def pages(self) -> float:
        """The pages that zswap is given: all but the zero-filled ones."""
        return self.stored_pages.value + self.rejected_pages.value

    @property
    def rejected(self) -> float:
        """The share of these pages that zswap rejects, 0 to 1."""
        return self.rejected_pages.value / self.pages if self.pages else 0.0

    @property
    def incompressible(self) -> float:
        """The share of these pages that do not compress, 0 to 1: stored raw, or
        rejected.
        """
        raw = self.stored_incompressible_pages.value + self.rejected_pages.value
        return raw / self.pages if self.pages else 0.0

    def ratio(self, page_size: int) -> float | None:
        """Returns the bytes stored per byte of the pool, or None for an empty pool."""
        pool = self.pool_total_size.value
        return self.stored_pages.value * page_size / pool if pool else None


@dataclass(frozen=True)
class Figures:
    """The figures of one compressor. Times are in nanoseconds a page, None where no
    page was stored.
    """

    name: str
    backend: str
    library_version: str | None
    kernel_sizes: bool  #: whether known pages compress to the kernel's sizes
    intact: bool  #: whether each page was loaded as it was stored
    all: Savings  #: if all of the memory were swapped
    cold: Savings | None  #: if its cold pages were; None if coldness was not measured
    #: objects by the bytes of their size class: of all pages, and of the cold ones
    #: where these are known. The pools of two reports add up by these
    classes: dict[str, list[float]]
    store_ns_p50: float | None
    store_ns_p25: float | None
    store_ns_p75: float | None
    load_ns_p50: float | None
    load_ns_p25: float | None
    load_ns_p75: float | None
    #: counts of the pages that were read: `stored_pages`, `compressed_bytes`,
    #: `pool_total_size` and others
    sample: dict[str, int]

    @property
    def savings(self) -> Savings:
        """Of the cold pages if these are known, else of all."""
        return self.all if self.cold is None else self.cold

    @property
    def saved(self) -> float:
        """The bytes that `savings` saves, net."""
        return self.savings.net_saved_bytes.value

    def loads_faster(self, other: Figures) -> bool:
        """Returns whether its loads are clearly faster: quartiles do not overlap."""
        mine, theirs = self.load_ns_p75, other.load_ns_p25
        fewest = min(f.sample.get("stored_pages", 0) for f in (self, other))
        return mine is not None and theirs is not None and fewest >= ENOUGH_PAGES and mine < theirs


@dataclass(frozen=True)
class Unavailable:
    """A compressor that is not available, and the reason."""

    name: str
    backend: str | None
    unavailable: str


@dataclass(frozen=True)
class GroupSavings:
    """What one compressor makes of a group's pages."""

    all: Savings
    cold: Savings | None

    @property
    def savings(self) -> Savings:
        """Of the cold pages if these are known, else of all."""
        return self.all if self.cold is None else self.cold


@dataclass(frozen=True)
class Group:
    """A row of --by: a process, a mapping, or a control group."""

    kind: str
    label: str
    #: memory.stat's anon, shmem, swap, zswap, zswapped, in bytes, of a control group
    facts: dict[str, int]
    pages: int
    cold_pages: int | None
    zero_pages: Estimate
    savings: dict[str, GroupSavings]  #: by compressor, as Report.label() names it


@dataclass(frozen=True)
class SwapArea:
    """A swap area, as /proc/swaps lists it. Sizes in bytes."""

    name: str | None  #: the device's name in /dev, or a file's path
    kind: str  #: partition or file
    size: int
    used: int
    rotational: bool | None = None  #: of its disk; None if unknown


@dataclass(frozen=True)
class ZswapSettings:
    """The parameters of the machine's zswap. None: its kernel has no such parameter."""

    enabled: bool
    compressor: str
    max_pool_percent: int
    accept_threshold_percent: int | None
    shrinker_enabled: bool | None


@dataclass(frozen=True)
class Host:
    """The machine that the report was made on."""

    name: str | None  #: None with --no-names
    cpu: str
    kernel: str
    ram: int  #: MemTotal, in bytes
    swap: list[SwapArea]
    page_cluster: int | None
    zswap: ZswapSettings | None  #: None: a kernel without zswap


@dataclass(frozen=True)
class Coldness:
    """How cold memory was found, or why it was not."""

    method: str | None  #: damon, lru_gen or clear_refs; None: not found
    seconds: float  #: without access for this time
    #: cold bytes, by a method that does not tell which pages these are
    bytes: int | None = None
    remarks: list[str] = dataclasses.field(default_factory=list)
    reason: str | None = None  #: why coldness is unknown
    remedy: str | None = None


@dataclass(frozen=True)
class Sample:
    """What was read, and what was counted in it. Not scaled."""

    pages: int  #: pages that were read
    zero_pages: int  #: of these, pages in folios that are all zero
    runs: int  #: runs of consecutive pages
    seed: int
    precision: float | None  #: the aim: half of an interval, as a share of the figure
    #: why reading ended: all, sample, precision, budget, memory or interrupted
    ended: str
    not_read: dict[str, int]  #: pages by cause
    processes_gone: list[int]  #: pids of processes that had exited
    processes_denied: int  #: number of processes that could not be read
    heated_pages: int  #: pages that the reading marked as accessed
    cells: list[dict[str, Any]] = dataclasses.field(default_factory=list)  #: by group, cold or not


@dataclass(frozen=True)
class Cost:
    """What the report cost this machine."""

    cpu_seconds: float
    wall_seconds: float
    bytes_read: int
    peak_memory: int  #: bytes
    threads: int
    policy: str  #: the scheduling policy: idle, other


@dataclass(frozen=True, kw_only=True)
class Report:
    """A whole report, in the order of the JSON object."""

    schema: int
    id: str  #: uuid4, hexadecimal
    time: str  #: UTC, as RFC 3339 writes it
    complete: bool
    command: str | None  #: None with --no-names
    host: Host
    labels: dict[str, str]
    scope: str = "processes"  #: what was asked for: host, processes, cgroups or files
    selected: list[str] = dataclasses.field(default_factory=list)  #: labels of the cgroups
    source: list[dict[str, Any]]
    kernel: str
    kernel_remark: str | None = None  #: why the machine's own rules may be others
    target: str
    series: str | None
    page_size: int
    folio_pages: int
    pages_total: int | None  #: None: a stream that did not end
    cold_pages: int | None  #: None: coldness is not known
    zero_pages: Estimate
    estimated: bool
    cold: Coldness | None  #: None: not asked for
    groups: list[Group]
    compressors: list[Figures | Unavailable]
    zram: list[Figures | Unavailable] | None = None  #: as zram; None: not asked for
    sample: Sample
    cost: Cost

    @property
    def exact(self) -> bool:
        """Whether every page was read."""
        return all(f.all.net_saved_bytes.exact for f in self.figures)

    @property
    def figures(self) -> list[Figures]:
        """The available compressors, by savings, the largest first."""
        found = [c for c in self.compressors if isinstance(c, Figures)]
        return sorted(found, key=lambda f: -f.saved)

    @property
    def pick(self) -> Figures | None:
        """The compressor that saves most, or one within ALIKE of it that loads clearly
        faster.
        """
        good = [f for f in self.figures if f.intact and f.saved > 0]
        if not good:
            return None
        best = good[0]
        enough = (1 - ALIKE) * best.saved
        alike = [f for f in good if f.saved >= enough and f.loads_faster(best)]
        return min(alike, key=load_ns, default=best)

    def label(self, c: Figures | Unavailable) -> str:
        """Returns the kernel's name, with the backend if the report has several."""
        twins = [other for other in self.compressors if other.name == c.name]
        return c.name if len(twins) == 1 or not c.backend else f"{c.name}:{c.backend}"


def load_ns(f: Figures) -> float:
    """Returns the median time of a load in nanoseconds, infinite without loads."""
    return math.inf if f.load_ns_p50 is None else f.load_ns_p50


# ---- sums of groups ----


def total(estimates: Iterable[Estimate]) -> Estimate:
    """Returns the sum of estimates from samples that are independent, as those of two
    groups are: the squares of their errors add up.
    """
    parts = list(estimates)
    value = math.fsum(e.value for e in parts)
    return Estimate(
        value,
        value - math.hypot(*(e.value - e.low for e in parts)),
        value + math.hypot(*(e.high - e.value for e in parts)),
    )


def _savings(parts: list[Savings]) -> Savings:
    names = [field.name for field in dataclasses.fields(Savings)]
    return Savings(**{name: total(getattr(part, name) for part in parts) for name in names})


def together(groups: list[Group], label: str) -> Group:
    """Returns one group that stands for several."""
    compressors = [
        name
        for name in (groups[0].savings if groups else ())
        if all(name in group.savings for group in groups)
    ]

    def cold(name: str) -> Savings | None:
        parts = [part for group in groups if (part := group.savings[name].cold)]
        return _savings(parts) if parts else None

    facts: dict[str, int] = {}
    for group in groups:
        for name, value in group.facts.items():
            facts[name] = facts.get(name, 0) + value
    known = [group.cold_pages for group in groups if group.cold_pages is not None]
    return Group(
        kind=groups[0].kind if groups else "all",
        label=label,
        facts=facts,
        pages=sum(group.pages for group in groups),
        cold_pages=sum(known) if known else None,
        zero_pages=total(group.zero_pages for group in groups),
        savings={
            name: GroupSavings(_savings([group.savings[name].all for group in groups]), cold(name))
            for name in compressors
        },
    )


# ---- names ----


def numbered(groups: list[Group]) -> list[Group]:
    """Returns groups with numbers in place of their labels, except OTHERS."""
    return [
        group if group.label == OTHERS else dataclasses.replace(group, label=f"{group.kind} {i}")
        for i, group in enumerate(groups, 1)
    ]


def without_names(report: Report) -> Report:
    """Returns the report without what names a user's things: the command, the host's
    name, the labels and paths of sources, groups and swap files, pids, and messages
    that may quote them. Sources of a kind become one.
    """
    keep = dataclasses.replace
    cold = report.cold and keep(report.cold, remarks=[], reason=None, remedy=None)
    sources: dict[str, dict[str, Any]] = {}
    for source in report.source:
        kind = source["kind"]
        sum_ = sources.setdefault(kind, {"kind": kind, "sources": 0, "pages": 0, "tail_bytes": 0})
        sum_["sources"] += 1
        for name in ("pages", "tail_bytes"):
            sum_[name] += source.get(name) or 0
    return keep(
        report,
        command=None,
        host=keep(
            report.host,
            name=None,
            swap=[
                keep(s, name=s.name if s.kind == "partition" else None) for s in report.host.swap
            ],
        ),
        selected=[],
        source=list(sources.values()),
        cold=cold,
        groups=numbered(report.groups),
        sample=keep(
            report.sample,
            processes_gone=[],
            cells=[
                {name: value for name, value in cell.items() if not isinstance(value, str)}
                for cell in report.sample.cells
            ],
        ),
    )


# ---- JSON ----


def to_json(report: Report, indent: int | None = 2) -> str:
    """Returns the JSON object, with raw numbers. Estimates are rounded to whole pages
    and bytes. Adds the `ratio` to each Savings.
    """
    separators = (",", ":") if indent is None else None
    return json.dumps(_plain(report, report.page_size), indent=indent, separators=separators)


def _plain(value: Any, page_size: int) -> Any:
    if isinstance(value, Estimate):
        return {"value": round(value.value), "low": round(value.low), "high": round(value.high)}
    if dataclasses.is_dataclass(value):
        made = {
            field.name: _plain(getattr(value, field.name), page_size)
            for field in dataclasses.fields(value)
        }
        if isinstance(value, Savings):
            # of the rounded figures, as from_json() has them
            pool = made["pool_total_size"]["value"]
            stored = made["stored_pages"]["value"]
            made["ratio"] = round(stored * page_size / pool, 4) if pool else None
        return made
    if isinstance(value, dict):
        return {key: _plain(item, page_size) for key, item in value.items()}
    if isinstance(value, list):
        return [_plain(item, page_size) for item in value]
    if isinstance(value, float):
        return int(value) if value.is_integer() else round(value, 6)
    return value


def from_json(text: str | bytes) -> Report:
    """Returns the report of a JSON object. Passes over fields that it does not know.

    Raises ValueError, with the field's name, for an object without a field that a
    report needs, or with a value of another type; and for another schema.
    """
    try:
        data = json.loads(text, parse_constant=_no_number)
    except RecursionError:
        raise ValueError("is nested too deeply: give a report's JSON object") from None
    except ValueError as e:
        raise ValueError(f"is not JSON: {e}") from None
    if not isinstance(data, dict) or "schema" not in data:
        raise ValueError("schema is missing: give a report's JSON object")
    if data["schema"] != SCHEMA:
        raise ValueError(f"schema is {reprlib.repr(data['schema'])}: this version reads {SCHEMA}")
    try:
        report: Report = _decoder(Report)(data)
        for i, source in enumerate(report.source):
            _check_source(source, f"source[{i}]")
    except _FieldError as e:
        raise ValueError(f"{e.path} {e.reason}") from None
    return report


#: Fields of a source. All but its kind may be absent.
_SOURCE = {
    **dict.fromkeys(("kind", "label", "path", "incomplete", "remark"), str),
    **dict.fromkeys(("pid", "pages", "tail_bytes", "sources"), int),
}


def _check_source(source: dict[str, Any], where: str) -> None:
    for name, hint in _SOURCE.items():
        try:
            if name in source:
                _decoder(hint)(source[name])
            elif name == "kind":
                raise _FieldError("is missing")
        except _FieldError as e:
            raise e.inside(name).inside(where) from None


def _no_number(text: str) -> float:
    raise ValueError(f"{text} is not a number")


class _FieldError(Exception):
    """A field whose value is not what a report needs."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason, self.path = reason, ""

    def inside(self, name: str) -> _FieldError:
        """Returns the same error, seen from the object or list that holds the field."""
        self.path = f"{name}{'' if self.path[:1] in ('', '[') else '.'}{self.path}"
        return self


Decoder = Callable[[Any], Any]


@functools.cache
def _decoder(hint: Any) -> Decoder:
    """Returns the function that turns a plain value into a value of that type."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if hint is Any:
        return _flat
    if hint in _SCALARS:
        return _scalar(*_SCALARS[hint])
    if dataclasses.is_dataclass(hint):
        return _object(typing.cast(type, hint))
    if origin is list:
        return _list(_decoder(arguments[0]))
    if origin is dict:
        return _dict(_decoder(arguments[1]))
    if set(arguments) == {Figures, Unavailable}:
        figures, unavailable = _decoder(Figures), _decoder(Unavailable)
        return lambda value: (
            unavailable(value)
            if isinstance(value, dict) and "unavailable" in value
            else figures(value)
        )
    assert origin is types.UnionType, hint
    (some,) = (_decoder(each) for each in arguments if each is not types.NoneType)
    return lambda value: None if value is None else some(value)


#: No number of a report comes near it, and squares and sums of such have a float.
LIMIT = 1e30

_SCALARS: dict[Any, tuple[tuple[type, ...], str]] = {
    str: ((str,), "a string"),
    bool: ((bool,), "true or false"),
    int: ((int,), "a whole number"),
    float: ((int, float), "a number"),
}


def _scalar(allowed: tuple[type, ...], noun: str) -> Decoder:
    numbers = allowed[0] is int

    def scalar(value: Any) -> Any:
        # type(), since True is an int; the range, since 1e999 is infinite
        if type(value) not in allowed or (numbers and not -LIMIT < value < LIMIT):
            raise _FieldError(f"is {reprlib.repr(value)}: it must be {noun}")
        return value

    return scalar


def _flat(value: Any) -> Any:
    if isinstance(value, list | dict):  # of any depth
        raise _FieldError("must be a string, a number, true, false or null")
    return value


def _object(made: type) -> Decoder:
    hints = typing.get_type_hints(made)
    fields = [
        (f.name, _decoder(hints[f.name]), f.default is f.default_factory is dataclasses.MISSING)
        for f in dataclasses.fields(made)
    ]

    def decode(value: Any) -> Any:
        if type(value) is not dict:
            raise _FieldError(f"is {reprlib.repr(value)}: it must be an object")
        found = {}
        for name, each, needed in fields:
            if name in value:
                try:
                    found[name] = each(value[name])
                except _FieldError as e:
                    raise e.inside(name) from None
            elif needed:
                raise _FieldError("is missing").inside(name)
        return made(**found)

    def estimate(value: Any) -> Any:
        found = decode(value)
        if not found.low <= found.value <= found.high:
            raise _FieldError(f"is {found.value:g}: it must lie between low and high")
        return found

    return estimate if made is Estimate else decode


def _list(each: Decoder) -> Decoder:
    def decode(value: Any) -> Any:
        if type(value) is not list:
            raise _FieldError(f"is {reprlib.repr(value)}: it must be a list")
        found = []
        for i, item in enumerate(value):
            try:
                found.append(each(item))
            except _FieldError as e:
                raise e.inside(f"[{i}]") from None
        return found

    return decode


def _dict(each: Decoder) -> Decoder:
    def decode(value: Any) -> Any:
        if type(value) is not dict:
            raise _FieldError(f"is {reprlib.repr(value)}: it must be an object")
        found = {}
        for name, item in value.items():
            try:
                found[name] = each(item)
            except _FieldError as e:
                raise e.inside(name) from None
        return found

    return decode
