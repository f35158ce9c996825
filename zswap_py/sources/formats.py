# SPDX-License-Identifier: GPL-2.0-or-later
"""Recognizes a file by its first bytes: compressed, an ELF core, or a format without
plain pages of memory.
"""

from __future__ import annotations

from typing import NamedTuple

#: bytes to look at: a page of the largest size, since some signatures stand at its end
HEAD = 1 << 16

# The magic number of a block, or of an empty file's end, follows in a bzip2 file.
_COMPRESSED: tuple[tuple[str, tuple[bytes, ...]], ...] = (
    # and skippable frames
    ("zstd", (b"\x28\xb5\x2f\xfd", *(bytes((0x50 + n,)) + b"\x2a\x4d\x18" for n in range(16)))),
    ("lz4", (b"\x04\x22\x4d\x18",)),
    ("xz", (b"\xfd7zXZ\0",)),
    ("gzip", tuple(b"\x1f\x8b\x08" + bytes((flags,)) for flags in range(32))),
    (
        "bzip2",
        tuple(
            b"BZh%d" % level + block
            for level in range(1, 10)
            for block in (b"1AY&SY", b"\x17rE8P\x90")
        ),
    ),
)


class _Foreign(NamedTuple):
    """A rejected format. ``{}`` in ``remedy`` stands for the file's quoted name."""

    name: str
    remedy: str
    magics: tuple[bytes, ...]
    offsets: tuple[int, ...] = (0,)


_PAGE_SIZES = (4096, 8192, 16384, 32768, 65536)
# With more than 42 architectures it is a Java class, which has the same magic number.
_FAT = tuple(
    magic
    for n in range(1, 43)
    for last in (b"\xbe", b"\xbf")
    for magic in (
        b"\xca\xfe\xba" + last + n.to_bytes(4, "big"),
        last + b"\xba\xfe\xca" + n.to_bytes(4, "little"),
    )
)

_FOREIGN = (
    _Foreign(
        "a kdump-compressed dump of a machine",
        "crash turns its processes into cores: crash VMLINUX {}, then: extend gcore.so, gcore PID",
        (b"KDUMP   ", b"DISKDUMP"),
    ),
    _Foreign(
        "a dump in makedumpfile's flattened format",
        "put it in order: makedumpfile -R dump < {}",
        (b"makedumpfile\0",),
    ),
    _Foreign("a minidump", "turn it into a core: minidump-2-core {} > core", (b"MDMP",)),
    _Foreign(
        "a Mach-O file",
        "lldb writes the pages of a Mach-O core into a file: lldb -c {}, "
        "then: "
        "memory read --force --binary --outfile pages --count BYTES ADDRESS",
        (b"\xfe\xed\xfa\xce", b"\xfe\xed\xfa\xcf", b"\xce\xfa\xed\xfe", b"\xcf\xfa\xed\xfe", *_FAT),
    ),
    _Foreign(
        "a LiME dump of a machine",
        "write its pages into a file: vol -f {} layerwriter.LayerWriter",
        (b"EMiL", b"AVML"),
    ),
    _Foreign(
        "a hibernation image",
        "no tool turns it into a core. Resume that machine and run: zswap-py report --all",
        (b"S1SUSPEND", b"S2SUSPEND", b"ULSUSPEND", b"LINHIB0001"),
        tuple(size - 10 for size in _PAGE_SIZES),
    ),
    _Foreign(
        "a Windows crash dump",
        "write its pages into a file: vol -f {} layerwriter.LayerWriter",
        (b"PAGEDUMP", b"PAGEDU64"),
    ),
    _Foreign(
        "the saved state of a QEMU machine",
        "QEMU's monitor writes a core of that machine: dump-guest-memory core",
        (b"QEVM",),
    ),
    _Foreign(
        "libvirt's save of a QEMU machine",
        "turn it into a core: virsh restore {} && virsh dump --memory-only DOMAIN core",
        (b"LibvirtQemudSave", b"LibvirtQemudPart"),
    ),
    _Foreign(
        "the saved state of a VMware machine",
        "turn it into a core: vmss2core -N6 {} MACHINE.vmem",
        tuple(
            magic.to_bytes(4, "little")
            for magic in (0xBED2BED0, 0xBAD1BAD1, 0xBED2BED2, 0xBED3BED3)
        ),
    ),
    _Foreign(
        "the saved state of a VirtualBox machine",
        "VirtualBox writes a core of that machine: VBoxManage debugvm MACHINE dumpvmcore "
        "--filename=core",
        (b"\x7fVirtualBox SavedState",),
    ),
    _Foreign(
        "a Java heap dump, which holds objects and no pages",
        "make a core of the process: gcore PID",
        (b"JAVA PROFILE 1.0.",),
    ),
    _Foreign(
        "a crash report",
        "extract its core: apport-unpack {} DIR && zswap-py report DIR/CoreDump",
        (b"ProblemType: ",),
    ),
    _Foreign(
        "compressed in lz4's legacy format",
        "pipe it in: lz4 -dc {} | zswap-py report -",
        (b"\x02\x21\x4c\x18",),
    ),
    _Foreign(
        "compressed by lzop",
        "pipe it in: lzop -dc {} | zswap-py report -",
        (b"\x89LZO\0\r\n\x1a\n",),
    ),
    _Foreign("compressed by lzip", "pipe it in: lzip -dc {} | zswap-py report -", (b"LZIP\1",)),
    _Foreign(
        "compressed by compress", "pipe it in: zcat {} | zswap-py report -", (b"\x1f\x9d\x90",)
    ),
    _Foreign("a zip archive", "pipe it in: unzip -p {} | zswap-py report -", (b"PK\3\4",)),
    _Foreign(
        "a 7z archive", "pipe it in: 7z x -so {} | zswap-py report -", (b"7z\xbc\xaf\x27\x1c",)
    ),
    _Foreign(
        "a tar archive",
        "pipe it in: tar -xOf {} | zswap-py report -",
        (b"ustar\0", b"ustar "),
        (257,),
    ),
)

_SWAP = _Foreign(
    "a swap area", "", (b"SWAPSPACE2", b"SWAP-SPACE"), tuple(size - 10 for size in _PAGE_SIZES)
)


def compression(head: bytes) -> str | None:
    """Returns the name of a supported compression, or None."""
    return next((name for name, magics in _COMPRESSED if head.startswith(magics)), None)


def is_core(head: bytes) -> bool:
    """Returns whether the file is an ELF core: e_type, in its own byte order, is
    ET_CORE.
    """
    return (
        len(head) >= 18
        and head[:4] == b"\x7fELF"
        and int.from_bytes(head[16:18], "big" if head[5:6] == b"\2" else "little") == 4
    )


def is_swap_area(head: bytes) -> bool:
    """Returns whether the file is a swap area, as mkswap makes it."""
    return _matches(_SWAP, head)


def foreign(head: bytes, name: str) -> str | None:
    """Returns the name of a format without plain pages and the remedy, or None.
    ``name`` is quoted for a shell.
    """
    for form in _FOREIGN:
        if _matches(form, head):
            return f"is {form.name}: {form.remedy.format(name)}"
    return None


def _matches(form: _Foreign, head: bytes) -> bool:
    return any(head.startswith(form.magics, offset) for offset in form.offsets)
