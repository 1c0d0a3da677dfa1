"""The text of a trace file, maybe gzipped, in pieces of whole lines."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO

from planner.errors import TraceError

FIRST = 1_000_000  # bytes in which the header and the first records are sought
_AT_ONCE = 4_000_000  # bytes of text that are taken apart together
_LONGEST_LINE = 1_000_000_000  # bytes
ByteProgress = Callable[[str], object]


def opened(path: Path) -> BinaryIO:
    """The file opened for its bytes, unpacked where its name ends with .gz or its first bytes are those of gzip."""
    try:
        return gzip.open(path) if is_zipped(path) else path.open("rb")  # type: ignore[return-value]
    except OSError as error:
        raise TraceError("the trace file cannot be read", where=str(path), value=error.strerror) from None


def is_zipped(path: Path) -> bool:
    """Whether a file is gzipped, by its name or, where the name does not say so, by its first bytes."""
    if path.name.casefold().endswith(".gz"):
        return True
    with path.open("rb") as source:
        return source.read(2) == b"\x1f\x8b"


def piece_of(source: BinaryIO, path: Path, n: int) -> bytes:
    """The next `n` bytes, or as many as there are.

    Raises
    ------
    TraceError
        A gzip file that is not whole, or a file that cannot be read.
    """
    try:
        return source.read(n)
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise TraceError(
            "the trace file is not a whole gzip file", where=str(path), value=str(error),
            fix="fetch or compress it again",
        ) from None  # fmt: skip
    except OSError as error:
        raise TraceError("the trace file cannot be read", where=str(path), value=error.strerror) from None


def beginning(path: Path) -> str:
    """The first whole lines: a megabyte of them, or one where it is longer than that."""
    with opened(path) as source:
        data = piece_of(source, path, FIRST)
        if len(data) < FIRST:
            return decoded(data, path, 1).removeprefix("\ufeff")
        while b"\n" not in data and len(data) < _LONGEST_LINE:
            more = piece_of(source, path, len(data))
            if not more:
                return decoded(data, path, 1).removeprefix("\ufeff")
            data += more
    return decoded(data[: data.rfind(b"\n") + 1], path, 1).removeprefix("\ufeff")


def decoded(data: bytes, path: Path, line: int) -> str:
    """Bytes that begin at a line, as text.

    Raises
    ------
    TraceError
        Not UTF-8, with the line.
    """
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        utf16 = line == 1 and data[:2] in (b"\xff\xfe", b"\xfe\xff")
        at = line + data.count(b"\n", 0, error.start)
        raise TraceError(
            "the trace file is not UTF-8 text", where=f"{path}:{at}", value=f"byte 0x{data[error.start]:02x}",
            rule="UTF-8", fix="it looks like UTF-16: save it as UTF-8" if utf16 else "save it as UTF-8",
        ) from None  # fmt: skip


def byte_blocks(path: Path, progress: ByteProgress | None) -> Iterator[tuple[bytes, int, bool]]:
    """Whole lines, a few megabytes together, with the number of the first and whether the file ends with them."""
    size = path.stat().st_size
    line, rest, n_read = 1, b"", 0
    with opened(path) as source:
        piece = piece_of(source, path, _AT_ONCE).removeprefix(b"\xef\xbb\xbf")
        while piece:
            following = piece_of(source, path, _AT_ONCE)
            n_read += len(piece)
            data = rest + piece
            cut = data.rfind(b"\n") + 1 if following else len(data)
            if cut:
                yield data[:cut], line, not following
                line += data.count(b"\n", 0, cut)
            rest = data[cut:]
            if progress is not None and following:
                # The size of a gzip file does not tell how much is in it.
                share = "" if is_zipped(path) else f", {min(n_read / max(size, 1), 1.0):.0%}"
                progress(f"reading {path.name}: {line - 1:,} lines{share}")
            piece = following


def text_blocks(path: Path, progress: ByteProgress | None) -> Iterator[tuple[str, int, bool]]:
    """As `byte_blocks`, as text."""
    for data, line, last in byte_blocks(path, progress):
        yield decoded(data, path, line), line, last
