# SPDX-License-Identifier: GPL-2.0-or-later
"""Boots another Linux in QEMU, with this system's files, and runs a command there."""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from vm import initramfs
from vm.packages import Kernel, MachineError, busybox, default_cache, kernel, must_have, tool

#: The package of each program that is run here or there.
PROGRAMS = {
    "qemu-system-x86_64": "qemu-system-x86",
    "modprobe": "kmod",
    "cpio": "cpio",
    "mkfs.ext4": "e2fsprogs",
}
HERE = Path(__file__).resolve().parent
PROMPT = 20  #: seconds in which a processor that is not emulated starts the command
EMULATED_PROMPT = 200  #: the same, for one that is
STARTS = 3  #: starts of an emulated machine: an emulator may miss code that a CPU patches
FAILED = 125  #: the exit code where the machine fails, not its command


@dataclass(frozen=True)
class Options:
    """What a machine has, and how long it may take."""

    cpus: int = 2
    memory: str = "3G"
    disk: str = "4G"
    append: str = ""
    timeout: float = 600


@dataclass
class _Control:
    """What the guest tells: that the command starts, and its exit code."""

    told: threading.Event = field(default_factory=threading.Event)  # or ended without
    ready: bool = False
    code: int | None = None

    def read(self, fd: int) -> None:
        with os.fdopen(fd) as lines:
            for line in lines:
                word = line.split()
                if word == ["ready"]:
                    self.ready = True
                    self.told.set()
                elif word[:1] == ["exit"]:
                    self.code = int(word[1])
        self.told.set()


def _copy(fd: int, to: BinaryIO) -> None:
    with os.fdopen(fd, "rb", buffering=0) as source:
        while data := source.read(1 << 16):
            to.write(data)
            to.flush()


def _sparse(path: Path, size: str) -> Path:
    """Makes a file of `size` bytes ("4G") that takes no room."""
    subprocess.run(["truncate", "-s", size, str(path)], check=True)
    return path


def _words(path: Path, words: Sequence[str]) -> None:
    """Writes words, each ended by a zero byte."""
    path.write_bytes(b"".join(os.fsencode(word) + b"\0" for word in words))


def _this_boot() -> str:
    return Path("/proc/sys/kernel/random/boot_id").read_text()


def _kvm_may_work(cache: Path) -> bool:
    """Tells whether KVM can be opened, and has not failed since this system's boot."""
    failed = cache / "no-kvm"
    return os.access("/dev/kvm", os.R_OK | os.W_OK) and not (
        failed.is_file() and failed.read_text() == _this_boot()
    )


class Machine:
    """One boot of a kernel, for one command. Its files are in `run`."""

    def __init__(self, of: Kernel, options: Options, run: Path, cache: Path) -> None:
        self.options, self.run, self._kernel, self._cache = options, run, of, cache
        initramfs.write(of, busybox(cache), run / "initramfs")
        (run / "guest").write_bytes((HERE / "guest").read_bytes())
        (run / "modules").write_text(str(of.modules.resolve()))
        _sparse(run / "disk", options.disk)
        mkfs = tool("mkfs.ext4") or "mkfs.ext4"
        subprocess.run([mkfs, "-qF", str(_sparse(run / "tmp", "4G"))], check=True)

    def _command_line(self, accelerator: str, fds: Sequence[int]) -> list[str]:
        options, run = self.options, self.run
        # it ends with this process, however that ends
        command = ["setpriv", "--pdeathsig", "KILL", "qemu-system-x86_64"]
        command += ["-accel", accelerator, "-cpu", "max", "-smp", str(options.cpus)]
        command += ["-m", options.memory]
        command += ["-nodefaults", "-no-user-config", "-display", "none", "-no-reboot"]
        command += ["-kernel", str(self._kernel.image), "-initrd", str(run / "initramfs")]
        command += ["-append", f"console=ttyS0 quiet panic=-1 VM_RUN={run} {options.append}"]
        command += ["-serial", f"file:{run}/console", "-device", "virtio-serial-pci,max_ports=8"]
        for i, fd in enumerate(fds):
            command += ["-chardev", f"file,id=port{i},path=/dev/fd/{fd}"]
            command += ["-device", f"virtconsole,chardev=port{i}"]
        for name in ("disk", "tmp"):
            command += ["-drive", f"file={run}/{name},if=virtio,format=raw,cache=unsafe"]
        share = "local,id=host,path=/,security_model=none,readonly=on,multidevs=remap"
        return [*command, "-fsdev", share, "-device", "virtio-9p-pci,fsdev=host,mount_tag=host"]

    def _boot(self, accelerator: str, prompt: float, out: BinaryIO, err: BinaryIO) -> _Control:
        """Runs the machine to its end. Ends it if it has not started the command in
        `prompt` seconds, or takes too long.
        """
        control = _Control()
        pipes = [os.pipe() for _ in range(3)]
        writers = [fd for _, fd in pipes]
        process = subprocess.Popen(
            self._command_line(accelerator, writers),
            pass_fds=writers,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=(self.run / "qemu").open("wb"),
        )
        readers = [
            threading.Thread(target=_copy, args=(pipes[0][0], out), daemon=True),
            threading.Thread(target=_copy, args=(pipes[1][0], err), daemon=True),
            threading.Thread(target=control.read, args=(pipes[2][0],), daemon=True),
        ]
        for fd in writers:
            os.close(fd)
        for reader in readers:
            reader.start()
        try:
            if control.told.wait(prompt):
                process.wait(self.options.timeout)
        except subprocess.TimeoutExpired:
            pass
        finally:
            process.kill()
            process.wait()
            for reader in readers:
                reader.join()
        return control

    def __call__(self, command: Sequence[str], out: BinaryIO, err: BinaryIO) -> int:
        """Runs `command` and returns its exit code. Raises MachineError if the machine
        ends before it, or takes too long.
        """
        _words(self.run / "command", command)
        _words(self.run / "environment", [f"{k}={v}" for k, v in os.environ.items()])
        (self.run / "directory").write_text(os.getcwd())
        starts = [("tcg,thread=multi", EMULATED_PROMPT)] * STARTS
        if _kvm_may_work(self._cache):
            starts.insert(0, ("kvm", PROMPT))
        for accelerator, prompt in starts:
            control = self._boot(accelerator, prompt, out, err)
            if control.ready:
                break
            if accelerator == "kvm":
                (self._cache / "no-kvm").write_text(_this_boot())
        if control.code is None:
            raise MachineError(self._why(control))
        return control.code

    def _why(self, control: _Control) -> str:
        said = [
            line
            for name in ("qemu", "console")
            if (self.run / name).is_file()
            for line in (self.run / name).read_text(errors="replace").splitlines()[-20:]
        ]
        what = "the command" if control.ready else "the machine's start"
        return "\n".join(
            [f"{what} did not end in {self.options.timeout:.0f} s, or the machine did:", *said]
        )


def run(
    version: str,
    command: Sequence[str],
    options: Options = Options(),
    cache: Path | None = None,
    out: BinaryIO | None = None,
    err: BinaryIO | None = None,
) -> int:
    """Runs `command` under the Linux `version` and returns its exit code.

    Its output and errors go to `out` and `err`, by default this process's. Raises
    MachineError if there can be no machine, or it ends before the command.
    """
    if os.uname().machine != "x86_64":
        raise MachineError(f"this machine is {os.uname().machine}: only x86_64 boots these kernels")
    must_have(PROGRAMS)
    cache = cache or default_cache()
    of = kernel(version, cache)
    with tempfile.TemporaryDirectory(prefix="zswap-vm-") as made:
        machine = Machine(of, options, Path(made), cache)
        return machine(command, out or sys.stdout.buffer, err or sys.stderr.buffer)


def main(argv: Sequence[str]) -> int:
    """The command line of tests/vm/run."""
    parser = argparse.ArgumentParser(
        prog="tests/vm/run",
        description="Runs a command under another Linux, in a machine that sees this one's files. "
        "What it writes is gone at its end; its output and exit code come here. It is root, with "
        "cgroup v2, debugfs, all of that kernel's modules, an empty disk /dev/vda, and ext4 on "
        "/var/tmp.",
    )
    default = Options()
    parser.add_argument("--cpus", type=int, default=default.cpus, help="(%(default)s)")
    parser.add_argument("--memory", default=default.memory, help="(%(default)s)")
    parser.add_argument("--disk", default=default.disk, help="size of /dev/vda (%(default)s)")
    parser.add_argument("--append", default="", help="arguments for the kernel")
    parser.add_argument(
        "--timeout", type=float, default=default.timeout, help="in seconds (%(default)s)"
    )
    parser.add_argument("--cache", type=Path, default=default_cache(), help="(%(default)s)")
    parser.add_argument("version", metavar="VERSION", help="the newest that begins so: 6.18")
    parser.add_argument("command", metavar="COMMAND", nargs=argparse.REMAINDER)
    args = parser.parse_args(argv)
    if not args.command:
        parser.error("no COMMAND: uname -a")
    options = Options(args.cpus, args.memory, args.disk, args.append, args.timeout)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        return run(args.version, args.command, options, args.cache)
    except MachineError as e:
        print(f"tests/vm/run: {e}", file=sys.stderr)
        return FAILED
    except KeyboardInterrupt:
        return 130
