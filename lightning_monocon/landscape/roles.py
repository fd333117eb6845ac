# SPDX-License-Identifier: Apache-2.0
"""Assign roles to strata: which of them the network trains on, which are held out, and which have wrong labels.

Typing, barriers, forecasts and percolation read roles and never the names of strata, so the strata of a probe may be
anything: sets, first and repeated tokens, rare and common ones, or a column of the data. A role may be played by
several strata; its credence and its fallibility are the means over them, each stratum with the same weight. Samples
that the network trains on with a label that was made wrong play the role ``wrong`` and not ``train``.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Literal, NamedTuple, TypeAlias

from lightning_monocon.landscape.strata import Floats

Role: TypeAlias = Literal["train", "held_out", "wrong"]
RoleNames: TypeAlias = Mapping[str, str | Sequence[str]]

WRONG = "train/wrong"
"""The stratum of train samples whose label was made wrong, as a probe names it that is split by the kinds of labels."""


class Roles(NamedTuple):
    """Hold the names of the strata that play each role; a role that none plays is empty."""

    train: tuple[str, ...] = ()
    held_out: tuple[str, ...] = ()
    wrong: tuple[str, ...] = ()

    def mean(self, role: Role, names: Sequence[str], values: Floats) -> Floats:
        """Return the mean of ``(..., S)`` values over the strata of a role, ``(...)``; NaN if no stratum plays it.

        Args:
            role: The role.
            names: Names of the S strata.
            values: One value for each stratum.
        """
        places = [names.index(name) for name in getattr(self, role)]
        if not places:
            return values[..., 0] * float("nan")
        chosen: Floats = values[..., places].mean(axis=-1)
        return chosen


def parse_roles(roles: RoleNames | None, names: Sequence[str]) -> Roles:
    """Return the roles of strata.

    Args:
        roles: The stratum, or the strata, of ``"train"``, of ``"held_out"`` and of ``"wrong"``. None gives the first
            two to ``train`` and ``val``, or to the strata whose names begin with ``train/`` and ``val/``, and the last
            to ``train/wrong``.
        names: Names of all strata.

    Example:
        >>> parse_roles({"train": "seen", "held_out": ["unseen"]}, ["seen", "unseen", "other"])
        Roles(train=('seen',), held_out=('unseen',), wrong=())

    Raises:
        ValueError: If a role or a stratum is unknown, a role is given no stratum, or a stratum has both roles.
    """
    check_roles(roles)
    if roles is None:
        return _by_name(names)
    found = _given(roles)
    for stratum in itertools.chain(*found):
        if stratum not in names:
            raise ValueError(f"`roles` must name strata of the probe: {', '.join(names)}; got {stratum!r}.")
    return found


def check_roles(roles: RoleNames | None) -> None:
    """Raise ValueError if a role is unknown or given no stratum, or a stratum has both; the probe knows the strata."""
    if roles is None:
        return
    if not isinstance(roles, Mapping):
        raise ValueError(f"`roles` must be a mapping from roles to strata, or None; got {roles!r}.")
    unknown = [role for role in roles if role not in Roles._fields]
    if unknown:
        raise ValueError(
            f"`roles` must name train or held_out; got {unknown[0]!r}. Leave it out or rename it; train samples with "
            "wrong labels may play the role wrong."
        )
    for role, given in roles.items():
        named = [given] if isinstance(given, str) else given
        if not isinstance(named, Sequence) or not all(isinstance(name, str) for name in named):
            raise ValueError(f"`roles` must give the strata of {role} as a name or a list of names; got {given!r}.")
        if not named or not all(named):
            raise ValueError(
                f"`roles` must give {role} at least one stratum; got {given!r}. Name one, or leave {role} out."
            )
    found = _given(roles)
    both = sorted(name for name, count in Counter(itertools.chain(*found)).items() if count > 1)
    if both:
        raise ValueError(f"`roles` must give a stratum one role; got {both[0]!r} in both. Remove it from one of them.")


def _by_name(names: Sequence[str]) -> Roles:
    wrong = tuple(name for name in names if name == WRONG)
    train, held_out = (
        tuple(name for name in names if name.split("/")[0] == part and name not in wrong) for part in ("train", "val")
    )
    return Roles(train, held_out, wrong)


def _given(roles: RoleNames) -> Roles:
    return Roles(**{role: (given,) if isinstance(given, str) else tuple(given) for role, given in roles.items()})
