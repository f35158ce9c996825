# SPDX-License-Identifier: GPL-2.0-or-later
"""What the public classes have in common: their attributes are those that they name,
and none is copied.
"""

from __future__ import annotations

import difflib
import inspect
from typing import Any, ClassVar, NoReturn, SupportsIndex


class Fixed:
    """A base of classes whose objects have the attributes that the class names, and no
    others.

    A class lists its attributes in `__slots__`: private ones, with a property for each
    that the public reads, and a setter for each that it may set. A subclass without
    `__slots__` may add attributes of its own, as in all of Python.
    """

    __slots__ = ()

    def __setattr__(self, name: str, value: Any) -> None:
        try:
            super().__setattr__(name, value)
        except AttributeError:
            if name in _properties(type(self), settable=True):
                raise  # by the setter itself
            raise AttributeError(_why_not(type(self), name)) from None


class Owner(Fixed):
    """A Fixed whose objects own what cannot be had twice; `_instead` says what to do
    where a copy is wanted.
    """

    __slots__ = ()
    _instead: ClassVar[str] = "make another one"

    def __reduce_ex__(self, protocol: SupportsIndex) -> NoReturn:
        raise TypeError(
            f"a {type(self).__name__} can be neither copied nor pickled, since a copy "
            "would own the same "
            f"memory a second time: {self._instead}"
        )


def _properties(cls: type, settable: bool) -> list[str]:
    """The names of the public properties, in order."""
    found = (
        (name, inspect.getattr_static(cls, name)) for name in dir(cls) if not name.startswith("_")
    )
    return [
        name for name, it in found if isinstance(it, property) and (it.fset is not None) == settable
    ]


def _why_not(cls: type, name: str) -> str:
    """Why an attribute cannot be set."""
    settable, readable = _properties(cls, settable=True), _properties(cls, settable=False)
    if name in readable:
        owner = next(c for c in cls.__mro__ if name in vars(c))
        if name in inspect.signature(owner).parameters:
            return (
                f"{cls.__name__}.{name} is fixed at creation; make another one with "
                f"{owner.__name__}({name}=...)"
            )
        return f"{cls.__name__}.{name} can be read, and not set"
    if hasattr(cls, name):
        return f"{cls.__name__}.{name} is a part of the class, and cannot be set"
    near = difflib.get_close_matches(name, settable + readable, 1)
    return (
        f"a {cls.__name__} has no attribute {name!r}{f'; did you mean {near[0]}?' if near else ''} "
        f"(it has {', '.join(settable + readable) or 'none'})"
    )
