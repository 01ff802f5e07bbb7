"""Files mapped into memory without a descriptor each, so that thousands of them are no burden.

Python's own `mmap` keeps a copy of the descriptor for as long as the mapping lives (until 3.13).
"""

from __future__ import annotations

import ctypes
import mmap
import os
import weakref

import numpy as np
from numpy.typing import NDArray

_libc = ctypes.CDLL(None, use_errno=True)
_libc.mmap.restype = ctypes.c_void_p
_libc.mmap.argtypes = (
    ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_int64,
)  # fmt: skip
_libc.munmap.argtypes = (ctypes.c_void_p, ctypes.c_size_t)
_FAILED = ctypes.c_void_p(-1).value


def mapped(descriptor: int, size: int) -> NDArray[np.uint8]:
    """Map the first ``size`` bytes of a file; the descriptor may be closed then.

    Returns:
        (size,) read-only; the mapping goes with the last array that is made of it.
    Raises:
        OSError: it cannot be mapped.
    """
    address = _libc.mmap(None, size, mmap.PROT_READ, mmap.MAP_SHARED, descriptor, 0)
    if address == _FAILED:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    buffer = (ctypes.c_ubyte * size).from_address(address)
    # Not at the end of the process, when threads may read on.
    weakref.finalize(buffer, _libc.munmap, address, size).atexit = False
    array = np.ctypeslib.as_array(buffer)
    array.flags.writeable = False
    return array
