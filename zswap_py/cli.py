# SPDX-License-Identifier: GPL-2.0-or-later
"""The command line: arguments, streams, exit codes.

0: done; 1: failed; 2: usage; 3: verify found a difference; 130: interrupted.
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
from typing import TYPE_CHECKING, Any, NoReturn

import zswap_py
from zswap_py import crypto, report
from zswap_py._lib.names import quoted, shown
from zswap_py.corpus import corpus
from zswap_py.cpuhp import NR_CPUS
from zswap_py.kernels import KERNELS
from zswap_py.report import measure
from zswap_py.sources.pages import DEFAULT_SAMPLE, Pages, SourceError, open_pages
from zswap_py.sources.procmem import denial
from zswap_py.verify import compare, verdict
from zswap_py.verify.host import Host

if TYPE_CHECKING:
    from rich.progress import Progress

INTERRUPTED = 130  # the exit code

MAX_PID = 1 << 22  # PID_MAX_LIMIT

MAX_OPTIONS = 10_000  # argparse takes seconds for so many, and time by their square

FOLIOS = {"4K": 4 << 10, "64K": 64 << 10, "2M": 2 << 20}

#: Processes that are gone of which the warning tells how; JSON has all.
NAMED_GONE = 5

DESCRIPTION = "zswap in user space: what would the kernel's compressed swap do for this memory?"

REPORT = """\
What zswap would do for the memory of files, core dumps or live processes: store
every page by each compressor, load and compare it, and say what is saved.
Nothing is swapped, and the processes are only read.

With no source: all processes that you may read. Of processes a sample is read
unless --full says otherwise.
"""

VERIFY = """\
The same pages through this machine's own zswap and zram and through ours:
growth, frees and rewrites, in zram page by page. Needs root, a kernel with
zswap or zram, and no swap in use. It makes a swap file and a zram device of its
own, and puts back every setting that it changes, also when it is interrupted.

With no FILE: pages that it makes. Exit code 3 if a compressor that claims the
kernel's sizes has them not.
"""

VERIFY_EXAMPLES = """\
examples:
  sudo zswap-py verify                  16 MiB of pages that it makes
  sudo zswap-py verify dump.bin         the pages of a file
  sudo zswap-py verify --json | jq .    every figure of every step

What it changes, and what it printed on one machine: docs/fidelity.md; where pip
installs, it is in share/doc/zswap-py.
"""

EXAMPLES = """\
columns:
  *                saves most, or all but 2% of that with loads clearly faster
  compressor       the kernel's name; ~: sizes not shown to be the kernel's
  net saved        bytes stored, less the pool and its metadata; zero-filled
                   pages are not in it
  ratio            bytes stored / bytes of the pool
  pool             bytes that the pool takes: the kernel's pool_total_size
  do not compress  share of the pages stored as they are (--kernel 6.18), or
                   refused with their folio and so written to the disk (6.16)
  store, load      CPU time of a page here: the median of runs of 64 pages
Of a sample all but ratio, shares and times is scaled up to the whole.

examples:
  zswap-py report                            all processes that you may read
  zswap-py report --pid 1234 -c lz4 -c zstd  one process, two compressors
  zswap-py report --json dump.bin | jq .     a file of memory pages

What each field of the JSON object means: docs/report.md; where pip installs,
it is in share/doc/zswap-py.
"""


class CommandError(Exception):
    """What was asked for cannot be done here. The message is for the user."""


class Parser(argparse.ArgumentParser):
    """argparse's, whose messages hold what was typed, names of files among it."""

    def error(self, message: str) -> NoReturn:
        super().error(shown(message))


def _cut(text: str) -> str:
    """What was typed, in a message."""
    return repr(text if len(text) <= 40 else f"{text[:37]}...")


def _size(text: str) -> int:
    """Bytes from 65536, 64K, 64M, 1.5G; an i or iB after the letter changes nothing."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([KMGT]?)(?:i?B)?", text.strip(), re.IGNORECASE)
    if not match:
        raise argparse.ArgumentTypeError(f"{_cut(text)} is not a size: give bytes, or as 64M, 1.5G")
    nbytes = float(match[1]) * 1024 ** " KMGT".index(match[2].upper() or " ")
    if nbytes >= 1 << 63:
        raise argparse.ArgumentTypeError(
            f"{_cut(text)} is more than any memory: give less than 2^63 bytes"
        )
    return int(nbytes)


def _number(most: int) -> Callable[[str], int]:
    """The type of an argument that is from 1 to `most`."""

    def number(text: str) -> int:
        if not text.isdecimal() or not text.strip("0"):
            raise argparse.ArgumentTypeError(f"{_cut(text)} is not a number from 1 on")
        if len(text) > 20 or int(text) > most:
            raise argparse.ArgumentTypeError(f"{_cut(text)} is too many: {most} at most")
        return int(text)

    return number


def _seed(text: str) -> int:
    try:
        return int(text)
    except ValueError:  # too many digits, too
        raise argparse.ArgumentTypeError(f"{_cut(text)} is not a whole number") from None


def _compressor(text: str) -> str:
    """A name, or name:backend, that is known, whether it can be had here or not."""
    if not 0 < len(text) <= 64:
        raise argparse.ArgumentTypeError(f"{_cut(text)} is no compressor: see zswap-py --version")
    known = crypto.compressors()
    if text in {c.name for c in known} | {f"{c.name}:{c.backend}" for c in known}:
        return text
    try:
        return crypto.find(text).spec
    except OSError as e:
        raise argparse.ArgumentTypeError(e.strerror or str(e)) from None


class _Version(argparse.Action):
    """--version, with the codecs found, and why others are not; looked for only when it
    is asked.
    """

    def __call__(self, parser: argparse.ArgumentParser, *_: Any) -> None:
        print(version(), flush=True)
        parser.exit()


def version() -> str:
    """The version, and a line for each compressor."""
    lines = [f"zswap-py {zswap_py.__version__}"]
    for c in crypto.compressors():
        name = f"{c.name}:{c.backend}" if c.backend else c.name
        if not c.available:
            lines.append(f"  {name:20} not available: {c.reason}")
            continue
        sizes = "the kernel's sizes" if c.kernel_sizes else "sizes not shown to be the kernel's"
        lines.append(f"  {name:20} {c.library_version or 'built in':18} {sizes}")
    return "\n".join(map(shown, lines))


def parser() -> argparse.ArgumentParser:
    """All that may be said on the command line."""
    top = Parser("zswap-py", description=DESCRIPTION, allow_abbrev=False)
    top.add_argument(
        "--version",
        action=_Version,
        nargs=0,
        help=("version and codecs, and why others are missing"),
    )
    commands = top.add_subparsers(metavar="COMMAND", required=True)
    sub = commands.add_parser(
        "report",
        help="what zswap would save of this memory, by compressor",
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
        "--all", dest="all_processes", action="store_true", help=("all processes that you may read")
    )

    reading = sub.add_argument_group("how much is read")
    amount = reading.add_mutually_exclusive_group()
    amount.add_argument(
        "--sample",
        type=_size,
        metavar="SIZE",
        help="read so much, chosen over all the sources (default: "
        f"{DEFAULT_SAMPLE >> 20}M where there "
        "are processes, else all)",
    )
    amount.add_argument("--full", action="store_true", help="read all")
    reading.add_argument(
        "--seed",
        type=_seed,
        default=0,
        metavar="N",
        help=("chooses the sample (default: %(default)s)"),
    )

    modelled = sub.add_argument_group("what is modelled")
    modelled.add_argument(
        "-c",
        "--compressor",
        dest="compressors",
        type=functools.cache(_compressor),
        action="append",
        metavar="NAME",
        help="NAME or NAME:BACKEND, again for more; see zswap-py --version "
        f"(default: {', '.join(measure.DEFAULT_COMPRESSORS)})",
    )
    modelled.add_argument(
        "--kernel",
        choices=sorted(KERNELS, reverse=True),
        default="6.18",
        help="whose rules (default: %(default)s)",
    )
    modelled.add_argument(
        "--folio", choices=FOLIOS, help=("in what folios pages are stored (default: one page each)")
    )

    running = sub.add_argument_group("running, output")
    running.add_argument(
        "-j",
        "--jobs",
        type=_number(NR_CPUS),
        metavar="N",
        help="threads, each as a CPU of its own (default: the cores)",
    )
    running.add_argument(
        "--json", action="store_true", help=("one JSON object, raw numbers, in place of the table")
    )
    running.add_argument(
        "--color",
        choices=("auto", "always", "never"),
        default="auto",
        help="auto: on a terminal, unless NO_COLOR is set (default: %(default)s)",
    )
    _add_verify(commands)
    return top


def _add_verify(commands: Any) -> None:
    sub = commands.add_parser(
        "verify",
        help=("whether the figures are those of this machine's kernel (root)"),
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
        "--size", type=_size, metavar="SIZE", help=("of the pages that it makes (default: 16M)")
    )
    sub.add_argument(
        "--seed", type=_seed, metavar="N", help=("of the pages that it makes (default: 1)")
    )
    sub.add_argument(
        "--dir",
        default="/var/tmp",
        metavar="DIR",
        help=("where the swap file is made: ext4 or xfs, no tmpfs (default: %(default)s)"),
    )
    sub.add_argument(
        "--json", action="store_true", help=("one JSON object, raw numbers, in place of the table")
    )
    sub.add_argument(
        "--color",
        choices=("auto", "always", "never"),
        default="auto",
        help="auto: on a terminal, unless NO_COLOR is set (default: %(default)s)",
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Runs a command line, sys.argv's by default. The exit code; argparse raises
    SystemExit by itself.
    """
    argv = sys.argv[1:] if argv is None else list(argv)
    try:
        _standard_streams()
        try:
            return _run(argv)
        finally:
            _write("")  # --help leaves to the interpreter's end what may fail
    except BrokenPipeError:  # the reader has what it wanted
        return 1
    except KeyboardInterrupt:
        _say("interrupted before anything was measured")
        return INTERRUPTED
    except (CommandError, SourceError, OSError) as e:
        _say(str(e))
        return 1


def _standard_streams() -> None:
    """Makes of the three streams what can be used: a closed one's number must not
    become another file's, and each character comes out, escaped where the encoding has
    it not. CommandError where standard output is closed.
    """
    for fd in range(3):
        try:
            os.fstat(fd)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest number that is free: fd
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
        made.error(f"{options:,} options: {MAX_OPTIONS:,} at most")
    args = made.parse_args(argv)
    args.command_line = " ".join(map(quoted, ["zswap-py", *argv]))
    return int(args.run(args))


def _write(text: str) -> None:
    """To standard output. BrokenPipeError; CommandError for another failure, as of a
    full disk.
    """
    if sys.stdout is None:
        return
    try:
        sys.stdout.write(text)
        sys.stdout.flush()
    except OSError as e:
        # what is still to be written must not fail again, when the interpreter flushes
        # at its end
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if isinstance(e, BrokenPipeError):
            raise
        raise CommandError(f"cannot write to standard output: {e.strerror}") from None


def _say(message: str) -> None:
    with contextlib.suppress(OSError):  # a message that cannot be had must not cost the exit code
        print(f"zswap-py: {shown(message)}", file=sys.stderr, flush=True)


def _must_draw(args: argparse.Namespace) -> None:
    """CommandError without rich, before anything is measured. JSON needs none."""
    if args.json:
        return
    try:
        from rich import console, table, text  # noqa: F401
    except ImportError as e:
        raise CommandError(
            f"rich, which draws the table, is missing ({e}): pip install rich, or take --json"
        ) from None


def _report(args: argparse.Namespace) -> int:
    folio_pages, rest = divmod(FOLIOS[args.folio], mmap.PAGESIZE) if args.folio else (1, 0)
    if rest or not folio_pages:
        args.usage_error(
            f"argument --folio: {args.folio} is less than this machine's pages of "
            f"{mmap.PAGESIZE} bytes"
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
        # runs of a folio at least, so that a sample has folios as they lie in memory
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
        args.usage_error(
            "--size and --seed are of the pages that it makes: leave them out, or FILE"
        )
    if args.size is not None and args.size < mmap.PAGESIZE:
        args.usage_error(
            f"argument --size: {args.size} is less than a page of {mmap.PAGESIZE} bytes"
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
        _say("interrupted" if host.meanwhile else "interrupted; every setting is as it was")
        return INTERRUPTED
    colour, width = _style(args.color)
    _write(verdict.to_json(result) + "\n" if args.json else verdict.to_text(result, width, colour))
    return result.exit_code


def _verify_pages(args: argparse.Namespace, host: Host) -> tuple[list[bytes], str]:
    """The pages, and what they are of. HostError before more are there than the memory
    has room for.
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
    ], f"pages made from seed {seed}"


def _style(color: str) -> tuple[bool, int]:
    """Whether to colour, and the width."""
    # 0: a terminal that does not know, as a serial console; Python 3.10 passes it on
    width = (sys.stdout.isatty() and shutil.get_terminal_size().columns) or 80
    return color == "always" or (color == "auto" and _fancy(sys.stdout)), width


def _text(data: report.Report, color: str) -> str:
    colour, width = _style(color)
    try:
        "µ".encode(sys.stdout.encoding)
        micro = "µ"
    except (UnicodeEncodeError, TypeError):  # None: a stream of text alone
        micro = "u"
    return report.to_text(data, width=width, colour=colour, micro=micro)


def _fancy(stream: Any) -> bool:
    return bool(
        stream.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
    )


def _warnings(pages: Pages, result: measure.Result) -> Iterator[str]:
    """What the reader should doubt."""
    if isinstance(result.stopped, KeyboardInterrupt):
        yield "interrupted: the figures are of what was measured until then"
    elif result.stopped:
        yield f"stopped: {result.stopped}"
    for source in pages.sources:
        for said in (source.incomplete, source.remark):
            if said:
                yield f"{source.label} {said}"
    for f in result.report.figures:
        if not f.intact:
            yield (
                f"{f.name}:{f.backend}: pages were lost or came back with other bytes; do not use "
                "its figures"
            )
    if any(source.kind == "process" for source in pages.sources):
        yield "the processes ran while they were read: pages may be of different moments"
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
        yield f"{pages.tail_bytes} bytes at the ends of sources fill no page, and were left out"


@contextlib.contextmanager
def _progress(pages: Pages) -> Iterator[measure.Progress]:
    """A bar with rate and time left on standard error, where that is a terminal; erased
    at the end.
    """
    if not (sys.stderr.isatty() and os.environ.get("TERM") != "dumb"):
        yield lambda done: None
        return
    try:
        made = _bar()
    except ImportError:  # rich is missing, and JSON needs none
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
        """rich's own is decimal."""

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
