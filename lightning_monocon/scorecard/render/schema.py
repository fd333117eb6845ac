# SPDX-License-Identifier: Apache-2.0
"""Turn a scorecard into plain JSON, with a version.

This is version 4 of the layout; `read_scorecard` reads versions 2 and 3 too. Shares are fractions, not per cent,
and a figure that does not exist is null:

* ``schema``: name and version of this layout.
* ``origin``: ``data``, ``recipe``, ``encoder``, ``version`` of this package, ``date`` and ``command``, each empty if it
  is unknown; null in a card that was not written.
* ``smallest``: the fewest bytes that keep the accuracy of the whole baseline, or null: ``arm``, ``storage``, ``k``,
  ``bytes``, ``accuracy``, ``loss`` (``outcome``: ``"kept"``, ``"open"`` where the queries are too few to tell, or
  ``"lost"``, where no form keeps it and this one is nearest; ``margin``, ``low``, ``high``, ``queries`` and those
  ``needed``), ``within`` (false: lost), ``margin`` (against the whole, as ``margins[]``), ``whole`` (its coordinates,
  bytes and accuracy), ``storages`` that were measured, and the name of the ``code`` where ``storage`` is ``"code"``.
* ``graphs[]``: what HNSW graphs find, empty unless it was asked for: ``arm``, ``k`` numbers of a vector,
  ``local_dimension``, ``ef`` (candidates of a search), ``nearest`` (rows asked for; not in early cards) and ``recall``:
  for each library a share for each ``ef``.
* ``certificates``: what is proved of answers, null unless it was asked for (not in early cards): for each arm with a
  head its runs, one per seed, with ``queries``, ``eps``, ``right``, and for each of ``eps`` the shares ``proved`` and
  ``attacked``.
* ``baseline``, ``dims``: the arm to beat, and the kept dimensions of ``winners``.
* ``stage``: the checkpoints that made the embeddings, ``"last"`` or ``"best"`` (by validation).
* ``arms[]``: ``name``, ``verdict`` (``word``, ``reason``, ``facts`` or null), ``flags``, ``runs[]``, one per seed, each
  with every figure of ``Score``, the ``truth`` (as below), ``values`` (every measure at full width), its ``reading``
  (``"pca"`` or ``"prefix"``: how it is cut to k numbers), ``spectrum``,
  ``frontier`` (``storage``, ``dims``, ``bytes`` per vector, ``values``: by measure, one number per kept dimension; of
  labels also ``knn_accuracy``, ``recall_at_1`` and ``recall``: by neighbours), ``rounded[]``, the frontier of int8 and
  of binary vectors, ``codes`` (null if not measured: ``bytes``, and for each the ``names`` of the best code,
  ``squared_errors``, the least of any code, or null, and ``values``), ``verdict``, which repeats that of an arm without
  a baseline and else is null, and ``others[]``, empty but for such an arm: its runs by the other truths. Of labels a
  run also has ``classes``, ``thin``, ``constant`` (the best constant answer), ``knn_accuracy``, ``balanced_accuracy``
  and ``recall``.
* ``nulls[]``: null models, as ``arms[]``; ``nulls_left_out``: names of those that the truth leaves no room for.
* ``truth``: what the arms are judged by: ``kind`` (``"labels"``, ``"qrels"``, ``"graded"`` or ``"neighbours"``),
  ``name``, ``measures`` (accuracies, winners and margins are of the first), ``unit`` (``"query"`` or ``"pair"``),
  ``units`` and ``warnings``.
* ``others[]``: the same arms by each further truth, as this object without ``schema``, ``origin``, ``graphs``
  and ``certificates``.
* ``winners[]``: ``k``, ``arm``, ``accuracy``, ``distinguishable``, ``ties``, ``margins[]`` (the winner against each
  other arm: ``other``, ``other_k``, ``difference``, ``low``, ``high``, ``query_interval``, ``simultaneous``: holds
  together with all comparisons of the card, ``distinguishable``, ``ahead``, ``seeds``, ``errors``: standard errors by
  source, ``storages``: of the two).
* ``byte_winners[]``: as ``winners[]``, with ``bytes`` of a vector and the winner's ``code`` in place of ``k``; in its
  ``margins[]`` ``storages`` are ``"code"``, and ``other_k`` is bytes.
* ``effects[]``: arms that differ in one thing: ``cause`` (``"constraint"`` or ``"start"``), ``arm``, ``twin``, ``n99``
  of both, ``n99_interval`` of their difference, ``seeds``, ``kept`` and ``whole`` (accuracies, as ``margins[]``).
* ``alternative``: the same arms under the other checkpoint rule, as this object without ``schema``, ``origin``,
  ``smallest``, ``graphs`` and ``certificates``, or null.

Version 3 knew plain numbers only, so its ``byte_winners[]`` had a ``storage`` and ``k`` coordinates. Version 2 knew
labels only, so its readers would take any truth for one. Version 1 had only one way to cut vectors.
"""

from __future__ import annotations

import math
from dataclasses import asdict, fields
from typing import Any

from lightning_monocon.scorecard.byte_ranking import ByteWinner
from lightning_monocon.scorecard.card import Arm, Scorecard
from lightning_monocon.scorecard.causes import Effect
from lightning_monocon.scorecard.codes import CodeFrontier
from lightning_monocon.scorecard.frontier import Frontier
from lightning_monocon.scorecard.kept import Kept
from lightning_monocon.scorecard.ranking import Comparison, Winner
from lightning_monocon.scorecard.scores import Score
from lightning_monocon.scorecard.scoring import JudgedScore
from lightning_monocon.scorecard.smallest import Smallest
from lightning_monocon.scorecard.truths import LabelTruth, Truth
from lightning_monocon.scorecard.verdict import Verdict

SCHEMA = "lightning-monocon/scorecard/4"
"""Name and version of the layout; the number grows when a reader of the old layout would go wrong."""


def as_json(card: Scorecard) -> dict[str, Any]:
    """Return the scorecard as dicts, lists, strings and finite numbers."""
    heading = {
        "schema": SCHEMA,
        "origin": asdict(card.origin) if card.origin else None,
        "smallest": _smallest(card.smallest) if card.smallest else None,
        "graphs": [asdict(search) for search in card.graphs],
        "certificates": certificates_as_json(card),
    }
    return _finite({**heading, **_card(card)})


def certificates_as_json(card: Scorecard) -> dict[str, Any] | None:
    """Return what is proved of each arm with a head, one entry per seed; None unless it was asked for."""
    if card.certificates is None:
        return None
    return {name: [asdict(run) for run in runs] for name, runs in card.certificates.items()}


def _card(card: Scorecard) -> dict[str, Any]:
    return {
        "baseline": card.baseline,
        "stage": card.stage,
        "dims": list(card.dims),
        "arms": [_arm(arm) for arm in card.arms],
        "winners": [_winner(winner) for winner in card.winners],
        "byte_winners": [_byte_winner(winner) for winner in card.byte_winners],
        "effects": [_effect(effect) for effect in card.effects],
        "nulls": [_arm(arm) for arm in card.nulls],
        "nulls_left_out": list(card.left_out),
        "truth": truth_as_json(card.truth),
        "others": [_of_truth(other) for other in card.others],
        "alternative": _card(card.alternative) if card.alternative else None,
    }


def _of_truth(card: Scorecard) -> dict[str, Any]:
    return {"smallest": _smallest(card.smallest) if card.smallest else None, **_card(card)}


def score_as_json(score: Score) -> dict[str, Any]:
    """Return one score; the labels that pair its queries are left out."""
    figures = {field.name: getattr(score, field.name) for field in fields(score)}
    if isinstance(score.truth, LabelTruth):
        of_labels = ("classes", "thin", "constant", "knn_accuracy", "balanced_accuracy", "recall")
        figures |= {name: getattr(score, name) for name in of_labels}
    figures["values"] = score.figures
    figures["truth"] = truth_as_json(score.truth)
    figures["spectrum"] = score.spectrum.tolist()
    figures["frontier"] = _frontier(score.frontier)
    figures["rounded"] = [_frontier(line) for line in score.rounded]
    figures["codes"] = None if score.codes is None else _codes(score.codes)
    figures["others"] = [score_as_json(other) for other in score.others] if isinstance(score, JudgedScore) else []
    figures["verdict"] = _verdict(score.verdict) if isinstance(score, JudgedScore) else None
    return _finite(figures)


def _arm(arm: Arm) -> dict[str, Any]:
    return {
        "name": arm.name,
        "verdict": _verdict(arm.verdict),
        "flags": list(arm.flags),
        "runs": [score_as_json(score) for score in arm.scores],
    }


def truth_as_json(truth: Truth) -> dict[str, Any]:
    """Return what judges, without what it knows of each row."""
    return {
        "kind": truth.kind,
        "name": truth.name,
        "measures": list(truth.measures),
        "unit": truth.unit,
        "units": truth.units,
        "warnings": list(truth.warnings),
    }


def _frontier(frontier: Frontier) -> dict[str, Any]:
    of_labels = (
        {
            "knn_accuracy": list(frontier.knn_accuracy),
            "recall_at_1": list(frontier.recall_at_1),
            "recall": [{str(r): share for r, share in line.items()} for line in frontier.recall],
        }
        if "knn_accuracy" in frontier.values
        else {}
    )
    return {
        "storage": frontier.storage,
        "dims": list(frontier.dims),
        "bytes": list(frontier.bytes),
        **of_labels,
        "values": {name: list(frontier.means(name)) for name in frontier.values},
    }


def _codes(line: CodeFrontier) -> dict[str, Any]:
    return {
        "bytes": list(line.dims),
        "names": list(line.names),
        "squared_errors": list(line.errors),
        "values": {name: list(line.means(name)) for name in line.values},
    }


def _verdict(verdict: Verdict) -> dict[str, Any]:
    facts = verdict.facts
    if facts is None:
        return {"word": verdict.word, "reason": verdict.reason, "facts": None}
    values = {name: getattr(facts, name) for name in (field.name for field in fields(facts))}
    plain = {name: _plain(value) for name, value in values.items()}
    return {"word": verdict.word, "reason": verdict.reason, "facts": plain}


def _plain(fact: object) -> object:
    if isinstance(fact, Comparison):
        return _comparison(fact)
    return asdict(fact) if isinstance(fact, Kept) else fact


def _winner(winner: Winner) -> dict[str, Any]:
    return {
        "k": winner.k,
        "arm": winner.arm,
        "accuracy": winner.accuracy,
        "distinguishable": winner.distinguishable,
        "ties": list(winner.ties),
        "margins": [_comparison(margin) for margin in winner.margins],
    }


def _byte_winner(winner: ByteWinner) -> dict[str, Any]:
    values = {"bytes": winner.bytes, "code": winner.code, **_winner(winner)}
    return {name: value for name, value in values.items() if name != "k"}


def _smallest(smallest: Smallest) -> dict[str, Any]:
    return {**asdict(smallest), "within": smallest.within, "margin": _comparison(smallest.margin)}


def _effect(effect: Effect) -> dict[str, Any]:
    return {**asdict(effect), "kept": _comparison(effect.kept), "whole": _comparison(effect.whole)}


def _comparison(comparison: Comparison) -> dict[str, Any]:
    claims = {"distinguishable": comparison.distinguishable, "ahead": comparison.ahead}
    return {**asdict(comparison), **claims}


def _finite(values: dict[Any, Any]) -> dict[str, Any]:
    """Replace NaN and infinity, which JSON does not know, by null, at any depth; keys become strings."""
    return {str(key): _finite_part(part) for key, part in values.items()}


def _finite_part(value: object) -> object:
    if isinstance(value, dict):
        return _finite(value)
    if isinstance(value, (list, tuple)):
        return [_finite_part(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
