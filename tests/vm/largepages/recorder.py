# SPDX-License-Identifier: GPL-2.0-or-later
"""Asks kernels with pages of 16 and 64 KiB what their zswap and zram make of generated
corpora, and puts the figures into tests/data/large_pages.json.

usage: tests/vm/largepages/record FLAVOUR VERSION...

FLAVOUR: Debian's, arm64-16k or powerpc64le-64k. VERSION: the beginning of one, 6.18. A
kernel takes about three minutes. The processor is emulated; its figures are the same.
Needs apt, QEMU and a cross compiler; root may leave their installation to it.
"""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from large_pages import FIGURES_FILE, SEEDS, Figures, pages_of
from vm import initramfs
from vm.packages import Kernel, MachineError, default_cache, kernel, must_have

HERE = Path(__file__).resolve().parent
MODULES = ("virtio_pci", "virtio_blk", "zram", "lzo", "lzo-rle", "lz4", "lz4hc", "zstd", "deflate")
TIMEOUT = 1800  #: seconds that a machine may take


@dataclass(frozen=True)
class Flavour:
    """A kind of Debian's kernels, and the machine that it runs on."""

    architecture: str
    page_size: int
    compiler: str
    libc: str  # the compiler's, of which guest.c needs the static one
    emulator: tuple[str, ...]
    package: str  # of the emulator
    console: str


FLAVOURS = {
    "arm64-16k": Flavour(
        "arm64",
        16384,
        "aarch64-linux-gnu-gcc",
        "libc6-dev-arm64-cross",
        ("qemu-system-aarch64", "-M", "virt", "-cpu", "max,pauth-impdef=on"),
        "qemu-system-arm",
        "ttyAMA0",
    ),
    "powerpc64le-64k": Flavour(
        "ppc64el",
        65536,
        "powerpc64le-linux-gnu-gcc",
        "libc6-dev-ppc64el-cross",
        # mitigations for which the machine asks, and which no emulated processor has
        (
            "qemu-system-ppc64",
            "-M",
            "pseries,cap-cfpc=broken,cap-sbbc=broken,cap-ibs=broken,cap-ccf-assist=off",
            "-vga",
            "none",
        ),
        "qemu-system-ppc",
        "hvc0",
    ),
}


# ---- the machine ----


def _initramfs(of: Kernel, flavour: Flavour, to: Path) -> None:
    """Writes an initramfs: guest.c as its first process, the modules, the corpora."""
    with tempfile.TemporaryDirectory() as made:
        root = Path(made)
        for name in ("corpora", "dev"):
            (root / name).mkdir()
        command = [flavour.compiler, "-std=gnu11", "-O2", "-static", "-o", root / "init"]
        subprocess.run([*command, HERE / "guest.c"], check=True)
        initramfs.add_modules(of, MODULES, root)
        for number, seed in enumerate(SEEDS):
            data = b"".join(pages_of(seed, flavour.page_size))
            (root / "corpora" / str(number)).write_bytes(data)
        initramfs.pack(root, to)


def answers(of: Kernel, flavour: Flavour) -> list[dict[str, Any]]:
    """Boots a kernel and returns what guest.c printed. Raises MachineError if that did
    not come to its end.
    """
    with tempfile.TemporaryDirectory(prefix="zswap-large-") as made:
        run = Path(made)
        _initramfs(of, flavour, run / "initramfs")
        with (run / "disk").open("wb") as disk:
            disk.truncate(1 << 30)
        command = [*flavour.emulator, "-accel", "tcg", "-m", "2G", "-smp", "1"]
        command += ["-nodefaults", "-no-user-config", "-display", "none", "-no-reboot"]
        command += ["-kernel", str(of.image), "-initrd", str(run / "initramfs")]
        command += ["-append", f"console={flavour.console} rdinit=/init quiet panic=-1"]
        command += ["-serial", f"file:{run / 'console'}"]
        command += ["-drive", f"file={run / 'disk'},if=none,id=disk,format=raw,cache=unsafe"]
        command += ["-device", "virtio-blk-pci,drive=disk"]
        with contextlib.suppress(subprocess.TimeoutExpired):
            subprocess.run(command, check=False, timeout=TIMEOUT, stdin=subprocess.DEVNULL)
        console = (run / "console").read_text(errors="replace").replace("\r", "")
    lines = [json.loads(line) for line in console.splitlines() if line.startswith("{")]
    if not lines or lines.pop() != {"end": True}:
        last = "\n".join(console.splitlines()[-20:])
        raise MachineError(f"Linux {of.release} did not come to the end:\n{last}")
    return lines


def main(argv: list[str]) -> int:
    """The command line."""
    if len(argv) < 2 or argv[0] not in FLAVOURS:
        print(__doc__, file=sys.stderr)
        return 2
    flavour = FLAVOURS[argv[0]]
    cross = flavour.compiler.removesuffix("-gcc")
    packages = {
        flavour.emulator[0]: flavour.package,
        flavour.compiler: f"gcc-{cross} {flavour.libc}",
        "modprobe": "kmod",
        "cpio": "cpio",
    }
    try:
        must_have(packages)
        for version in argv[1:]:
            of = kernel(version, default_cache(), argv[0], flavour.architecture)
            figures = Figures.read()
            figures.add(answers(of, flavour))
            figures.write()
            print(f"Linux {of.release}: in {FIGURES_FILE}")
    except MachineError as e:
        print(f"record: {e}", file=sys.stderr)
        return 1
    return 0
