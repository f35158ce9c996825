# SPDX-License-Identifier: GPL-2.0-or-later
"""The pytest plugin, in a pytest of its own."""

from __future__ import annotations

import subprocess
import sys
import threading

import pytest

import zswap_py as zs


def run(tmp_path, body):
    (tmp_path / "test_it.py").write_text(body)
    options = ["-q", "-p", "zswap_py.pytest_plugin", "-p", "no:cacheprovider"]
    command = [sys.executable, "-m", "pytest", *options, str(tmp_path)]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)


def test_instances_are_made_and_closed(tmp_path):
    result = run(
        tmp_path,
        """
instances = []

def test_one(zswap_factory):
    z = zswap_factory("lzo", nr_cpus=1)
    z.swapon(16)
    assert z.store(0, bytes(4096))
    z.compressor = "lz4"
    instances.extend([z, zswap_factory("lzo", nr_cpus=1)])

def test_two():
    assert [z.closed for z in instances] == [True, True]
""",
    )
    assert "2 passed" in result.stdout, result.stdout


def test_an_accelerator_goes_with_its_test_also_with_one_that_fails(tmp_path):
    result = run(
        tmp_path,
        """
import threading

def test_one(accelerator_factory, zswap_factory):
    acc = accelerator_factory()
    z = zswap_factory("deflate-iaa", nr_cpus=1)
    z.swapon(16)
    assert z.store(0, bytes(4096))
    assert acc.stats()["total_comp_calls"] == 2

def test_two(accelerator_factory):
    accelerator_factory()
    assert sum(t.name.startswith("iax") for t in threading.enumerate()) == 8
""",
    )
    assert "1 failed, 1 passed" in result.stdout, result.stdout


def test_what_does_not_add_up_fails_the_test(tmp_path):
    result = run(
        tmp_path,
        """
import zswap_py as zs

def test_one(zswap_factory):
    zswap_factory("lzo", nr_cpus=1)
    def wrong(z):
        raise AssertionError("the LRU has not the entries that the index has")
    zs.Zswap.check = wrong
""",
    )
    assert "the LRU has not the entries" in result.stdout
    assert "1 passed, 1 error" in result.stdout, result.stdout


def test_a_compressor_goes_with_its_test_also_with_one_that_fails(tmp_path):
    result = run(
        tmp_path,
        """
import pytest

def test_one(compressor_factory, zswap_factory):
    assert compressor_factory("pairs", base="lzo", batch_size=2).batch_size == 2
    assert zswap_factory("pairs", nr_cpus=1).pool.compr_batch_size == 3

def test_two(zswap_factory):
    with pytest.raises(OSError, match="pairs not available"):
        zswap_factory("pairs", nr_cpus=1)
""",
    )
    assert "1 failed, 1 passed" in result.stdout, result.stdout
    assert "assert 2 == 3" in result.stdout, result.stdout


def test_this_process_has_no_thread_of_it_left():
    with zs.Zswap("lzo", nr_cpus=1) as z:
        z.compressor = "lz4"
    assert not [t for t in threading.enumerate() if t.name == "zswap-release"]
    with pytest.raises(ValueError, match="closed"):
        z.stats()
