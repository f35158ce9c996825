# SPDX-License-Identifier: GPL-2.0-or-later
"""zswap-py report: its arguments, its run, its warnings."""

from __future__ import annotations

import argparse
import functools
import mmap
from collections.abc import Iterator
from typing import Any

from zswap_py import report
from zswap_py.cli.options import MAX_PID, add_output, compressor, number, seed, size
from zswap_py.cli.streams import INTERRUPTED, micro, must_draw, progress_bar, say, style, write
from zswap_py.cpuhp import NR_CPUS
from zswap_py.kernels import KERNELS
from zswap_py.report import measure
from zswap_py.sources.denial import denial
from zswap_py.sources.pages import DEFAULT_SAMPLE, Pages, open_pages

FOLIOS = {"4K": 4 << 10, "64K": 64 << 10, "2M": 2 << 20}

#: Number of exited processes that the warning names; the JSON object has all.
NAMED_GONE = 5

DESCRIPTION = """\
Reports how much memory zswap would save for files, core dumps or live
processes. Stores every page with each compressor, loads it and compares it.
Nothing is swapped, and processes are only read.

Without a source, reports on all processes that you may read. Reads a sample of
the processes unless --full is given.
"""

EXAMPLES = """\
columns:
  *                saves most, or is within 2% of the best, with clearly
                   faster loads
  compressor       the kernel's name; ~: sizes may differ from the kernel's
  net saved        bytes stored, minus the pool and its metadata, without
                   zero-filled pages
  ratio            bytes stored / bytes of the pool
  pool             size of the pool: the kernel's pool_total_size
  do not compress  share of the pages that are stored raw (--kernel 6.18), or
                   rejected with their folio and written to disk (6.16)
  store, load      CPU time per page on this machine: the median of runs of 64
                   pages
The sizes of a sample are scaled up to the whole memory.

examples:
  zswap-py report                            all processes that you may read
  zswap-py report --pid 1234 -c lz4 -c zstd  one process, two compressors
  zswap-py report --json dump.bin | jq .     a file of memory pages

docs/report.md describes each field of the JSON object. pip installs the file in
share/doc/zswap-py.
"""


def add_report(commands: Any) -> None:
    """Adds the command."""
    sub = commands.add_parser(
        "report",
        help="report how much of this memory zswap would save, by compressor",
        description=DESCRIPTION,
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    sub.set_defaults(run=_report, usage_error=sub.error)

    sources = sub.add_argument_group("sources")
    sources.add_argument(
        "files",
        nargs="*",
        metavar="FILE",
        help="memory pages, or an ELF core, compressed or not; -: standard input",
    )
    sources.add_argument(
        "--pid",
        dest="pids",
        nargs="+",
        type=number(MAX_PID),
        action="extend",
        default=[],
        metavar="N",
        help="live processes",
    )
    sources.add_argument(
        "--all", dest="all_processes", action="store_true", help="all processes that you may read"
    )

    reading = sub.add_argument_group("amount")
    amount = reading.add_mutually_exclusive_group()
    amount.add_argument(
        "--sample",
        type=size,
        metavar="SIZE",
        help="read SIZE bytes, sampled over all sources (default: "
        f"{DEFAULT_SAMPLE >> 20}M if there are processes, else everything)",
    )
    amount.add_argument("--full", action="store_true", help="read everything")
    reading.add_argument(
        "--seed",
        type=seed,
        default=0,
        metavar="N",
        help="seed of the sample (default: %(default)s)",
    )

    modelled = sub.add_argument_group("model")
    modelled.add_argument(
        "-c",
        "--compressor",
        dest="compressors",
        type=functools.cache(compressor),
        action="append",
        metavar="NAME",
        help="NAME or NAME:BACKEND, may be repeated; zswap-py --version lists them "
        f"(default: {', '.join(measure.DEFAULT_COMPRESSORS)})",
    )
    modelled.add_argument(
        "--kernel",
        choices=sorted(KERNELS, reverse=True),
        default="6.18",
        help="Linux release to model (default: %(default)s)",
    )
    modelled.add_argument(
        "--folio", choices=FOLIOS, help="folio size for the stores (default: one page)"
    )

    running = sub.add_argument_group("running and output")
    running.add_argument(
        "-j",
        "--jobs",
        type=number(NR_CPUS),
        metavar="N",
        help="number of threads, each a CPU of its own (default: the number of cores)",
    )
    add_output(running)


def _report(args: argparse.Namespace) -> int:
    folio_pages, rest = divmod(FOLIOS[args.folio], mmap.PAGESIZE) if args.folio else (1, 0)
    if rest or not folio_pages:
        args.usage_error(
            f"argument --folio: {args.folio} is less than this machine's page size, "
            f"{mmap.PAGESIZE} bytes: give a larger one"
        )
    with _open(args, folio_pages) as pages:
        must_draw(args)
        with progress_bar(pages) as progress:
            result = measure.measure(
                pages,
                args.compressors or measure.DEFAULT_COMPRESSORS,
                folio_pages=folio_pages,
                jobs=args.jobs,
                kernel=args.kernel,
                command=args.command_line,
                progress=progress,
            )
    write(report.to_json(result.report) + "\n" if args.json else _text(result.report, args.color))
    for warning in _warnings(pages, result):
        say(warning)
    if isinstance(result.stopped, KeyboardInterrupt):
        return INTERRUPTED
    return 0 if result.report.complete and all(f.intact for f in result.report.figures) else 1


def _open(args: argparse.Namespace, folio_pages: int) -> Pages:
    try:
        # a run is at least a folio, so that a sample keeps folios as they lie in memory
        return open_pages(
            args.files,
            args.pids,
            args.all_processes,
            page_size=mmap.PAGESIZE,
            sample_bytes=args.sample,
            full=args.full,
            seed=args.seed,
            run_pages=max(8, folio_pages),
        )
    except ValueError as e:
        args.usage_error(str(e))
        raise


def _text(data: report.Report, color: str) -> str:
    colour, width = style(color)
    return report.to_text(data, width=width, colour=colour, micro=micro())


def _warnings(pages: Pages, result: measure.Result) -> Iterator[str]:
    """Yields the reasons to doubt the figures."""
    if isinstance(result.stopped, KeyboardInterrupt):
        yield "interrupted: the figures cover the pages measured before that"
    elif result.stopped:
        yield f"stopped: {result.stopped}"
    for source in pages.sources:
        for said in (source.incomplete, source.remark):
            if said:
                yield f"{source.label} {said}"
    for f in result.report.figures:
        if not f.intact:
            yield (
                f"{f.name}:{f.backend}: pages were lost or loaded with other bytes; do not use "
                "its figures"
            )
    if any(source.kind == "process" for source in pages.sources):
        yield "the processes ran while they were read: their pages are not one snapshot"
    if pages.processes_denied:
        n = pages.processes_denied
        yield f"{n} process{'es' if n > 1 else ''} could not be read: {denial(None)}"
    if pages.processes_gone:
        causes = list(pages.processes_gone.values())
        more = f"; and {len(causes) - NAMED_GONE} more" if len(causes) > NAMED_GONE else ""
        yield (
            f"{len(causes)} process{'es' if len(causes) > 1 else ''} gone: "
            f"{'; '.join(causes[:NAMED_GONE])}{more}"
        )
    if pages.tail_bytes:
        yield f"left out {pages.tail_bytes} bytes at the ends of sources that fill no page"
