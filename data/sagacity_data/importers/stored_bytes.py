"""The bytes of a log file, decompressed where its first bytes say gzip, in pieces, with plain refusals."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Final, cast

from sagacity_data.event_log import ImportRefused

CHUNK_BYTES: Final = 64 * 1024

PACKED_TIMES_MAX: Final = 250
"""Real logs are packed some 20 to 50 times smaller; a file packed more than this is refused as a bomb."""

PACKED_FREE_BYTES: Final = 64 * 1024 * 1024
"""As long as no more than this has come out, how well it was packed does not matter."""

_GZIP_MAGIC: Final = b"\x1f\x8b"


def stored_bytes(source: Path, seen: Callable[[int], None]) -> Iterator[bytes]:
    """The contents of `source`, decompressed, in pieces of at most `CHUNK_BYTES`.

    `seen` is told, before each piece, how many bytes of the file itself (compressed, where it is) were read.
    Raises `ImportRefused` for a file that is missing, unreadable, cut off, damaged or a bomb.
    """
    with _opened(source) as stored:
        try:
            stream, unpacked = _decompressed(source, stored), 0
            while chunk := stream.read(CHUNK_BYTES):
                seen(stored.tell())
                unpacked += len(chunk)
                if unpacked > max(PACKED_FREE_BYTES, PACKED_TIMES_MAX * stored.tell()):
                    reason = f"unpacks to more than {PACKED_TIMES_MAX} times its size"
                    raise ImportRefused(source, "", reason, "unpack it first, if it is no bomb")
                yield chunk
        except EOFError:
            place = f"compressed byte {stored.tell()}"
            reason, way_out = "ends in the middle of the gzip data", "it was cut off: copy it again, whole"
            raise ImportRefused(source, place, reason, way_out) from None
        except (gzip.BadGzipFile, zlib.error) as error:
            place = f"near compressed byte {stored.tell()}"
            raise ImportRefused(source, place, f"is damaged gzip ({error})", "copy it again") from None
        except OSError as error:
            raise ImportRefused(source, "", f"cannot be read ({error.strerror})", "check the disk") from None


def _decompressed(source: Path, stored: IO[bytes]) -> IO[bytes]:
    compressed = stored.read(2) == _GZIP_MAGIC
    stored.seek(0)
    if compressed:
        return cast("IO[bytes]", gzip.GzipFile(fileobj=stored))
    if source.suffix.lower() == ".gz":
        reason = "is not gzip although its name ends in .gz"
        raise ImportRefused(source, "byte 0", reason, "drop .gz from its name, or compress it")
    return stored


def _opened(source: Path) -> IO[bytes]:
    try:
        return source.open("rb")
    except FileNotFoundError:
        raise ImportRefused(source, "", "does not exist", "check the path") from None
    except IsADirectoryError:
        raise ImportRefused(source, "", "is a folder", "name the .xes or .xes.gz files in it") from None
    except OSError as error:
        reason = f"cannot be read ({error.strerror})"
        raise ImportRefused(source, "", reason, "check its permissions") from None
