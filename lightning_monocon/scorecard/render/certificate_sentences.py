# SPDX-License-Identifier: Apache-2.0
"""Write which right answers of the arms are proved: which arm has most of them, and a table of all arms."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import fmean

from lightning_monocon.scorecard.card import Scorecard, mean_and_deviation
from lightning_monocon.scorecard.certificates import Certificates
from lightning_monocon.scorecard.render.sentences import Sentence
from lightning_monocon.scorecard.render.tables import Table, spread

_NO_HEAD = "No arm has a head of which anything can be proved."

_Found = Mapping[str, Sequence[Certificates]]


def certificate_intro(card: Scorecard) -> str:
    """Say what was asked, and how sure the shares are."""
    found = card.certificates or {}
    if not found:
        return ""
    queries = next(iter(found.values()))[0].queries
    return (
        f"Of {queries} queries the share whose 5-NN label is right, is right and provably stays, and is right under an "
        "attack by projected gradients, while every feature that enters the head moves by as many deviations of the "
        "features as the column says; the gallery stays. What really stays lies between the last two. The standard "
        f"error of a share of so many queries is up to {50 / queries**0.5:.0f} points."
    )


def certificate_lines(card: Scorecard) -> list[Sentence]:
    """Say for each change of the features which arm has most answers that are right and proved."""
    if card.certificates is None:
        return []
    found = card.certificates
    if not found:
        return [Sentence("", _NO_HEAD)]
    bare = [arm.name for arm in card.arms if arm.name not in found]
    none = f"{' and '.join(bare)} {'has' if len(bare) == 1 else 'have'} no head, of which alone something is proved."
    most = [_most(found, place) for place in range(len(_changes(found)))]
    return [*most, *([Sentence("No certificate", none)] if bare else [])]


def certificate_table(card: Scorecard) -> Table:
    """Return one row per arm with a head, and a column per change of the features."""
    found = card.certificates or {}
    changes = _changes(found)
    parts = (f"{part} {change:g} %" for part in ("proved at", "attacked at") for change in changes)
    rows = [
        (name, *(spread(*mean_and_deviation(column), digits=1, scale=100) for column in zip(*lines, strict=True)))
        for name, lines in _lines(found).items()
    ]
    return Table(("arm", "right %", *parts), tuple(rows))


def _changes(found: _Found) -> tuple[float, ...]:
    return next(iter(found.values()))[0].eps if found else ()


def _lines(found: _Found) -> dict[str, list[tuple[float, ...]]]:
    return {name: [(run.right, *run.proved, *run.attacked) for run in runs] for name, runs in found.items()}


def _most(found: _Found, place: int) -> Sentence:
    """Say which arm, or which equal arms, have most right and proved answers at one change."""
    shares = {name: fmean(run.proved[place] for run in runs) for name, runs in found.items()}
    most = max(shares.values())
    best = [name for name, share in shares.items() if share == most]
    about = f"Change of {_changes(found)[place]:g}"
    if not most:
        return Sentence(about, "nothing is proved of any arm.")
    kept = " and ".join(f"{100 * fmean(run.attacked[place] for run in found[name]):.1f} %" for name in best)
    others = ", ".join(f"{name} {100 * share:.1f} %" for name, share in shares.items() if name not in best)
    return Sentence(
        about,
        f"{' and '.join(best)} {'has' if len(best) == 1 else 'have'} most answers that are right and proved, "
        f"{100 * most:.1f} %{f' ({others})' if others else ''}, and {kept} right under the attack.",
    )
