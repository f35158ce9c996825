# SPDX-License-Identifier: GPL-2.0-or-later
"""Fault plans as data: what they may hold, there and back as JSON, and what they say
where they are wrong.
"""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zswap_py.iaa import plan as iaa_plan
from zswap_py.iaa.plan import (
    KINDS,
    Crc,
    Delay,
    Fault,
    NoAnswer,
    QueueFull,
    Remove,
    Status,
    Stop,
    from_json,
    to_json,
)

NUMBERS = st.integers(0, (1 << 63) - 1)
COMMON = {
    "nth": st.integers(1, (1 << 63) - 1),
    "times": NUMBERS,
    "device": st.none() | st.integers(0, 63),
    "wq": st.none() | st.integers(0, 7),
}
OPS = {"op": st.sampled_from(list(iaa_plan.OPS))}
FAULTS = st.one_of(
    st.builds(Status, status=st.integers(1, 255), error_code=st.integers(0, 255), **COMMON, **OPS),
    st.builds(Crc, **COMMON, **OPS),
    st.builds(Delay, ns=NUMBERS, **COMMON, **OPS),
    st.builds(NoAnswer, **COMMON, **OPS),
    st.builds(QueueFull, **COMMON),
    st.builds(Stop, ns=NUMBERS, **COMMON, **OPS),
    st.builds(Remove, **COMMON, **OPS),
)


# ---- JSON ----


@given(st.lists(FAULTS, max_size=6))
def test_there_and_back(plan):
    text = to_json(plan)
    assert from_json(text) == plan
    assert to_json(from_json(text)) == text
    assert from_json(json.dumps(json.loads(text), indent=4)) == plan


def test_every_kind_is_there():
    assert set(KINDS.values()) == set(Fault.__subclasses__())
    assert {name: cls.__name__ for name, cls in KINDS.items()} == {name: name for name in KINDS}


def test_what_is_written():
    plan = [
        Status(0x0A, 0x19, op="compress", nth=3),
        Delay(2_000_000, device=1, nth=10, times=5),
        Remove(),
        Stop(7),
    ]
    assert json.loads(to_json(plan)) == [
        {"kind": "Status", "status": 10, "error_code": 25, "op": "compress", "nth": 3},
        {"kind": "Delay", "ns": 2_000_000, "device": 1, "nth": 10, "times": 5},
        {"kind": "Remove"},
        {"kind": "Stop", "ns": 7},
    ]
    assert to_json(()) == "[]"
    assert from_json("[]") == []
    assert to_json([Status(0x10)]) == '[{"kind": "Status", "status": 16}]'


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{}", "a plan must be a list of faults, not dict"),
        ("3", "a plan must be a list of faults, not int"),
        (
            "[[]]",
            "fault 0: kind None: must be one of Status, Crc, Delay, NoAnswer, QueueFull, Stop, "
            "Remove",
        ),
        ('["Crc"]', "fault 0: kind None"),
        ('[{"kind": "Crc"}, {"kind": "crc"}]', "fault 1: kind 'crc': must be one of Status"),
        ('[{"nth": 1}]', "fault 0: kind None"),
        ('[{"kind": ["Crc"]}]', r"fault 0: kind \['Crc'\]"),
        ('[{"kind": "Crc", "ns": 1}]', "fault 0: .*ns"),
        ('[{"kind": "Status"}]', "fault 0: .*status"),
        ('[{"kind": "Delay", "ns": -1}]', r"fault 0: Delay\(ns=-1\): must be 0 to 2\^63 - 1"),
        ('[{"kind": "Delay", "ns": 1.5}]', r"fault 0: Delay\(ns=1.5\): must be an int"),
        ('[{"kind": "Delay", "ns": true}]', r"fault 0: Delay\(ns=True\): must be an int"),
        (
            '[{"kind": "Crc", "op": ["compress"]}]',
            r"fault 0: Crc\(op=\['compress'\]\): must be 'compress'",
        ),
        ("[", "."),
    ],
)
def test_what_is_no_plan(text, message):
    with pytest.raises(ValueError, match=message):
        from_json(text)


# ---- what a fault may be ----


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Crc(nth=0), r"Crc\(nth=0\): must be 1 to 2\^63 - 1"),
        (lambda: Crc(times=-1), r"Crc\(times=-1\): must be 0 to 2\^63 - 1"),
        (lambda: NoAnswer(nth=1 << 63), r"NoAnswer\(nth=9223372036854775808\): must be 1 to"),
        (lambda: NoAnswer(device=64), r"NoAnswer\(device=64\): must be 0 to 63"),
        (lambda: NoAnswer(wq=8), r"NoAnswer\(wq=8\): must be 0 to 7"),
        (lambda: NoAnswer(wq=-1), r"NoAnswer\(wq=-1\): must be 0 to 7"),
        (lambda: Status(256), r"Status\(status=256\): must be 0 to 255"),
        (lambda: Status(1, 256), r"Status\(error_code=256\): must be 0 to 255"),
        (lambda: Status(0), r"use NoAnswer\(\)"),
        (lambda: Delay(1 << 63), r"Delay\(ns=.*\): must be 0 to 2\^63 - 1"),
        (lambda: Stop(-5), r"Stop\(ns=-5\)"),
        (lambda: Remove(nth=0), r"Remove\(nth=0\): must be 1 to"),
        (lambda: Crc(op="verify"), r"Crc\(op='verify'\): must be 'compress', 'decompress' or None"),
        (lambda: QueueFull(op="compress"), "omit op"),
    ],
)
def test_values_that_no_fault_has(make, message):
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize(
    "make",
    [
        lambda: Crc(nth="1"),
        lambda: Crc(nth=None),
        lambda: Crc(times=None),
        lambda: Crc(nth=True),
        lambda: Delay(1e6),
        lambda: Delay(None),
        lambda: Crc(3),
        Delay,
        lambda: Status("10"),
        lambda: NoAnswer(device="0"),
    ],
)
def test_types_that_no_fault_has(make):
    with pytest.raises(TypeError):
        make()


def test_a_fault_cannot_be_changed():
    fault = Delay(5)
    with pytest.raises(AttributeError):
        fault.ns = 6
    assert fault == Delay(ns=5)
    assert fault != Delay(5, nth=2)
    assert len({Delay(5), Delay(5), Stop(5)}) == 2


def test_a_fault_says_what_is_not_its_default():
    assert (
        repr(Status(10, 25, op="compress", nth=3))
        == "Status(nth=3, op='compress', status=0x0a, error_code=0x19)"
    )
    assert repr(NoAnswer()) == "NoAnswer()"


def test_a_field_that_is_no_faults_is_told_with_those_that_are():
    with pytest.raises(ValueError, match=r"fault 0: Delay has no 'nht'; it has nth, times, .*ns"):
        from_json('[{"kind": "Delay", "ns": 1, "nht": 2}]')
    with pytest.raises(ValueError, match="with decimal numbers"):
        from_json('[{"kind": "Status", "status": 0x0a}]')
