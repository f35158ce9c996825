# SPDX-License-Identifier: GPL-2.0-or-later
"""Bases of the public classes: fixed attributes, and no copies of owned memory."""

from __future__ import annotations

import difflib
import inspect
from typing import Any, ClassVar, NoReturn, SupportsIndex


class Fixed:
    """A base of classes whose objects have only the attributes that the class names.

    A class lists private attributes in `__slots__`, and has a property for each that a
    user may read, with a setter for each that a user may set. A subclass without
    `__slots__` may add attributes.
    """

    __slots__ = ()

    def __setattr__(self, name: str, value: Any) -> None:
        try:
            super().__setattr__(name, value)
        except AttributeError:
            if name in _properties(type(self), settable=True):
                raise  # the setter raised it
            raise AttributeError(_why_not(type(self), name)) from None


class Owner(Fixed):
    """A Fixed that owns memory or a file, so that it cannot be copied or pickled.

    `_instead` tells the user what to do in place of a copy.
    """

    __slots__ = ()
    _instead: ClassVar[str] = "make another one"

    def __reduce_ex__(self, protocol: SupportsIndex) -> NoReturn:
        raise TypeError(
            f"a {type(self).__name__} can be neither copied nor pickled, since a copy "
            f"would own the same memory a second time: {self._instead}"
        )


def _properties(cls: type, settable: bool) -> list[str]:
    """Returns the names of the public properties that can, or cannot, be set."""
    found = (
        (name, inspect.getattr_static(cls, name)) for name in dir(cls) if not name.startswith("_")
    )
    return [
        name for name, it in found if isinstance(it, property) and (it.fset is not None) == settable
    ]


def _why_not(cls: type, name: str) -> str:
    """Returns the reason for which an attribute cannot be set."""
    settable, readable = _properties(cls, settable=True), _properties(cls, settable=False)
    if name in readable:
        owner = next(c for c in cls.__mro__ if name in vars(c))
        if name in inspect.signature(owner).parameters:
            return (
                f"{cls.__name__}.{name} is fixed at creation; make another one with "
                f"{owner.__name__}({name}=...)"
            )
        return f"{cls.__name__}.{name} can only be read"
    if hasattr(cls, name):
        return f"{cls.__name__}.{name} belongs to the class and cannot be set"
    near = difflib.get_close_matches(name, settable + readable, 1)
    return (
        f"a {cls.__name__} has no attribute {name!r}{f'; did you mean {near[0]}?' if near else ''} "
        f"(it has {', '.join(settable + readable) or 'none'})"
    )
