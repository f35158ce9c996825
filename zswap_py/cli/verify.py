# SPDX-License-Identifier: GPL-2.0-or-later
"""zswap-py verify: its arguments and its run."""

from __future__ import annotations

import argparse
import functools
import mmap
import sys
from typing import Any

from zswap_py import verify
from zswap_py.cli.options import DEFAULT_SEED, add_command, add_output, add_seed, size
from zswap_py.cli.streams import INTERRUPTED, deliver, must_draw, must_write, say, style
from zswap_py.corpus import corpus
from zswap_py.sources.pages import open_pages
from zswap_py.verify import compare
from zswap_py.verify.host import Host

DESCRIPTION = """\
Sends the same pages through this machine's own zswap and zram and through
zswap_py. Compares the pool and the counters as pages are stored, loaded,
rewritten and freed, and in zram the size of each page. Needs root, a kernel
with zswap or zram, and no swap in use. Adds a swap file and a zram device of
its own, and restores every setting that it changes, even if interrupted.

Without FILE, generates the pages. Exits with 3 if a compressor that claims the
kernel's sizes differs from the kernel.
"""

EXAMPLES = """\
examples:
  sudo zswap-py verify                  16 MiB of generated pages
  sudo zswap-py verify dump.bin         the pages of a file
  sudo zswap-py verify --json | jq .    every figure of every step

docs/fidelity.md lists what it changes, and shows a run. pip installs the file
in share/doc/zswap-py.
"""


def add_verify(commands: Any) -> None:
    sub = add_command(
        commands,
        "verify",
        help="compare the figures with this machine's own kernel (needs root)",
        description=DESCRIPTION,
        epilog=EXAMPLES,
    )
    sub.set_defaults(run=_verify)
    sub.add_argument(
        "file",
        nargs="?",
        metavar="FILE",
        help="memory pages, or an ELF core, compressed or not; -: standard input",
    )
    sub.add_argument(
        "--size", type=size, metavar="SIZE", help="size of the generated pages (default: 16M)"
    )
    add_seed(sub)
    sub.add_argument(
        "--dir",
        default="/var/tmp",
        metavar="DIR",
        help="directory for the swap file, on ext4 or xfs, not tmpfs (default: %(default)s)",
    )
    add_output(sub)


def _verify(args: argparse.Namespace) -> int:
    if args.file and (args.size is not None or args.seed is not None):
        args.usage_error("--size and --seed apply to generated pages: leave them out, or FILE")
    if args.size is not None and args.size < mmap.PAGESIZE:
        args.usage_error(
            f"argument --size: {args.size} is less than one page: give {mmap.PAGESIZE} or more"
        )
    host = Host()
    host.must_be_usable()  # before anything is read
    must_write(args)
    must_draw(args)
    pages, source = _verify_pages(args, host)
    try:
        result = compare.verify(
            pages,
            source=source,
            directory=args.dir,
            command=args.command_line,
            host=host,
            progress=say if sys.stderr.isatty() else lambda _: None,
        )
    except (KeyboardInterrupt, OSError) as e:
        for change in host.meanwhile:
            say(f"meanwhile: {change}")
        if isinstance(e, OSError):
            raise
        say("interrupted" if host.meanwhile else "interrupted; every setting is restored")
        return INTERRUPTED
    deliver(args, functools.partial(_render, result, args.color), "verify")
    return result.exit_code


def _render(result: verify.Verdict, color: str, chosen: str) -> str:
    if chosen == "table":
        colour, width = style(color)
        return verify.to_text(result, width, colour)
    if chosen == "csv":
        return verify.to_csv(result)
    if chosen == "markdown":
        return verify.to_markdown(result)
    return verify.to_json(result, indent=2 if chosen == "json" else None) + "\n"


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
    seed = DEFAULT_SEED if args.seed is None else args.seed
    nbytes = (16 << 20 if args.size is None else args.size) // page_size * page_size
    compare.must_have_room(host, nbytes // page_size)
    made = b"".join(corpus(seed, nbytes // 4096))
    return [
        made[at : at + page_size] for at in range(0, len(made), page_size)
    ], f"pages generated from seed {seed}"
