"""Small ICC profiles (version 2), written from their description."""

from __future__ import annotations

import itertools
import struct
from collections.abc import Callable, Mapping

import numpy as np

Xy = tuple[float, float]
D65: Xy = (0.3127, 0.3290)
D50_XYZ = (0.9642, 1.0, 0.8249)
# Red, green and blue as their chromaticities say.
DISPLAY_P3: tuple[Xy, Xy, Xy] = ((0.680, 0.320), (0.265, 0.690), (0.150, 0.060))
ADOBE_RGB: tuple[Xy, Xy, Xy] = ((0.64, 0.33), (0.21, 0.71), (0.15, 0.06))
SRGB: tuple[Xy, Xy, Xy] = ((0.64, 0.33), (0.30, 0.60), (0.15, 0.06))
_BRADFORD = np.array(
    [[0.8951, 0.2664, -0.1614], [-0.7502, 1.7135, 0.0367], [0.0389, -0.0685, 1.0296]]
)


def srgb_curve(value: float) -> float:
    """From a stored value in [0, 1] to light."""
    return value / 12.92 if value <= 0.04045 else ((value + 0.055) / 1.055) ** 2.4


def rgb_profile(primaries: tuple[Xy, Xy, Xy], curve: Callable[[float], float]) -> bytes:
    """A display with white D65."""
    columns = np.array([_xyz(each) for each in primaries]).T
    white = np.array(_xyz(D65))
    columns = columns * np.linalg.solve(columns, white)
    cones = _BRADFORD @ np.array(D50_XYZ) / (_BRADFORD @ white)
    columns = np.linalg.inv(_BRADFORD) @ np.diag(cones) @ _BRADFORD @ columns  # seen under D50
    tags = {
        name: b"XYZ " + bytes(4) + _fixed(*columns[:, k])
        for k, name in enumerate((b"rXYZ", b"gXYZ", b"bXYZ"))
    }
    table = _curve(curve)
    return _profile(
        b"mntr", b"RGB ", b"XYZ ", tags | dict.fromkeys((b"rTRC", b"gTRC", b"bTRC"), table)
    )


def grey_profile(curve: Callable[[float], float]) -> bytes:
    """A grey scale."""
    return _profile(b"mntr", b"GRAY", b"XYZ ", {b"kTRC": _curve(curve)})


def cmyk_profile(lab: Callable[[float, float, float, float], tuple[float, float, float]]) -> bytes:
    """A press whose 16 mixtures of full inks look as ``lab`` says; straight between them."""
    inks = itertools.product((0.0, 1.0), repeat=4)
    grid = b"".join(
        bytes([round(light * 2.55), round(a + 128), round(b + 128)])
        for light, a, b in (lab(*each) for each in inks)
    )
    identity = _fixed(1, 0, 0, 0, 1, 0, 0, 0, 1)
    table = bytes(range(256))
    lut = b"mft1" + bytes(4) + bytes([4, 3, 2, 0]) + identity + 4 * table + grid + 3 * table
    return _profile(b"prtr", b"CMYK", b"Lab ", {b"A2B0": lut})


def _xyz(xy: Xy) -> tuple[float, float, float]:
    x, y = xy
    return x / y, 1.0, (1 - x - y) / y


def _fixed(*values: float) -> bytes:
    return b"".join(struct.pack(">i", round(float(value) * 65536)) for value in values)


def _curve(curve: Callable[[float], float]) -> bytes:
    values = [round(65535 * curve(k / 1023)) for k in range(1024)]
    return b"curv" + bytes(4) + struct.pack(">I1024H", 1024, *values)


def _profile(kind: bytes, space: bytes, connection: bytes, tags: Mapping[bytes, bytes]) -> bytes:
    name = b"made for a test\0"
    about = b"desc" + bytes(4) + struct.pack(">I", len(name)) + name + bytes(78)
    copyright_ = b"text" + bytes(4) + b"none\0"
    white = b"XYZ " + bytes(4) + _fixed(*D50_XYZ)
    every = {b"desc": about, b"cprt": copyright_, b"wtpt": white, **tags}
    start = 128 + 4 + 12 * len(every)
    table, body = b"", b""
    for tag, data in every.items():
        table += tag + struct.pack(">II", start + len(body), len(data))
        body += data + bytes(-len(data) % 4)
    header = (
        struct.pack(">I4sI4s4s4s", start + len(body), bytes(4), 0x02400000, kind, space, connection)
        + struct.pack(">6H", 2026, 1, 1, 0, 0, 0)
        + b"acsp"
        + bytes(28)
        + _fixed(*D50_XYZ)
    )
    return header.ljust(128, b"\0") + struct.pack(">I", len(every)) + table + body
