# SPDX-License-Identifier: GPL-2.0-or-later
"""The initramfs of a kernel: busybox, `init`, and the modules that reach this system's
files.
"""

from __future__ import annotations

import lzma
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

from vm.packages import Kernel, MachineError, tool

#: What must be loaded before modprobe can be reached: PCI, consoles, disks, files.
MODULES = ("virtio_pci", "virtio_console", "virtio_blk", "9pnet_virtio", "9p", "overlay", "ext4")
HERE = Path(__file__).resolve().parent


def _needed(kernel: Kernel) -> Iterator[Path]:
    """Yields the files of MODULES and of what they need, in the order of loading; a
    file may come again.
    """
    base = str(kernel.directory / "modules")
    modprobe = [tool("modprobe") or "modprobe", "-d", base, "-S", kernel.release]
    for name in MODULES:
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


def write(kernel: Kernel, busybox: Path, to: Path) -> None:
    """Writes the initramfs of `kernel`, uncompressed, to the file `to`."""
    with tempfile.TemporaryDirectory() as made:
        root = Path(made)
        (root / "bin").mkdir()
        (root / "modules").mkdir()
        shutil.copy2(busybox, root / "bin/busybox")
        shutil.copy2(HERE / "init", root / "init")
        (root / "init").chmod(0o755)
        order = []
        for path in dict.fromkeys(_needed(kernel)):
            data = path.read_bytes()
            name = path.name.removesuffix(".xz")
            (root / "modules" / name).write_bytes(
                lzma.decompress(data) if path.suffix == ".xz" else data
            )
            order.append(name)
        (root / "modules/order").write_text("".join(f"{name}\n" for name in order))
        files = sorted(str(path.relative_to(root)) for path in root.rglob("*"))
        archive = subprocess.run(
            ["cpio", "-o", "-H", "newc", "--quiet", "-R", "0:0"],
            input="".join(f"{name}\n" for name in files).encode(),
            cwd=root,
            stdout=subprocess.PIPE,
            check=True,
        )
        to.write_bytes(archive.stdout)
