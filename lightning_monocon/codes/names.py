# SPDX-License-Identifier: Apache-2.0
"""Give a code one name, ``FAMILY-BYTES``, in every report, file and command, and its size in words.

A code that is scored about the mean adds ``-centred``. The families are those of `lightning_monocon.codes.candidates`.
"""

from __future__ import annotations

CENTRED = "-centred"
"""What the name of a code ends in if it is scored about the mean."""

_FORMER = {
    "bits8-uncentred-uniform-common": "bytes",
    "half-uncentred": "half",
    **{f"bits{bits}-random": f"scalar{bits}" for bits in (1, 2, 4)},
    "bits8": "int8",
}
"""Families by the former names of codecs, when the tables of `monocon score` had others."""


def current_name(name: str) -> str:
    """Return the name of a code, given that or a former one.

    Example:
        >>> current_name("bits8-uncentred-uniform-common-32"), current_name("bits1-random-8-centred")
        ('bytes-32', 'scalar1-8-centred')
        >>> current_name("transform-32"), current_name("bits1-itq-8")
        ('transform-32', 'bits1-itq-8')
    """
    plain = name.removesuffix(CENTRED)
    family, dash, size = plain.rpartition("-")
    if plain in _FORMER:
        family, dash, size = plain, "", ""
    if family in _FORMER and (size.isdecimal() or not dash):
        return _FORMER[family] + dash + size + name[len(plain) :]
    return name


def in_bytes(count: int) -> str:
    """Return a number of bytes with its unit.

    Example:
        >>> in_bytes(1), in_bytes(32)
        ('1 byte', '32 bytes')
    """
    return f"{count} byte{'' if count == 1 else 's'}"
