# SPDX-License-Identifier: GPL-2.0-or-later
"""zswap-py report: its arguments, its run, its warnings."""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import functools
import mmap
from collections.abc import Iterator
from typing import Any

from zswap_py import report
from zswap_py.cli.options import (
    DEFAULT_SEED,
    add_command,
    add_names,
    add_output,
    add_seed,
    amount,
    compressor,
    kernel,
    number,
    share,
)
from zswap_py.cli.sources import add_sources, is_live, open_sources
from zswap_py.cli.streams import (
    INTERRUPTED,
    CommandError,
    deliver,
    must_draw,
    must_write,
    plain,
    progress_bar,
    say,
    style,
)
from zswap_py.cpuhp import NR_CPUS
from zswap_py.kernels import NEWEST, OLDEST, Kernel, this_machines
from zswap_py.report import measure
from zswap_py.report.compact import to_compact_json
from zswap_py.report.cost import BUDGET, Stopwatch, idle
from zswap_py.sources.cold import Unknown
from zswap_py.sources.denial import denial
from zswap_py.sources.pages import Pages
from zswap_py.sources.source import SourceError

#: Reading live processes ends once half the interval of what is saved is this share.
PRECISION = 0.05

MAX_BUDGET = 24 * 60 * 60  # seconds

FOLIOS = {"4K": 4 << 10, "64K": 64 << 10, "2M": 2 << 20}

#: Number of exited processes that the warning names; the JSON object has all.
NAMED_GONE = 5

USAGE = "zswap-py report [FILE ... | --pid N ... | --cgroup GLOB] [options]"

DESCRIPTION = """\
Reports how much memory zswap would save for live processes, core dumps or other
files. Nothing is swapped. Options that name something may be repeated.
"""

EXAMPLES = """\
columns:
  *             saves most, or within 2% of that with clearly faster loads
  ~             sizes may differ from the kernel's: zswap-py --version
  saved         bytes stored - pool - metadata; with --cold, of cold memory
  ratio, pool   bytes stored / those of the pool, the kernel's pool_total_size
  to disk       share of pages that zswap rejects; kept raw: stores uncompressed
  store, load   CPU time per page on this machine: the median
  CPU           of one CPU, for 1,000 faults/s: each loads a page and stores one

examples:
  zswap-py report --by cgroup --cold 120     this host, as root
  zswap-py report --pid 1234 -c lz4 -c zstd  one process, two compressors
  zswap-py report --target zswap,zram        zram beside zswap
  zswap-py report --json core.1234 | jq .    fields: docs/report.md
"""


def add_report(commands: Any) -> None:
    """Adds the command."""
    sub = add_command(
        commands,
        "report",
        help="report how much memory zswap would save, by compressor",
        usage=USAGE,
        description=DESCRIPTION,
        epilog=EXAMPLES,
    )
    sub.set_defaults(run=_report)

    add_sources(sub)

    reading = sub.add_argument_group("amount")
    amounts = reading.add_mutually_exclusive_group()
    amounts.add_argument(
        "--precision",
        type=share,
        metavar="P",
        help=f"read until the error is P (default: {PRECISION:.0%}%, processes)",
    )
    amounts.add_argument(
        "--sample",
        type=amount,
        metavar="SIZE",
        help="read so much, as 64M or 2%%; --full: all, as of files",
    )
    amounts.add_argument("--full", action="store_true", help=argparse.SUPPRESS)
    reading.add_argument(
        "--budget",
        type=number(MAX_BUDGET),
        metavar="SECONDS",
        help=f"CPU time to spend at most (default: {BUDGET}, processes)",
    )
    reading.add_argument(
        "-j",
        "--jobs",
        type=number(NR_CPUS),
        metavar="N",
        help="threads (default: one, idle; for files one a core)",
    )
    add_seed(reading)

    modelled = sub.add_argument_group("model")
    modelled.add_argument(
        "-c",
        "--compressor",
        dest="compressors",
        type=functools.cache(compressor),
        action="append",
        metavar="NAME",
        help="NAME or NAME:BACKEND, as --version lists them "
        f"(default: {', '.join(measure.DEFAULT_COMPRESSORS)})",
    )
    modelled.add_argument(
        "--kernel",
        type=kernel,
        metavar="VERSION",
        help=f"Linux, {OLDEST} to {NEWEST} (default: this one; for files {NEWEST})",
    )
    modelled.add_argument(
        "--target",
        choices=("zswap", "zswap,zram"),
        default="zswap",
        help=argparse.SUPPRESS,  # an example shows it
    )
    modelled.add_argument(
        "--folio",
        choices=FOLIOS,
        metavar="SIZE",
        help=f"folio: {', '.join(FOLIOS)} (default: a page)",
    )

    running = sub.add_argument_group("output")
    add_output(running)
    add_names(running)


def _report(args: argparse.Namespace) -> int:
    try:
        return _made(args)
    except SourceError as e:
        named = args.files or args.pids or args.cgroups or args.units or args.names
        if not (args.no_names and named) or isinstance(e, measure.MemoryLimit):
            raise
        raise CommandError(
            "a source cannot be read: without --no-names the message names it, and the remedy"
        ) from None


def _made(args: argparse.Namespace) -> int:
    folio_pages, rest = divmod(FOLIOS[args.folio], mmap.PAGESIZE) if args.folio else (1, 0)
    if rest or not folio_pages:
        args.usage_error(
            f"argument --folio: {args.folio} is less than this machine's page size, "
            f"{mmap.PAGESIZE} bytes: give a larger one"
        )
    must_write(args)
    watch = Stopwatch()
    live = is_live(args)
    # a survey of processes works, too
    with idle() if live else contextlib.nullcontext(), _open(args, folio_pages) as pages:
        must_draw(args)
        modelled = _kernel(args, live)
        with progress_bar(pages) as progress:
            result = measure.measure(
                pages,
                args.compressors or measure.DEFAULT_COMPRESSORS,
                folio_pages=folio_pages,
                jobs=args.jobs,
                kernel=modelled.name,
                precision=args.precision,
                budget=args.budget,
                idle=live,
                seed=_seed(args),
                zram=args.target != "zswap",
                cold=_coldness(pages, args.cold),
                command=args.command_line,
                watch=watch,
                progress=progress,
            )
    if isinstance(result.stopped, KeyboardInterrupt) and not result.report.sample.pages:
        raise result.stopped
    made = dataclasses.replace(
        _named(args, pages, result.report), kernel_remark=modelled.remark or None
    )
    deliver(args, functools.partial(render, made, args.color), made.id)
    for warning in _warnings(pages, result, args.no_names):
        say(warning)
    if isinstance(result.stopped, KeyboardInterrupt):
        return INTERRUPTED
    return 0 if result.report.complete and not _damaged(result.report) else 1


def _open(args: argparse.Namespace, folio_pages: int) -> Pages:
    if is_live(args) and not (args.sample or args.full):
        args.precision = PRECISION if args.precision is None else args.precision
        args.budget = BUDGET if args.budget is None else args.budget
    # a run is at least a folio, so that a sample keeps folios as they lie in memory
    return open_sources(
        args,
        sample_bytes=args.sample if isinstance(args.sample, int) else None,
        sample_share=args.sample if isinstance(args.sample, float) else None,
        precision=args.precision,
        full=args.full,
        seed=_seed(args),
        run_pages=max(8, folio_pages),
    )


def _kernel(args: argparse.Namespace, live: bool) -> Kernel:
    """Returns the kernel to model: for processes the one that they run on."""
    if args.kernel == "host" or (live and args.kernel is None):
        return this_machines()
    return Kernel(args.kernel or NEWEST, True, "")


def _seed(args: argparse.Namespace) -> int:
    return DEFAULT_SEED if args.seed is None else int(args.seed)


def _coldness(pages: Pages, seconds: int | None) -> report.Coldness | None:
    """Returns what was found of cold memory, if it was asked for."""
    found = pages.cold
    if found is None or seconds is None:
        return None
    if isinstance(found, Unknown):
        return report.Coldness(None, seconds, reason=found.reason, remedy=found.remedy)
    known = [*found.bytes_by_pid.values(), *found.bytes_by_cgroup.values()]
    nbytes = sum(known) if known else None
    return report.Coldness(found.method, found.seconds, nbytes, found.remarks)


def _named(args: argparse.Namespace, pages: Pages, made: report.Report) -> report.Report:
    """Returns the report with what the command line says of its names."""
    groups = [group.label for group in pages.selection.groups]
    scope = (
        "host"
        if args.all_processes
        else "files"
        if all(source.kind != "process" for source in pages.sources)
        else "cgroups"
        if groups and not args.pids
        else "processes"
    )
    selected = groups if scope == "cgroups" else []
    made = dataclasses.replace(made, labels=dict(args.labels), scope=scope, selected=selected)
    return report.without_names(made) if args.no_names else made


def render(data: report.Report, color: str, chosen: str) -> str:
    """Returns a report in a format."""
    if chosen == "table":
        colour, width = style(color)
        return report.to_text(data, width=width, colour=colour, plain=plain())
    if chosen == "csv":
        return report.to_csv(data)
    if chosen == "markdown":
        return report.to_markdown(data)
    if chosen == "json line" and data.command is None:
        return to_compact_json(data)
    return report.to_json(data, indent=2 if chosen == "json" else None) + "\n"


def _damaged(made: report.Report) -> list[str]:
    """Returns the compressors, of zram too, that lost or changed a page."""
    of_zram = [f for f in made.zram or [] if isinstance(f, report.Figures)]
    return [
        f"{f.name}:{f.backend}{of}"
        for of, figures in (("", made.figures), (" in zram", of_zram))
        for f in figures
        if not f.intact
    ]


def _warnings(pages: Pages, result: measure.Result, no_names: bool) -> Iterator[str]:
    """Yields the reasons to doubt the figures; only counts, where these have names."""
    if isinstance(result.stopped, KeyboardInterrupt):
        yield "interrupted: the figures cover the pages measured before that"
    elif isinstance(result.stopped, measure.BudgetSpent):
        yield str(result.stopped)
    elif result.stopped:
        yield f"stopped: {result.stopped}"
    for source in () if no_names else pages.sources:
        for said in (source.incomplete, source.remark):
            if said:
                yield f"{source.label} {said}"
    if no_names and any(source.incomplete for source in pages.sources):
        yield "sources are incomplete: the figures do not cover all of their pages"
    for name in _damaged(result.report):
        yield f"{name}: pages were lost or loaded with other bytes; do not use its figures"
    if pages.processes_denied:
        n = pages.processes_denied
        why = denial(None, pages.denied, "..." if no_names else pages.selection.options)
        yield f"{n} process{'es' if n > 1 else ''} could not be read: {why}"
    if pages.processes_gone:
        yield _processes("gone", pages.processes_gone, no_names)
    if pages.processes_moved:
        yield _processes("moved", pages.processes_moved, no_names)
    empty = [group.label for group in pages.selection.empty]
    if empty and not no_names:
        yield f"no process is in cgroup {', '.join(empty)}"
    if pages.tail_bytes:
        yield f"left out {pages.tail_bytes} bytes at the ends of sources that fill no page"


def _processes(happened: str, causes: dict[int, str], no_names: bool) -> str:
    n = len(causes)
    if no_names:
        return f"{n} process{'es' if n > 1 else ''} {happened}"
    more = f"; and {n - NAMED_GONE} more" if n > NAMED_GONE else ""
    return (
        f"{n} process{'es' if n > 1 else ''} {happened}: "
        f"{'; '.join([*causes.values()][:NAMED_GONE])}{more}"
    )
