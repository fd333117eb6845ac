# SPDX-License-Identifier: Apache-2.0
"""List the codes that are fitted and compared, family by family and budget by budget."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from importlib.util import find_spec

from lightning_monocon.codes import Codec, FittingRows
from lightning_monocon.codes.families import ScalarOptions, fit_product, fit_scalar, fit_transform
from lightning_monocon.codes.families.scalar import Bits

BUDGETS = (2, 4, 8, 16, 32, 48, 64, 96, 128, 192)
"""Bytes per vector that are tried, as far as they are fewer than those of the whole vector."""

_FLOAT_BYTES = 4

_CENTRED_MATTERS = 0.03
"""Length of the mean of unit rows above which scores about the mean rank otherwise than whole ones."""


@dataclass(frozen=True)
class Family:
    """Hold one way to make a code.

    Attributes:
        name: Name of its codes in tables, before their bytes.
        fit: Fits a code of a number of bytes.
        most: Returns the most bytes that it can use for vectors of D numbers.
        package: Package that it needs besides this one's own; empty for none.
    """

    name: str
    fit: Callable[[FittingRows, int], Codec]
    most: Callable[[int], int]
    package: str = ""


@dataclass(frozen=True)
class Candidate:
    """Hold one code that is not fitted yet.

    Attributes:
        name: Such as ``"transform-32"``.
        bytes: Bytes of a vector.
        fit: Fits it.
    """

    name: str
    bytes: int
    fit: Callable[[FittingRows, int], Codec]

    def fitted(self, rows: FittingRows) -> tuple[Codec, ...]:
        """Return the code once for each way to score that may matter; both have the same bytes."""
        codec = self.fit(rows, self.bytes)
        mean = float(rows.statistics.mean.norm())
        if rows.similarity == "dot" or mean < _CENTRED_MATTERS:
            return (codec,)
        centred = replace(codec, space=replace(codec.space, scoring="centred"))
        return codec, replace(centred, name=f"{codec.name}-centred")


def _scalar(bits: Bits) -> Family:
    """Return scalar codes of one number of bits, of principal components in a random rotation."""
    options = ScalarOptions(bits, rotation="random")
    return Family(f"scalar{bits}", lambda rows, size: fit_scalar(rows, size, options), lambda dim: dim * bits // 8)


FAMILIES = (
    Family("transform", fit_transform, lambda dim: dim),
    Family("product", fit_product, lambda dim: min(dim // 4, 64)),
    _scalar(1),
    _scalar(2),
    _scalar(4),
    Family("int8", partial(fit_scalar, options=ScalarOptions(8)), lambda dim: dim),
)


NAMED = (*FAMILIES, Family("float16", partial(fit_scalar, options=ScalarOptions(16)), lambda dim: 2 * dim))
"""Families that can be asked for by name; float16 is never the best of few bytes, and is not compared."""


def named(code: str, dim: int) -> Candidate:
    """Return the code of a name such as ``"transform-32"`` for vectors of ``dim`` numbers.

    A family's name alone, such as ``"float16"``, asks for the most bytes that it can use.

    Raises:
        ModuleNotFoundError: If the family's package is not installed.
        ValueError: If there is no such family, or it has no code of so many bytes.
    """
    name, dash, size = code.partition("-")
    found = {family.name: family for family in NAMED}.get(name)
    if found is None or (dash and not size.isdecimal()):
        raise ValueError(
            f"`code` must be a family of {', '.join(each.name for each in NAMED)} and its bytes, such as transform-32; "
            f"got {code}."
        )
    if found.package and find_spec(found.package) is None:
        raise ModuleNotFoundError(f"`code` {code} needs the package {found.package}: install it.")
    most = found.most(dim)
    chosen = int(size) if dash else most
    if not 1 <= chosen <= most:
        raise ValueError(f"`code` must have 1 to {most} bytes for {name} codes of {dim} numbers; got {code}.")
    return Candidate(f"{name}-{chosen}", chosen, found.fit)


def candidates(dim: int, families: Sequence[Family] = FAMILIES) -> tuple[list[Candidate], list[str]]:
    """Return the codes for vectors of ``dim`` numbers, from few bytes to many, and what was left out and why."""
    missing = [family for family in families if family.package and find_spec(family.package) is None]
    found = [
        Candidate(f"{family.name}-{budget}", budget, family.fit)
        for budget in BUDGETS
        for family in families
        if budget < _FLOAT_BYTES * dim and budget <= family.most(dim) and family not in missing
    ]
    return found, [f"{family.name} codes, which need the package {family.package}" for family in missing]
