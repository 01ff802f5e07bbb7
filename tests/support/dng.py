"""The least that LibRaw takes for a camera's RAW file: a sensor's values and a preview."""

import io
import struct

import numpy as np
from PIL import Image

_SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 10: 8}
_CODES = {1: "B", 3: "H", 4: "I", 5: "I", 10: "i"}
Tags = dict[int, tuple[int, bytes | list[int]]]


def dng(
    preview: Image.Image,
    orientation: int = 1,
    *,
    sensor_size: tuple[int, int] | None = None,
    whole: bool = True,
) -> bytes:
    """A DNG whose preview is stored as it is given, to be turned by ``orientation``.

    Args:
        sensor_size: width and height, as the preview's where it is left out.
        whole: else the preview's own bytes are garbage.
    """
    file = io.BytesIO()
    preview.save(file, "JPEG", quality=95)
    jpeg = file.getvalue() if whole else b"\0" * len(file.getvalue())
    jpeg += b"\0" * (len(jpeg) % 2)
    width, height = preview.size
    across, down = sensor_size or preview.size
    sensor = np.full((down, across), 3000, "<u2").tobytes()
    at_sensor = 8 + len(jpeg)
    at_raw = at_sensor + len(sensor)
    raw: Tags = {
        254: (4, [0]), 256: (4, [across]), 257: (4, [down]), 258: (3, [16]), 259: (3, [1]),
        262: (3, [32803]), 273: (4, [at_sensor]), 277: (3, [1]), 278: (4, [down]),
        279: (4, [len(sensor)]), 33421: (3, [2, 2]), 33422: (1, [0, 1, 1, 2]),
    }  # fmt: skip
    raw_directory = _directory(raw, at_raw)
    at_first = at_raw + len(raw_directory)
    first: Tags = {
        254: (4, [1]), 256: (4, [width]), 257: (4, [height]), 258: (3, [8, 8, 8]), 259: (3, [7]),
        262: (3, [6]), 271: (2, b"Testcam\0"), 272: (2, b"X1\0"), 273: (4, [8]),
        274: (3, [orientation]), 277: (3, [3]), 278: (4, [height]), 279: (4, [len(jpeg)]),
        306: (2, b"2024:05:01 12:30:00\0"), 330: (4, [at_raw]), 50706: (1, [1, 4, 0, 0]),
        50708: (2, b"Testcam X1\0"), 50728: (5, [1, 1] * 3),
        50721: (10, [1, 1, 0, 1, 0, 1, 0, 1, 1, 1, 0, 1, 0, 1, 0, 1, 1, 1]),
    }  # fmt: skip
    header = b"II*\0" + struct.pack("<I", at_first)
    return header + jpeg + sensor + raw_directory + _directory(first, at_first)


def _directory(tags: Tags, at: int) -> bytes:
    """A TIFF directory at an offset; what does not fit into its entries lies behind it."""
    entries, behind = b"", b""
    after = at + 2 + 12 * len(tags) + 4
    for tag, (kind, values) in sorted(tags.items()):
        data = values
        if not isinstance(data, bytes):
            data = struct.pack(f"<{len(data)}{_CODES[kind]}", *data)
        entries += struct.pack("<HHI", tag, kind, len(data) // _SIZES[kind])
        if len(data) <= 4:
            entries += data.ljust(4, b"\0")
        else:
            entries += struct.pack("<I", after + len(behind))
            behind += data + b"\0" * (len(data) % 2)
    return struct.pack("<H", len(tags)) + entries + b"\0\0\0\0" + behind
