# SPDX-License-Identifier: Apache-2.0
"""Name the measures of truths, and write their values, as readers know them."""

from __future__ import annotations

from lightning_monocon.scorecard.scores import Score
from lightning_monocon.scorecard.truths import QrelsTruth
from lightning_monocon.scorecard.truths.truth import Kind, distinct

_NOUNS = {
    "knn_accuracy": "5-NN accuracy",
    "spearman": "Spearman's correlation",
    "pearson": "Pearson's correlation",
    "first_kept": "first neighbours kept",
    "rbo": "rank-biased overlap",
}
_HEADINGS = {"knn_accuracy": "5-NN", "spearman": "Spearman", "pearson": "Pearson", "first_kept": "first", "rbo": "RBO"}
_SPELLED = {"ndcg": "nDCG", "mrr": "MRR", "map": "MAP", "recall": "Recall"}
_CORRELATIONS = ("spearman", "pearson")

KINDS: dict[Kind, str] = {
    "labels": "class labels",
    "qrels": "known answers",
    "graded": "graded pairs",
    "neighbours": "the neighbours in a reference",
}
"""What each kind of truth consists of."""


def noun(measure: str) -> str:
    """Return the name of a measure in a sentence.

    Example:
        >>> noun("knn_accuracy"), noun("ndcg@10"), noun("spearman")
        ('5-NN accuracy', 'nDCG@10', "Spearman's correlation")
    """
    return _NOUNS.get(measure) or _spelled(measure)


def heading(measure: str) -> str:
    """Return the name of a measure over a column, with the unit: hundredths of a correlation, and else per cent.

    Example:
        >>> heading("knn_accuracy"), heading("map@100"), heading("spearman")
        ('5-NN %', 'MAP@100 %', 'Spearman x 100')
    """
    unit = "x 100" if measure in _CORRELATIONS else "%"
    return f"{_HEADINGS.get(measure) or _spelled(measure)} {unit}"


def axis_label(measure: str) -> str:
    """Return the name of a measure beside an axis of hundredths.

    Example:
        >>> axis_label("knn_accuracy"), axis_label("spearman")
        ('5-NN accuracy (%)', "Spearman's correlation (x 100)")
    """
    return f"{noun(measure)} ({'x 100' if measure in _CORRELATIONS else '%'})"


def amount(measure: str, *values: float) -> str:
    """Write values of a measure in a sentence, different ones from the first to the last.

    Example:
        >>> amount("recall@1", 0.9312), amount("spearman", 0.8264), amount("ndcg@10", 0.1, 0.5)
        ('93.1 %', '0.826', '10.0 to 50.0 %')
    """
    is_share = measure not in _CORRELATIONS
    texts = dict.fromkeys(f"{100 * value:.1f}" if is_share else f"{value:.3f}" for value in values)
    return " to ".join(texts) + (" %" if is_share else "")


def asked(score: Score) -> str:
    """Count what is judged, in words."""
    truth, queries = score.truth, f"{score.n_query} {'query' if score.n_query == 1 else 'queries'}"
    if truth.kind == "labels":
        return f"{queries} in {score.classes} classes"
    if truth.kind == "qrels":
        left = score.n_query - truth.units
        known = (
            f"{queries}, {left} of them left out because they have no answer"
            if left
            else f"{queries} with known answers"
        )
        own = len(distinct(truth.excluded[:, 0])) if isinstance(truth, QrelsTruth) else 0
        return known + (f", {own} of which skip the gallery row of their own id" if own else "")
    if truth.kind == "graded":
        return f"{queries} and {truth.units} graded pairs in {truth.name}"
    return queries


def _spelled(measure: str) -> str:
    name, at, depth = measure.partition("@")
    return _SPELLED.get(name, name) + at + depth
