# SPDX-License-Identifier: GPL-2.0-or-later
"""The initramfs of a kernel: busybox, `init`, and the modules that reach this system's
files. Its parts serve other initramfses.
"""

from __future__ import annotations

import lzma
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from vm.packages import Kernel, MachineError, tool

#: What must be loaded before modprobe can be reached: PCI, consoles, disks, files.
MODULES = ("virtio_pci", "virtio_console", "virtio_blk", "9pnet_virtio", "9p", "overlay", "ext4")
HERE = Path(__file__).resolve().parent


def _needed(kernel: Kernel, names: Sequence[str]) -> Iterator[Path]:
    """Yields the files of modules and of what they need, in the order of loading; a
    file may come again.
    """
    base = str(kernel.directory / "modules")
    modprobe = [tool("modprobe") or "modprobe", "-d", base, "-S", kernel.release]
    for name in names:
        done = subprocess.run(
            [*modprobe, "--show-depends", name],
            check=False,
            capture_output=True,
            text=True,
        )
        if done.returncode:
            said = done.stderr.strip()
            raise MachineError(f"Linux {kernel.release} has no module {name}: {said}")
        for line in done.stdout.splitlines():
            verb, _, path = line.strip().partition(" ")
            if verb == "insmod":  # else it is built in
                yield Path(path.split()[0])


def add_modules(kernel: Kernel, names: Sequence[str], root: Path) -> None:
    """Puts modules of `kernel`, and those that they need, into root/modules, and their
    names into root/modules/order.
    """
    (root / "modules").mkdir()
    order = []
    for path in dict.fromkeys(_needed(kernel, names)):
        data = path.read_bytes()
        name = path.name.removesuffix(".xz")
        (root / "modules" / name).write_bytes(
            lzma.decompress(data) if path.suffix == ".xz" else data
        )
        order.append(name)
    (root / "modules/order").write_text("".join(f"{name}\n" for name in order))


def pack(root: Path, to: Path) -> None:
    """Writes an initramfs of all files below `root`, uncompressed, to the file `to`."""
    files = sorted(str(path.relative_to(root)) for path in root.rglob("*"))
    with to.open("wb") as archive:
        subprocess.run(
            ["cpio", "-o", "-H", "newc", "--quiet", "-R", "0:0"],
            input="".join(f"{name}\n" for name in files).encode(),
            cwd=root,
            stdout=archive,
            check=True,
        )


def write(kernel: Kernel, busybox: Path, to: Path) -> None:
    """Writes the initramfs of `kernel` to the file `to`."""
    with tempfile.TemporaryDirectory() as made:
        root = Path(made)
        (root / "bin").mkdir()
        shutil.copy2(busybox, root / "bin/busybox")
        shutil.copy2(HERE / "init", root / "init")
        (root / "init").chmod(0o755)
        add_modules(kernel, MODULES, root)
        pack(root, to)
