# SPDX-License-Identifier: GPL-2.0-or-later
"""Decompresses streams in bounded memory, whatever they hold."""

from __future__ import annotations

import bz2
import importlib
import io
import lzma
import zlib
from collections.abc import Callable
from typing import Any, Protocol

_READ = 1 << 16  #: bytes of a stream that a decoder gets at once
_MEMORY = 256 << 20  #: limit of xz's memory; its own presets take 65 MiB at most


class Ended(Exception):
    """A stream is truncated or damaged. The message continues the stream's name."""


class _Decoder(Protocol):
    """The interface of bz2, lzma and lz4: decodes one stream or frame, ``max_length``
    bytes at a time.
    """

    @property
    def eof(self) -> bool: ...
    @property
    def needs_input(self) -> bool: ...
    @property
    def unused_data(self) -> bytes | None: ...
    def decompress(self, data: bytes, max_length: int) -> bytes: ...


class _Gzip:
    """Decodes one gzip member."""

    def __init__(self) -> None:
        self._decoder = zlib.decompressobj(31)

    @property
    def eof(self) -> bool:
        return self._decoder.eof

    @property
    def needs_input(self) -> bool:
        return not self._decoder.unconsumed_tail

    @property
    def unused_data(self) -> bytes:
        return self._decoder.unused_data

    def decompress(self, data: bytes, max_length: int) -> bytes:
        return self._decoder.decompress(self._decoder.unconsumed_tail + data, max_length)


class _Zstd:
    """Decodes one zstd frame. zstandard returns everything that its input decodes to,
    and 4 bytes may be a block of 128 KiB.
    """

    READ = 2048
    needs_input = True

    def __init__(self) -> None:
        self._decoder: Any = importlib.import_module("zstandard").ZstdDecompressor().decompressobj()

    @property
    def eof(self) -> bool:
        return bool(self._decoder.eof)

    @property
    def unused_data(self) -> bytes:
        return bytes(self._decoder.unused_data)

    def decompress(self, data: bytes, max_length: int) -> bytes:
        return bytes(self._decoder.decompress(data))


def _xz() -> _Decoder:
    return lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=_MEMORY)


def _lz4() -> _Decoder:
    decoder: _Decoder = importlib.import_module("lz4.frame").LZ4FrameDecompressor()
    return decoder


_DECODERS: dict[str, Callable[[], _Decoder]] = {
    "zstd": _Zstd,
    "lz4": _lz4,
    "xz": _xz,
    "gzip": _Gzip,
    "bzip2": bz2.BZ2Decompressor,
}


class Decompressed(io.RawIOBase):
    """All frames or members of ``source``, decompressed. Reading raises Ended where the
    source is truncated or damaged, after the bytes before that place.
    """

    def __init__(self, kind: str, source: Any) -> None:
        self._kind, self._source = kind, source
        self._read_size = _Zstd.READ if kind == "zstd" else _READ
        self._decoder = _DECODERS[kind]()
        self._rest = memoryview(b"")

    def readable(self) -> bool:
        return True

    def readinto(self, out: Any) -> int:
        while not self._rest:
            data = self._input()
            if data is None:
                return 0
            try:
                self._rest = memoryview(self._decoder.decompress(data, _READ))
            except Exception as e:  # each of the five libraries has its own
                raise Ended(
                    f"is damaged: its {self._kind} stream ends with an error ({e})"
                ) from None
        count = min(len(out), len(self._rest))
        out[:count] = self._rest[:count]
        self._rest = self._rest[count:]
        return count

    def _input(self) -> bytes | None:
        """Returns the decoder's next input, with a new decoder after a frame's end;
        None at the end of the source.
        """
        if not self._decoder.eof:
            if not self._decoder.needs_input:
                return b""
            data: bytes = self._source.read(self._read_size)
            if not data:
                raise Ended(f"is truncated: its {self._kind} stream has no end")
            return data
        # zeros may pad a stream, as on tapes
        data = (self._decoder.unused_data or b"").lstrip(b"\0")
        while not data:
            chunk: bytes = self._source.read(self._read_size)
            if not chunk:
                return None
            data = chunk.lstrip(b"\0")
        self._decoder = _DECODERS[self._kind]()
        return data
