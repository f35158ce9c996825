# SPDX-License-Identifier: GPL-2.0-or-later
"""A program whose memory has a known temperature: run it with Target, or as

cold_target.py MIB CHUNK_KIB KIND

Its chunks are hot (read each 0.1 s), warm (each 3 s), cold, cold, over and over; cold
ones are never used again. KIND is private, huge (pages), shmem, or forked: the chunks
belong to a process that sleeps, and a child uses them. Prints the pid of the process
that owns them, the child's or 0, and the address.
"""

from __future__ import annotations

import ctypes
import mmap
import os
import subprocess
import sys
import time
from pathlib import Path

CLASSES = ("hot", "warm", "cold")
PAGE = mmap.PAGESIZE


class Target:
    """The program, running. A context manager."""

    def __init__(
        self,
        mib: int = 64,
        chunk_kib: int = 1024,
        kind: str = "private",
        group: Path | None = None,
    ) -> None:
        self.size, self.chunk, self.kind = mib << 20, chunk_kib << 10, kind
        command = [sys.executable, "-S", __file__, str(mib), str(chunk_kib), kind]
        if group:  # a process of the group starts the program
            enter = 'echo $$ >"$0"; exec "$@"'
            command = ["sh", "-c", enter, str(group / "cgroup.procs"), *command]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert self.process.stdout
        line = self.process.stdout.readline().split()
        self.pid, self.child, self.base = (int(word) for word in line)

    def __enter__(self) -> Target:
        return self

    def __exit__(self, *_: object) -> None:
        if self.child:
            os.kill(self.child, 9)
        self.process.kill()
        self.process.communicate()

    def shares(self, starts: list[int], ends: list[int]) -> dict[str, float]:
        """Returns which share of each class's bytes lies in the ranges."""
        found = dict.fromkeys(CLASSES, 0)
        for start, end in zip(starts, ends, strict=True):
            at, stop = max(start, self.base), min(end, self.base + self.size)
            while at < stop:
                number = (at - self.base) // self.chunk
                upto = min(stop, self.base + (number + 1) * self.chunk)
                found[CLASSES[min(number % 4, 2)]] += upto - at
                at = upto
        whole = {"hot": self.size / 4, "warm": self.size / 4, "cold": self.size / 2}
        return {name: found[name] / whole[name] for name in CLASSES}


def _use(memory: memoryview, chunk: int) -> None:
    """Reads the hot and the warm chunks for ever."""
    libc = ctypes.CDLL(None)
    few = mmap.mmap(-1, 64 * PAGE)
    address = ctypes.addressof(ctypes.c_char.from_buffer(few))
    warm = 0.0
    while True:
        began = time.monotonic()
        for number, at in enumerate(range(0, len(memory), chunk)):
            if number % 4 == 0 or (number % 4 == 1 and began >= warm):
                bytes(memory[at : at + chunk : PAGE])
        warm = began + 3 if began >= warm else warm
        # a new protection empties the TLB; an emulated one is so large that the
        # processor would set no accessed bit again
        few[::PAGE] = bytes(64)
        for protection in (mmap.PROT_READ, mmap.PROT_READ | mmap.PROT_WRITE):
            libc.mprotect(ctypes.c_void_p(address), ctypes.c_size_t(64 * PAGE), protection)
        time.sleep(max(0, began + 0.1 - time.monotonic()))


def main() -> None:
    size, chunk, kind = int(sys.argv[1]) << 20, int(sys.argv[2]) << 10, sys.argv[3]
    flags = mmap.MAP_SHARED if kind == "shmem" else mmap.MAP_PRIVATE
    memory = mmap.mmap(-1, size + (2 << 20), flags=flags | mmap.MAP_ANONYMOUS)
    memory.madvise(mmap.MADV_HUGEPAGE if kind == "huge" else mmap.MADV_NOHUGEPAGE)
    whole = memoryview(memory)
    address = ctypes.addressof(ctypes.c_char.from_buffer(memory))
    skip = -address % (2 << 20)
    part = whole[skip : skip + size]
    for at in range(0, size, PAGE):
        part[at : at + 8] = (at * 0x9E3779B97F4A7C15 >> 7 & 2**64 - 1).to_bytes(8, sys.byteorder)
    child = os.fork() if kind == "forked" else 0
    if kind == "forked" and child:
        print(os.getpid(), child, address + skip, flush=True)
        time.sleep(10**6)
    if kind != "forked":
        print(os.getpid(), 0, address + skip, flush=True)
    _use(part, chunk)


if __name__ == "__main__":
    main()
