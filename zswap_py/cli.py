# SPDX-License-Identifier: GPL-2.0-or-later
"""The command line: arguments, streams, exit codes.

0: done; 1: failed; 2: wrong usage; 3: verify found a difference; 130: interrupted.
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import io
import itertools
import mmap
import os
import re
import shutil
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, NoReturn, TextIO

import zswap_py
from zswap_py import crypto, report, verify
from zswap_py._lib.names import quoted, shown
from zswap_py.corpus import corpus
from zswap_py.cpuhp import NR_CPUS
from zswap_py.kernels import KERNELS
from zswap_py.report import measure
from zswap_py.sources.denial import denial
from zswap_py.sources.pages import DEFAULT_SAMPLE, Pages, SourceError, open_pages
from zswap_py.verify import compare
from zswap_py.verify.host import Host

if TYPE_CHECKING:
    from rich.progress import Progress

INTERRUPTED = 130  # the exit code

MAX_PID = 1 << 22  # PID_MAX_LIMIT

MAX_OPTIONS = 10_000  # argparse takes seconds for these; its time grows with the square

FOLIOS = {"4K": 4 << 10, "64K": 64 << 10, "2M": 2 << 20}

#: Number of exited processes that the warning names; the JSON object has all.
NAMED_GONE = 5

DESCRIPTION = "zswap in user space: how much of this memory would the kernel's zswap save?"

REPORT = """\
Reports how much memory zswap would save for files, core dumps or live
processes. Stores every page with each compressor, loads it and compares it.
Nothing is swapped, and processes are only read.

Without a source, reports on all processes that you may read. Reads a sample of
the processes unless --full is given.
"""

VERIFY = """\
Sends the same pages through this machine's own zswap and zram and through
zswap_py. Compares the pool and the counters as pages are stored, loaded,
rewritten and freed, and in zram the size of each page. Needs root, a kernel
with zswap or zram, and no swap in use. Adds a swap file and a zram device of
its own, and restores every setting that it changes, even if interrupted.

Without FILE, generates the pages. Exits with 3 if a compressor that claims the
kernel's sizes differs from the kernel.
"""

VERIFY_EXAMPLES = """\
examples:
  sudo zswap-py verify                  16 MiB of generated pages
  sudo zswap-py verify dump.bin         the pages of a file
  sudo zswap-py verify --json | jq .    every figure of every step

docs/fidelity.md lists what it changes, and shows a run. pip installs the file
in share/doc/zswap-py.
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


class CommandError(Exception):
    """The command cannot run here. The message is for the user."""


class Parser(argparse.ArgumentParser):
    """An ArgumentParser that escapes unprintable characters in its messages."""

    def error(self, message: str) -> NoReturn:
        super().error(shown(message))


def _cut(text: str) -> str:
    """Quotes an argument for a message, cut to 40 characters."""
    return repr(text if len(text) <= 40 else f"{text[:37]}...")


def _size(text: str) -> int:
    """Parses a size: 65536, 64K, 64M, 1.5G; an i or iB may follow the letter."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([KMGT]?)(?:i?B)?", text.strip(), re.IGNORECASE)
    if not match:
        raise argparse.ArgumentTypeError(f"{_cut(text)} is not a size: give bytes, 64M or 1.5G")
    nbytes = float(match[1]) * 1024 ** " KMGT".index(match[2].upper() or " ")
    if nbytes >= 1 << 63:
        raise argparse.ArgumentTypeError(f"{_cut(text)} is too large: give less than 2^63 bytes")
    return int(nbytes)


def _number(most: int) -> Callable[[str], int]:
    """Returns a parser of whole numbers from 1 to `most`."""

    def number(text: str) -> int:
        if not text.isdecimal() or not text.strip("0"):
            raise argparse.ArgumentTypeError(f"{_cut(text)} is not a whole number from 1")
        if len(text) > 20 or int(text) > most:
            raise argparse.ArgumentTypeError(f"{_cut(text)} is too large: give {most} or less")
        return int(text)

    return number


def _seed(text: str) -> int:
    try:
        return int(text)
    except ValueError:  # also for too many digits
        raise argparse.ArgumentTypeError(f"{_cut(text)} is not a whole number") from None


def _compressor(text: str) -> str:
    """Checks that NAME or NAME:BACKEND is known, available or not."""
    if not 0 < len(text) <= 64:
        raise argparse.ArgumentTypeError(
            f"{_cut(text)} is not a compressor: zswap-py --version lists them"
        )
    known = crypto.compressors()
    if text in {c.name for c in known} | {f"{c.name}:{c.backend}" for c in known}:
        return text
    try:
        return crypto.find(text).spec
    except OSError as e:
        raise argparse.ArgumentTypeError(e.strerror or str(e)) from None


class _Version(argparse.Action):
    """Prints the version. Looks for the codecs only then."""

    def __call__(self, parser: argparse.ArgumentParser, *_: Any) -> None:
        print(version(), flush=True)
        parser.exit()


def version() -> str:
    """Returns the version, and a line for each compressor, available or not."""
    lines = [f"zswap-py {zswap_py.__version__}"]
    for c in crypto.compressors():
        name = f"{c.name}:{c.backend}" if c.backend else c.name
        if not c.available:
            lines.append(f"  {name:20} not available: {c.reason}")
            continue
        sizes = "the kernel's sizes" if c.kernel_sizes else "sizes may differ from the kernel's"
        lines.append(f"  {name:20} {c.library_version or 'built in':18} {sizes}")
    return "\n".join(map(shown, lines))


def parser() -> argparse.ArgumentParser:
    """Returns the parser of the whole command line."""
    top = Parser("zswap-py", description=DESCRIPTION, allow_abbrev=False)
    top.add_argument(
        "--version",
        action=_Version,
        nargs=0,
        help="print the version and all compressors; for a missing one, the reason",
    )
    commands = top.add_subparsers(metavar="COMMAND", required=True)
    sub = commands.add_parser(
        "report",
        help="report how much of this memory zswap would save, by compressor",
        description=REPORT,
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
        type=_number(MAX_PID),
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
        type=_size,
        metavar="SIZE",
        help="read SIZE bytes, sampled over all sources (default: "
        f"{DEFAULT_SAMPLE >> 20}M if there are processes, else everything)",
    )
    amount.add_argument("--full", action="store_true", help="read everything")
    reading.add_argument(
        "--seed",
        type=_seed,
        default=0,
        metavar="N",
        help="seed of the sample (default: %(default)s)",
    )

    modelled = sub.add_argument_group("model")
    modelled.add_argument(
        "-c",
        "--compressor",
        dest="compressors",
        type=functools.cache(_compressor),
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
        type=_number(NR_CPUS),
        metavar="N",
        help="number of threads, each a CPU of its own (default: the number of cores)",
    )
    _add_output(running)
    _add_verify(commands)
    return top


def _add_output(group: Any) -> None:
    group.add_argument(
        "--json",
        action="store_true",
        help="print one JSON object with raw numbers, not the table",
    )
    group.add_argument(
        "--color",
        choices=("auto", "always", "never"),
        default="auto",
        help="auto: on a terminal, unless NO_COLOR is set (default: %(default)s)",
    )


def _add_verify(commands: Any) -> None:
    sub = commands.add_parser(
        "verify",
        help="compare the figures with this machine's own kernel (needs root)",
        description=VERIFY,
        epilog=VERIFY_EXAMPLES,
        allow_abbrev=False,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    sub.set_defaults(run=_verify, usage_error=sub.error)
    sub.add_argument(
        "file",
        nargs="?",
        metavar="FILE",
        help="memory pages, or an ELF core, compressed or not; -: standard input",
    )
    sub.add_argument(
        "--size", type=_size, metavar="SIZE", help="size of the generated pages (default: 16M)"
    )
    sub.add_argument(
        "--seed", type=_seed, metavar="N", help="seed of the generated pages (default: 1)"
    )
    sub.add_argument(
        "--dir",
        default="/var/tmp",
        metavar="DIR",
        help="directory for the swap file, on ext4 or xfs, not tmpfs (default: %(default)s)",
    )
    _add_output(sub)


def main(argv: Sequence[str] | None = None) -> int:
    """Runs a command line, by default sys.argv's, and returns the exit code. argparse
    raises SystemExit by itself.
    """
    argv = sys.argv[1:] if argv is None else list(argv)
    try:
        _standard_streams()
        try:
            return _run(argv)
        finally:
            _write("")  # --help leaves a flush that may fail to the interpreter's exit
    except BrokenPipeError:  # the reader has closed its end
        return 1
    except KeyboardInterrupt:
        _say("interrupted before anything was measured")
        return INTERRUPTED
    except (CommandError, SourceError, OSError) as e:
        _say(str(e))
        return 1


def _standard_streams() -> None:
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


def _run(argv: list[str]) -> int:
    made = parser()
    options = sum(arg.startswith("-") for arg in itertools.takewhile(lambda arg: arg != "--", argv))
    if options > MAX_OPTIONS:
        made.error(f"{options:,} options are too many: give {MAX_OPTIONS:,} or fewer")
    args = made.parse_args(argv)
    args.command_line = " ".join(map(quoted, ["zswap-py", *argv]))
    return int(args.run(args))


def _write(text: str) -> None:
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


def _say(message: str) -> None:
    with contextlib.suppress(OSError):  # a lost message must not change the exit code
        print(f"zswap-py: {shown(message)}", file=sys.stderr, flush=True)


def _must_draw(args: argparse.Namespace) -> None:
    """Raises CommandError if rich is missing, before any measuring. JSON needs none."""
    if args.json:
        return
    try:
        from rich import console, table, text  # noqa: F401
    except ImportError as e:
        raise CommandError(
            f"the table needs rich, which is missing ({e}): pip install rich, or give --json"
        ) from None


def _report(args: argparse.Namespace) -> int:
    folio_pages, rest = divmod(FOLIOS[args.folio], mmap.PAGESIZE) if args.folio else (1, 0)
    if rest or not folio_pages:
        args.usage_error(
            f"argument --folio: {args.folio} is less than this machine's page size, "
            f"{mmap.PAGESIZE} bytes: give a larger one"
        )
    with _open(args, folio_pages) as pages:
        _must_draw(args)
        with _progress(pages) as progress:
            result = measure.measure(
                pages,
                args.compressors or measure.DEFAULT_COMPRESSORS,
                folio_pages=folio_pages,
                jobs=args.jobs,
                kernel=args.kernel,
                command=args.command_line,
                progress=progress,
            )
    _write(report.to_json(result.report) + "\n" if args.json else _text(result.report, args.color))
    for warning in _warnings(pages, result):
        _say(warning)
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


def _verify(args: argparse.Namespace) -> int:
    if args.file and (args.size is not None or args.seed is not None):
        args.usage_error("--size and --seed apply to generated pages: leave them out, or FILE")
    if args.size is not None and args.size < mmap.PAGESIZE:
        args.usage_error(
            f"argument --size: {args.size} is less than one page: give {mmap.PAGESIZE} or more"
        )
    host = Host()
    host.must_be_usable()  # before anything is read
    _must_draw(args)
    pages, source = _verify_pages(args, host)
    try:
        result = compare.verify(
            pages,
            source=source,
            directory=args.dir,
            command=args.command_line,
            host=host,
            progress=_say if sys.stderr.isatty() else lambda _: None,
        )
    except (KeyboardInterrupt, OSError) as e:
        for change in host.meanwhile:
            _say(f"meanwhile: {change}")
        if isinstance(e, OSError):
            raise
        _say("interrupted" if host.meanwhile else "interrupted; every setting is restored")
        return INTERRUPTED
    colour, width = _style(args.color)
    _write(verify.to_json(result) + "\n" if args.json else verify.to_text(result, width, colour))
    return result.exit_code


def _verify_pages(args: argparse.Namespace, host: Host) -> tuple[list[bytes], str]:
    """Returns the pages and the name of their source. Raises HostError if they
    need more than the available memory.
    """
    page_size = mmap.PAGESIZE
    if args.file:
        with open_pages([args.file], page_size=page_size) as opened:
            compare.must_have_room(host, opened.pages_planned or 0)
            pages: list[bytes] = []
            for piece in opened.pieces():
                compare.must_have_room(host, len(pages) + len(piece) // page_size)
                pages += [
                    bytes(piece[at : at + page_size]) for at in range(0, len(piece), page_size)
                ]
            return pages, opened.sources[0].label
    seed = 1 if args.seed is None else args.seed
    nbytes = (16 << 20 if args.size is None else args.size) // page_size * page_size
    compare.must_have_room(host, nbytes // page_size)
    made = b"".join(corpus(seed, nbytes // 4096))
    return [
        made[at : at + page_size] for at in range(0, len(made), page_size)
    ], f"pages generated from seed {seed}"


def _style(color: str) -> tuple[bool, int]:
    """Returns whether to colour, and the width."""
    # 0: a terminal without a size, such as a serial console; Python 3.10 passes it on
    width = (sys.stdout.isatty() and shutil.get_terminal_size().columns) or 80
    return color == "always" or (color == "auto" and _fancy(sys.stdout)), width


def _text(data: report.Report, color: str) -> str:
    colour, width = _style(color)
    try:
        "µ".encode(sys.stdout.encoding)
        micro = "µ"
    except (UnicodeEncodeError, TypeError):  # None: a stream without an encoding
        micro = "u"
    return report.to_text(data, width=width, colour=colour, micro=micro)


def _fancy(stream: Any) -> bool:
    return bool(
        stream.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
    )


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


@contextlib.contextmanager
def _progress(pages: Pages) -> Iterator[measure.Progress]:
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
