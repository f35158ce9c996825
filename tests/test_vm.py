# SPDX-License-Identifier: GPL-2.0-or-later
"""vm/: which packages make a kernel, and a machine with one where it is asked for.

The live tests boot machines: ZSWAP_VM=1. They fetch kernels of Debian, once.
"""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
from vm import fidelity, machine, packages
from vm.packages import MachineError

RUN = Path(__file__).parent / "vm" / "run"

# ---- which packages ----


def test_the_mirror_is_the_first_archive_of_apts_sources_but_security_updates():
    uris = """
'http://x/debian-security/dists/bookworm-security/InRelease' x_InRelease 0
'http://x/debian/dists/bookworm-updates/InRelease' x_InRelease 0
'http://y/debian/dists/bookworm/InRelease' y_InRelease 0
'http://y/debian/dists/bookworm/main/binary-amd64/Packages.xz' y_Packages 0
"""
    assert list(packages.mirrors(uris)) == ["http://x/debian", "http://y/debian"]
    assert list(packages.mirrors("")) == []


NAMES = [
    "linux-image-6.1.0-47-amd64",
    "linux-image-6.1.0-50-amd64",
    "linux-image-6.1.0-50-amd64-dbg",
    "linux-image-6.1.0-50-amd64-unsigned",
    "linux-image-6.1.0-51-cloud-amd64",
    "linux-image-6.12.107+deb13-amd64",
    "linux-image-6.18.9+deb13-amd64",
    "linux-image-6.18.15+deb13-amd64",
    "linux-image-6.18.15+deb13-rt-amd64",
    "linux-base-6.18.15+deb13-amd64",
    "linux-image-7.3.4+deb13-amd64",
    "linux-binary-7.3.4+deb13-amd64",
    "linux-modules-7.3.4+deb13-amd64",
    "linux-image-7.3.5+deb13-amd64",  # its modules are not there
    "linux-binary-7.3.5+deb13-amd64",
    "linux-image-amd64",
]


@pytest.mark.parametrize(
    ("version", "release", "parts"),
    [
        ("6.1", "6.1.0-50-amd64", ["image"]),
        ("6.12", "6.12.107+deb13-amd64", ["image"]),
        ("6.18", "6.18.15+deb13-amd64", ["image", "base"]),
        ("6.18.9", "6.18.9+deb13-amd64", ["image"]),
        ("7.3", "7.3.4+deb13-amd64", ["image", "binary", "modules"]),
    ],
)
def test_the_newest_release_that_has_its_modules(version, release, parts):
    found = packages.parts_of(version, NAMES)
    assert found == (release, [f"linux-{part}-{release}" for part in parts])


@pytest.mark.parametrize("version", ["6.11", "7.3.5", "6.180"])
def test_no_such_release(version):
    with pytest.raises(MachineError, match=f"Debian has no Linux {version}"):
        packages.parts_of(version, NAMES)


@pytest.mark.parametrize("version", ["", "apt", "../6.18", "6.18/x", "linux-6.18"])
def test_what_is_no_version_is_refused_before_anything_is_fetched(version, tmp_path):
    with pytest.raises(MachineError, match="not a version of Linux"):
        packages.kernel(version, tmp_path / "cache")
    assert list(tmp_path.iterdir()) == []


# ---- what is missing ----


def test_a_program_that_is_missing_is_named_with_the_command(monkeypatch):
    monkeypatch.setattr(packages.os, "geteuid", lambda: 1000)
    monkeypatch.setattr(packages, "tool", lambda name: name == "apt-get")
    with pytest.raises(MachineError, match=r"sudo apt-get .* install qemu-system-x86 kmod"):
        packages.must_have({"qemu-system-x86_64": "qemu-system-x86", "modprobe": "kmod"})
    monkeypatch.setattr(packages, "tool", lambda name: False)
    with pytest.raises(MachineError, match=r"install these first: kmod \(there is no apt here\)"):
        packages.must_have({"modprobe": "kmod"})
    with pytest.raises(MachineError, match="there is no apt here"):
        packages.Apt(Path("/dev/shm") / f"no-apt-{os.getpid()}").update()


def test_another_architecture_is_refused(monkeypatch):
    monkeypatch.setattr(
        machine.os, "uname", lambda: os.uname_result(("Linux", "", "6.18", "", "aarch64"))
    )
    with pytest.raises(MachineError, match="this machine is aarch64"):
        machine.run("6.18", ["true"])


def test_a_failed_fetch_leaves_no_kernel(monkeypatch, tmp_path):
    monkeypatch.setattr(packages.Apt, "update", lambda self: None)
    monkeypatch.setattr(packages.Apt, "names", lambda self, prefix: NAMES)

    def unpack(self, names, into):
        into.mkdir()
        raise MachineError("the network is down")

    monkeypatch.setattr(packages.Apt, "unpack", unpack)
    with pytest.raises(MachineError, match="the network is down"):
        packages.kernel("6.18", tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["apt", "lock"]


# ---- the table ----


def test_the_documents_table_is_that_of_its_data():
    assert [v["host"]["kernel"].split(".")[0] for v in fidelity.verdicts()]
    assert fidelity.document() == fidelity.DOCUMENT.read_text()


@pytest.mark.parametrize(
    ("changes", "cell"),
    [
        ({}, "0 (8,192)"),
        (
            {"exact": False, "kernel": [{"mem_used_total": 8192}, {"mem_used_total": 8192}]},
            "-4,096",
        ),
        ({"exact": False, "page_stores_differ": 1200}, "1,200 sizes"),
        ({"exact": False}, "a counter"),
        ({"exact": False, "kernel_sizes": False}, "a counter ~"),
        ({"kernel": [{}, {}], "ours": [{}, {}]}, "0 (sizes alone)"),
    ],
)
def test_a_cell_has_what_differs(changes, cell):
    pools = [{"mem_used_total": 8192}, {"mem_used_total": 4096}]
    made = {"where": "zram", "kernel": pools, "ours": pools, "page_stores_differ": 0}
    assert fidelity.cell(made | {"exact": True, "kernel_sizes": True} | changes) == cell


# ---- a machine ----

live = pytest.mark.skipif(
    os.environ.get("ZSWAP_VM") != "1",
    reason="boots machines, and fetches their kernels: ZSWAP_VM=1 asks for it",
)


def run(*argv: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([RUN, *argv], check=False, capture_output=True, text=True)


@live
@pytest.mark.timeout(600)
def test_a_command_has_this_systems_files_and_that_kernel(tmp_path, monkeypatch):
    (tmp_path / "here").write_text("from outside\n")
    script = f"""
        uname -r; id -u; cat {tmp_path}/here; echo x >{tmp_path}/here; cat {tmp_path}/here
        tty; echo "$SAID"; pwd; modprobe zram && ls /sys/class/zram-control/hot_add
        stat -fc %T /sys/fs/cgroup /var/tmp; blockdev --getsize64 /dev/vda
        echo error >&2; exit 7"""
    monkeypatch.setenv("SAID", 'it\'s; "quoted"\n$HOME')
    done = run("--disk", "1G", "6.18", "bash", "-c", script)
    assert done.returncode == 7, done.stderr
    lines = done.stdout.splitlines()
    assert lines[0].startswith("6.18.")
    assert lines[1:] == [
        "0", "from outside", "x", "not a tty", "it's; \"quoted\"", "$HOME", os.getcwd(),
        "/sys/class/zram-control/hot_add", "cgroup2fs", "ext2/ext3", str(1 << 30),
    ]  # fmt: skip
    assert done.stderr == "error\n"
    assert (tmp_path / "here").read_text() == "from outside\n"


@live
@pytest.mark.timeout(600)
def test_the_cache_is_enough_without_a_network():
    packages.kernel("6.18", packages.default_cache())
    done = subprocess.run(
        ["unshare", "-rn", RUN, "6.18", "echo", "up"], check=False, capture_output=True, text=True
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "up\n", "")


@live
@pytest.mark.timeout(600)
@pytest.mark.skipif(not os.access("/dev/kvm", os.W_OK), reason="there is no /dev/kvm")
def test_where_kvm_fails_the_machine_is_emulated_and_kvm_is_not_tried_again():
    failed = packages.default_cache() / "no-kvm"
    failed.unlink(missing_ok=True)
    done = run("6.18", "echo", "up")
    assert (done.returncode, done.stdout, done.stderr) == (0, "up\n", "")
    assert machine._kvm_may_work(failed.parent) == (not failed.exists())


@live
@pytest.mark.timeout(600)
def test_a_machine_that_ends_before_its_command_and_one_that_takes_too_long():
    done = run("6.18", "bash", "-c", "echo b >/proc/sysrq-trigger; sleep 60")
    assert (done.returncode, done.stdout) == (125, "")
    assert "the command did not end" in done.stderr
    done = run("--timeout", "5", "6.18", "sleep", "1000")
    assert done.returncode == 125
    assert "the command did not end in 5 s" in done.stderr
