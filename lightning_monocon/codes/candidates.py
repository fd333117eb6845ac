# SPDX-License-Identifier: Apache-2.0
"""List the codes that are fitted and compared, family by family and budget by budget."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from importlib.util import find_spec
from itertools import pairwise

from lightning_monocon.codes import Codec, FittingRows
from lightning_monocon.codes.families import (
    ScalarOptions,
    fit_lsq,
    fit_opq,
    fit_pq,
    fit_product,
    fit_rabit,
    fit_residual,
    fit_scalar,
    fit_transform,
)
from lightning_monocon.codes.families.scalar import Bits
from lightning_monocon.codes.names import CENTRED, current_name
from lightning_monocon.codes.product import CENTROIDS
from lightning_monocon.codes.rabit import FACTOR_BYTES

BUDGETS = (2, 4, 8, 16, 32, 48, 64, 96, 128, 192)
"""Bytes per vector that are tried, as far as they are fewer than those of the whole vector."""

_FLOAT_BYTES = 4

_CENTRED_MATTERS = 0.03
"""Length of the mean of unit rows above which scores about the mean rank otherwise than whole ones."""

_ROTATED = 768
"""Numbers up to which a rotation is learnt: faiss takes about a minute of CPU for 1 000 of them, ten for 1 536."""


@dataclass(frozen=True)
class Family:
    """Hold one way to make a code.

    Attributes:
        name: Name of its codes in tables, before their bytes.
        fit: Fits a code of a number of bytes.
        allows: Whether it makes a code of vectors of D numbers in so many bytes that is worth a try.
        package: Package that it needs besides this one's own; empty for none.
        rows: Rows that it needs to be fitted.
        costly: What is not tried because it takes too long; empty for nothing.
        makes: Whether it makes such a code at all, however long that takes; None means as `allows`.
    """

    name: str
    fit: Callable[[FittingRows, int], Codec]
    allows: Callable[[int, int], bool]
    package: str = ""
    rows: int = 2
    costly: str = ""
    makes: Callable[[int, int], bool] | None = None

    def sizes(self, dim: int) -> list[int]:
        """Return the bytes of its codes of vectors of ``dim`` numbers that are worth a try, ascending."""
        return [size for size in range(1, _FLOAT_BYTES * dim) if self.allows(dim, size)]

    def all_sizes(self, dim: int) -> list[int]:
        """Return the bytes of all its codes of vectors of ``dim`` numbers, ascending."""
        makes = self.makes or self.allows
        return [size for size in range(1, _FLOAT_BYTES * dim) if makes(dim, size)]


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
        uncentred = float(rows.statistics.mean.norm()) < _CENTRED_MATTERS or not codec.space.mean.any()
        if uncentred or rows.similarity == "dot" or codec.space.scoring == "centred":
            return (codec,)
        return codec, about_mean(codec)


_INT8, _FLOAT16 = ScalarOptions(8), ScalarOptions(16)
_PLAIN8 = ScalarOptions(8, centre=False, step="common", levels="uniform")
_PLAIN16 = ScalarOptions(16, centre=False)


def _scalar(bits: Bits) -> Family:
    """Return scalar codes of one number of bits, of principal components in a random rotation."""
    options = ScalarOptions(bits, rotation="random")
    return Family(
        options.name,
        lambda rows, size: fit_scalar(rows, size, options),
        lambda dim, size: size <= dim * bits // 8,
    )


def about_mean(codec: Codec) -> Codec:
    """Return a codec whose scores are taken about the mean, under the name that says so; its bytes are the same."""
    return replace(codec, name=f"{codec.name}{CENTRED}", space=replace(codec.space, scoring="centred"))


def _rabit(bits: int) -> Family:
    return Family(
        f"rabit{bits}",
        partial(fit_rabit, bits=bits),
        lambda dim, size: FACTOR_BYTES < size <= FACTOR_BYTES + dim * bits // 8,
    )


def _trained(
    name: str,
    fit: Callable[[FittingRows, int], Codec],
    most: int,
    costly: str,
    groups: bool,
    widest: float = math.inf,
) -> Family:
    """Return a code of faiss, tried at few bytes, which must divide the numbers of a row if it cuts groups of them."""

    def makes(dim: int, size: int) -> bool:
        return size <= dim and not (groups and dim % size)

    return Family(
        name,
        fit,
        lambda dim, size: dim <= widest and size <= most and makes(dim, size),
        "faiss",
        CENTROIDS,
        costly,
        makes,
    )


def _of_halves(dim: int, size: int) -> bool:
    return size % 2 == 0 and size <= 2 * dim


FAMILIES = (
    Family("transform", fit_transform, lambda dim, size: size <= dim),
    Family("product", fit_product, lambda dim, size: size <= min(dim // 4, 64)),
    _scalar(1),
    _scalar(2),
    _scalar(4),
    Family(_INT8.name, partial(fit_scalar, options=_INT8), lambda dim, size: size <= dim),
    _rabit(1),
    _rabit(2),
    _trained("pq", fit_pq, 16, "pq codes of more than 16 bytes, which take long to fit", groups=True),
    _trained(
        "opq",
        fit_opq,
        4,
        f"opq codes of more than 4 bytes or {_ROTATED} numbers, which take long to fit",
        groups=True,
        widest=_ROTATED,
    ),
    _trained("residual", fit_residual, 2, "residual codes of more than 2 bytes, which take long to fit", groups=False),
    _trained("lsq", fit_lsq, 0, "lsq codes, which take minutes to fit", groups=False),
)

STORED = {
    "half": Family(_PLAIN16.name, partial(fit_scalar, options=_PLAIN16), _of_halves),
    "int8": Family(_PLAIN8.name, partial(fit_scalar, options=_PLAIN8), lambda dim, size: size <= dim),
    "bit": _scalar(1),
}
"""Families that a store ranks by itself, by what its column holds: uncentred float16, bytes of one step, and bits."""

STORED_BUDGETS = (*BUDGETS, 256, 384, 512, 768, 1024, 1536, 2048)
"""Bytes per vector that are tried for a store, whose columns need more of them, besides those of all numbers."""

LARGER_BUDGETS = (256, 512, 1024, 2048)
"""Bytes per vector that are tried besides, and as many as there are numbers, where `BUDGETS` do not keep enough."""

_TO_ANY_SIZE = ("transform", "scalar2", "scalar4", _INT8.name)
"""Families whose codes of many bytes are fitted as fast as those of few."""

NAMED = (
    *FAMILIES,
    *(STORED[kind] for kind in ("half", "int8")),
    Family(_FLOAT16.name, partial(fit_scalar, options=_FLOAT16), _of_halves),
)
"""Families that can be asked for by name; centred float16 is never better than `half`, and is not compared."""


def named(code: str, dim: int) -> Candidate:
    """Return the code of a name such as ``"transform-32"`` for vectors of ``dim`` numbers.

    A family's name alone, such as ``"float16"``, asks for the most bytes that are worth a try. With its bytes a code
    may be one that is not tried because it takes long. ``"transform-32-centred"`` is scored about the mean. Names of
    earlier versions are taken as well; see `current_name`.

    Raises:
        ModuleNotFoundError: If the family's package is not installed.
        ValueError: If there is no such family, it has no code of so many bytes, or only its name is given and none of
            its codes is worth a try.
    """
    asked = current_name(code).removesuffix(CENTRED)
    name, dash, size = asked.partition("-")
    found = {family.name: family for family in NAMED}.get(name)
    if found is None or (dash and not size.isdecimal()):
        raise ValueError(
            f"`code` must be a family of {', '.join(each.name for each in NAMED)} and its bytes, such as transform-32; "
            f"got {code}."
        )
    if found.package and find_spec(found.package) is None:
        raise ModuleNotFoundError(f"`code` {code} needs the package {found.package}: install it.")
    allowed = found.all_sizes(dim)
    chosen = int(size) if dash else max(found.sizes(dim), default=0)
    if chosen not in allowed:
        sizes = _in_words(allowed)
        rule = f"have {sizes} bytes" if dash or not allowed else f"be given with its bytes, {sizes},"
        raise ValueError(f"`code` must {rule} for {name} codes of {dim} numbers; got {code}.")
    if current_name(code).endswith(CENTRED):
        return Candidate(f"{name}-{chosen}{CENTRED}", chosen, lambda rows, size: about_mean(found.fit(rows, size)))
    return Candidate(f"{name}-{chosen}", chosen, found.fit)


def _in_words(sizes: Sequence[int]) -> str:
    """Return ascending sizes, in short where they are as far apart.

    Example:
        >>> _in_words([2, 4, 6, 8]), _in_words([1, 2, 4]), _in_words([])
        ('2, 4, ... or 8', '1, 2 or 4', 'no')
    """
    steps = {after - before for before, after in pairwise(sizes)}
    if len(sizes) > 2 and len(steps) == 1:
        between = " to" if steps == {1} else f", {sizes[1]}, ... or"
        return f"{sizes[0]}{between} {sizes[-1]}"
    *first, last = map(str, sizes or ("no",))
    return f"{', '.join(first)} or {last}" if first else last


def stored_candidates(dim: int, rows: int, kinds: Sequence[str]) -> tuple[list[Candidate], list[str]]:
    """Return the codes that a store ranks by itself, and what was left out and why.

    Args:
        dim: Numbers of a vector.
        rows: Rows that codes are fitted on.
        kinds: What its columns hold, as in `STORED`.
    """
    families = [STORED[kind] for kind in kinds]
    whole = {max(family.sizes(dim), default=BUDGETS[0]) for family in families}
    return candidates(dim, rows, families, sorted({*STORED_BUDGETS} | whole))


def larger_candidates(dim: int) -> list[Candidate]:
    """Return the codes to try where `BUDGETS` do not keep enough: up to a byte a number, and all numbers as float16.

    They need few rows to be fitted, and no other package.

    Args:
        dim: Numbers of a vector.
    """
    budgets = sorted({*LARGER_BUDGETS, dim} - {*BUDGETS})
    cheap = [family for family in FAMILIES if family.name in _TO_ANY_SIZE]
    found = [
        Candidate(f"{family.name}-{budget}", budget, family.fit)
        for budget in budgets
        for family in cheap
        if family.allows(dim, budget)
    ]
    half = STORED["half"]
    return [*found, Candidate(f"{half.name}-{2 * dim}", 2 * dim, half.fit)]


def candidates(
    dim: int, rows: int, families: Sequence[Family] = FAMILIES, budgets: Sequence[int] | None = None
) -> tuple[list[Candidate], list[str]]:
    """Return the codes for vectors of ``dim`` numbers, from few bytes to many, and what was left out and why.

    Args:
        dim: Numbers of a vector.
        rows: Rows that codes are fitted on.
        families: What to make codes of.
        budgets: Bytes per vector to try; None means `BUDGETS`.
    """
    reasons = [(family, _reason(family, rows)) for family in families]
    usable = [family for family, reason in reasons if not reason]
    found = [
        Candidate(f"{family.name}-{budget}", budget, family.fit)
        for budget in (BUDGETS if budgets is None else budgets)
        for family in usable
        if budget < _FLOAT_BYTES * dim and family.allows(dim, budget)
    ]
    if not found:
        raise ValueError(f"`VECTORS` must have at least 2 numbers a row, or no code is smaller; got {dim}: keep them.")
    return found, [reason for _, reason in reasons if reason] + [family.costly for family in usable if family.costly]


def _reason(family: Family, rows: int) -> str:
    """Return why a family is left out; empty if it is not."""
    if family.package and find_spec(family.package) is None:
        return f"{family.name} codes, which need the package {family.package}"
    return f"{family.name} codes, which need {family.rows} rows to be fitted" if rows < family.rows else ""
