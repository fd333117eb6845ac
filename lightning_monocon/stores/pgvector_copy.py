# SPDX-License-Identifier: Apache-2.0
"""Pack ids and codes as PostgreSQL's binary COPY reads them.

A row is the number of its fields, and for each field its length and its bytes, all numbers big-endian. A ``halfvec`` is
its number of numbers, two bytes of zero and the numbers; a ``bit`` is its number of bits and the bits, the first one
highest.
"""

from __future__ import annotations

import numpy as np

from lightning_monocon.stores.columns import Kind
from lightning_monocon.stores.store import Rows

HEADER = b"PGCOPY\n\xff\r\n\0" + bytes(8)
TRAILER = b"\xff\xff"


def packed(kind: Kind, rows: Rows) -> bytes:
    """Return a block of rows ``(id, code)``."""
    codes = _codes(kind, rows.stored)
    if rows.ids.dtype.kind == "U":
        fields = zip((str(one).encode() for one in rows.ids), codes, strict=True)
        return b"".join(b"\0\2" + len(name).to_bytes(4, "big") + name + code.tobytes() for name, code in fields)
    whole = np.zeros(len(codes), [("fields", ">i2"), ("length", ">i4"), ("id", ">i8"), ("code", codes.dtype)])
    whole["fields"], whole["length"], whole["id"], whole["code"] = 2, 8, rows.ids, codes
    return whole.tobytes()


def _codes(kind: Kind, stored: np.ndarray) -> np.ndarray:
    """Return the fields ``(n,)`` of the codes, each with its length before it."""
    width = stored.shape[1]
    if kind == "bit":
        fields = np.zeros(len(stored), [("length", ">i4"), ("bits", ">i4"), ("data", "u1", (width,))])
        fields["length"], fields["bits"] = 4 + width, 8 * width
    else:
        parts = [("length", ">i4"), ("numbers", ">i2"), ("unused", ">i2"), ("data", ">f2", (width,))]
        fields = np.zeros(len(stored), parts)
        fields["length"], fields["numbers"] = 4 + 2 * width, width
    fields["data"] = stored
    return fields
