"""The segment file: rows of one tier of many photos, immutable and able to vouch for itself.

Layout, little endian::

    magic  b"REFSEG01"            8 bytes
    length of the JSON header     uint32
    JSON header                   tier, fingerprint, rows, row_bytes, dtype, hash_bytes, data_offset
    zeros up to data_offset       a multiple of 4096, so that rows can be mapped
    rows                          rows x row_bytes, opaque here
    table                         rows x (content hash, 16 byte checksum of the row)
    checksum                      32 bytes over everything except the rows themselves

The checksum covers the table and the table holds a checksum of every row, so a flipped bit anywhere
is found, and one in a row costs that row alone. A file is enough to attach its rows to a catalog
that has lost them.
"""

from __future__ import annotations

import json
import os
import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import Any

import numpy as np

from indexer.errors import DamagedSegment
from indexer.features.mapping import mapped

MAGIC = b"REFSEG01"
ALIGNMENT = 4096
ROW_CHECKSUM_BYTES = 16
FILE_CHECKSUM_BYTES = 32
# A header holds names and one dtype; far more than this is garbage, not a header.
HEADER_BYTES_MAX = 1 << 20


@dataclass(frozen=True)
class SegmentHeader:
    """What a segment file says about itself."""

    tier: str
    fingerprint: str
    rows: int
    row_bytes: int
    hash_bytes: int
    """Bytes of one content hash, half as many as its hex digits."""
    dtype: np.dtype
    """Structured dtype of one row."""
    data_offset: int

    @property
    def table_offset(self) -> int:
        """Byte at which the table of content hashes and row checksums begins."""
        return self.data_offset + self.rows * self.row_bytes

    @property
    def table_dtype(self) -> np.dtype:
        """Dtype of one entry of the table."""
        return _table_dtype(self.hash_bytes)

    @property
    def file_bytes(self) -> int:
        """Bytes of the whole file."""
        table = self.rows * self.table_dtype.itemsize
        return self.table_offset + table + FILE_CHECKSUM_BYTES


def _table_dtype(hash_bytes: int) -> np.dtype:
    return np.dtype([("content", np.uint8, hash_bytes), ("checksum", np.uint8, ROW_CHECKSUM_BYTES)])


def row_checksum(row: bytes | memoryview) -> bytes:
    """Return the 16 byte checksum of one row."""
    return blake2b(row, digest_size=ROW_CHECKSUM_BYTES).digest()


def write_segment(
    path: Path,
    *,
    tier: str,
    fingerprint: str,
    rows: np.ndarray | Iterable[np.ndarray],
    content_hashes: Sequence[str],
    dtype: np.dtype,
) -> tuple[int, str]:
    """Write a segment; the caller names the file into place, durably.

    Args:
        path: the file to make; an existing one is replaced.
        rows: structured rows (N,), or blocks of them that follow one another.
        content_hashes: N hex digests of equal length.
        dtype: structured dtype of a row.
    Returns:
        bytes of the file and its checksum in hex.
    Raises:
        OSError: no space is left, or the folder cannot be written.
    """
    hash_bytes = len(content_hashes[0]) // 2
    table = np.zeros(len(content_hashes), _table_dtype(hash_bytes))
    table["content"] = np.frombuffer(
        b"".join(bytes.fromhex(digest) for digest in content_hashes), np.uint8
    ).reshape(-1, hash_bytes)  # (N, hash_bytes)
    head = _header_bytes(tier, fingerprint, len(content_hashes), dtype, hash_bytes)
    blocks = [rows] if isinstance(rows, np.ndarray) else rows
    done = 0
    with path.open("wb") as file:
        file.write(head)
        for block in blocks:
            packed = np.ascontiguousarray(block, dtype=dtype)
            view = packed.view(np.uint8).reshape(len(packed), dtype.itemsize)  # (n, row_bytes)
            for row in view:
                table["checksum"][done] = np.frombuffer(row_checksum(row.data), np.uint8)
                done += 1
            file.write(view.data)
        if done != len(content_hashes):
            raise ValueError(f"{done} rows for {len(content_hashes)} content hashes")
        file.write(table.tobytes())
        checksum = _file_checksum(head, table)
        file.write(checksum)
        return file.tell(), checksum.hex()


def _header_bytes(
    tier: str, fingerprint: str, rows: int, dtype: np.dtype, hash_bytes: int
) -> bytes:
    fields = {
        "tier": tier,
        "fingerprint": fingerprint,
        "rows": rows,
        "row_bytes": dtype.itemsize,
        "hash_bytes": hash_bytes,
        "dtype": _to_description(dtype),
    }
    text = json.dumps(fields).encode()
    head = MAGIC + struct.pack("<I", len(text)) + text
    return head.ljust(-(-len(head) // ALIGNMENT) * ALIGNMENT, b"\0")


def _file_checksum(head: bytes, table: np.ndarray) -> bytes:
    digest = blake2b(head, digest_size=FILE_CHECKSUM_BYTES)
    digest.update(table.tobytes())
    return digest.digest()


def _to_description(dtype: np.dtype) -> list[Any]:
    """Return a JSON form of a structured dtype, offsets and all."""
    if dtype.names is None:
        return [["", dtype.str, []]]
    fields: Any = dtype.fields or {}
    return [
        [name, fields[name][0].base.str, list(fields[name][0].shape), fields[name][1]]
        for name in dtype.names
    ]


def _from_description(description: list[Any], row_bytes: int) -> np.dtype:
    if len(description) == 1 and description[0][0] == "":
        return np.dtype(description[0][1])
    return np.dtype(
        {
            "names": [entry[0] for entry in description],
            "formats": [(np.dtype(entry[1]), tuple(entry[2])) for entry in description],
            "offsets": [entry[3] for entry in description],
            "itemsize": row_bytes,
        }
    )


def read_header(path: Path) -> SegmentHeader:
    """Read what a segment file says about itself.

    Raises:
        DamagedSegment: the file is missing, cut short, or not a segment.
    """
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            start = file.read(len(MAGIC) + 4)
            if start[: len(MAGIC)] != MAGIC or len(start) < len(MAGIC) + 4:
                raise DamagedSegment(path, "it does not begin like a segment")
            (length,) = struct.unpack("<I", start[len(MAGIC) :])
            if length > HEADER_BYTES_MAX:
                raise DamagedSegment(path, "its header is damaged")
            fields = json.loads(file.read(length))
        header = SegmentHeader(
            tier=str(fields["tier"]),
            fingerprint=str(fields["fingerprint"]),
            rows=int(fields["rows"]),
            row_bytes=int(fields["row_bytes"]),
            hash_bytes=int(fields["hash_bytes"]),
            dtype=_from_description(fields["dtype"], int(fields["row_bytes"])),
            data_offset=-(-(len(MAGIC) + 4 + length) // ALIGNMENT) * ALIGNMENT,
        )
    except FileNotFoundError as error:
        raise DamagedSegment(path, "it is missing") from error
    except (OSError, ValueError, KeyError, TypeError, IndexError) as error:
        raise DamagedSegment(path, f"its header cannot be read ({error})") from error
    if header.dtype.itemsize != header.row_bytes or header.rows < 0:
        raise DamagedSegment(path, "its header contradicts itself")
    if size != header.file_bytes:
        raise DamagedSegment(path, f"it holds {size:,} bytes instead of {header.file_bytes:,}")
    return header


def map_rows(path: Path, dtype: np.dtype | None = None) -> np.ndarray:
    """Map the rows of a segment read-only.

    Args:
        dtype: the dtype that the reader expects; None takes the file's own.
    Returns:
        structured array (rows,), backed by the file.
    Raises:
        DamagedSegment: the file is missing, cut short, or holds rows of another shape.
    """
    header = read_header(path)
    if dtype is not None and dtype.itemsize != header.row_bytes:
        raise DamagedSegment(
            path, f"its rows have {header.row_bytes} bytes, {dtype.itemsize} were expected"
        )
    if header.rows == 0:
        return np.zeros(0, dtype or header.dtype)
    try:
        with path.open("rb") as file:
            whole = mapped(file.fileno(), header.file_bytes)
    except OSError as error:
        raise DamagedSegment(path, f"it cannot be mapped ({error.strerror})") from error
    end = header.data_offset + header.rows * header.row_bytes
    return whole[header.data_offset : end].view(dtype or header.dtype)


def read_table(path: Path, header: SegmentHeader) -> np.ndarray:
    """Read the table: fields ``content`` (rows, hash_bytes) and ``checksum`` (rows, 16), uint8."""
    with path.open("rb") as file:
        file.seek(header.table_offset)
        data = file.read(header.rows * header.table_dtype.itemsize)
    return np.frombuffer(data, header.table_dtype)


@dataclass(frozen=True)
class SegmentCheck:
    """What reading a whole segment showed."""

    header: SegmentHeader
    content_hashes: list[str]
    bad_positions: list[int]
    """Rows whose bytes do not match their checksum."""
    frame_intact: bool
    """Whether header and table match the file's checksum."""
    checksum: str
    """The file's own checksum in hex, as it was stored."""


def check_segment(path: Path) -> SegmentCheck:
    """Read every byte of a segment and compare the checksums.

    Raises:
        DamagedSegment: not even the header can be read.
    """
    header = read_header(path)
    table = read_table(path, header)
    with path.open("rb") as file:
        frame = blake2b(file.read(header.data_offset), digest_size=FILE_CHECKSUM_BYTES)
        frame.update(table.tobytes())
        file.seek(-FILE_CHECKSUM_BYTES, os.SEEK_END)
        stored = file.read(FILE_CHECKSUM_BYTES)
        file.seek(header.data_offset)
        bad = [
            position
            for position in range(header.rows)
            if row_checksum(file.read(header.row_bytes)) != table["checksum"][position].tobytes()
        ]
    hashes = [entry.tobytes().hex() for entry in table["content"]]
    return SegmentCheck(header, hashes, bad, frame.digest() == stored, stored.hex())
