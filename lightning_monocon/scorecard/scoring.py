# SPDX-License-Identifier: Apache-2.0
"""The scorecard of one embedding, wherever it comes from."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from lightning_monocon.functional.spectrum import explained_variance, numerical_rank
from lightning_monocon.scorecard.card import Arm, Scorecard, build
from lightning_monocon.scorecard.codes import CodesTried
from lightning_monocon.scorecard.embeddings import EmbeddingSet, Rows, as_tensor
from lightning_monocon.scorecard.files import load_files
from lightning_monocon.scorecard.flags import flags
from lightning_monocon.scorecard.frontier import default_dims
from lightning_monocon.scorecard.graph_index import Graphs, GraphSearch, graph_searches
from lightning_monocon.scorecard.known import with_truths, with_truths_of
from lightning_monocon.scorecard.ranking import winner
from lightning_monocon.scorecard.scores import Score, measure_all
from lightning_monocon.scorecard.smallest import smallest_form
from lightning_monocon.scorecard.streamed import StreamedSet, measure_streamed
from lightning_monocon.scorecard.truths import Truth
from lightning_monocon.scorecard.verdict import Verdict, judge, judge_alone


@dataclass(frozen=True, eq=False, kw_only=True)
class JudgedScore(Score):
    """Hold a score and the verdict on it, as :func:`score` returns them together.

    Attributes:
        verdict: What the embedding is, in words.
        others: The same by the other truths that are known.
    """

    verdict: Verdict
    others: tuple[JudgedScore, ...] = ()


def score(
    *,
    gallery: Rows,
    gallery_labels: Rows | None = None,
    query: Rows,
    query_labels: Rows | None = None,
    truths: Sequence[Truth] = (),
    sides: Mapping[str, Rows] | None = None,
    baseline: EmbeddingSet | None = None,
    dims: Iterable[int] | None = None,
    arm: str = "embeddings",
    codes: CodesTried = "fast",
) -> JudgedScore:
    """Score any embeddings and say what they are.

    Args:
        gallery: ``(N, D)`` embeddings that are searched, usually of the training split.
        gallery_labels: ``(N,)`` integers, if there are labels.
        query: ``(Q, D)`` embeddings that search, usually of the test split.
        query_labels: ``(Q,)`` integers, if there are labels.
        truths: what is known besides labels; without either, neighbours in the baseline or at full width are asked for.
        sides: further rows by name, to which graded pairs may refer.
        baseline: another model's embeddings of the same rows, in the same order; without one, only a collapse shows.
        dims: kept dimensions of the frontier; by default 1, 2, 3, 4, 6, 8, 12, 16, ... D.
        arm: name in tables and figures.
        codes: families of codes that compete for each size: ``"fast"``, or ``"all"``, which takes minutes.

    Returns:
        Metrics, frontier and ``verdict`` by the labels or else the first truth; by the others in ``others``.

    Raises:
        ModuleNotFoundError, TypeError, ValueError: for all codes without faiss, and for rows that do not fit.

    Example:
        >>> import torch
        >>> rows, labels = torch.eye(4).repeat(3, 1), torch.arange(4).repeat(3)
        >>> card = score(gallery=rows, gallery_labels=labels, query=rows, query_labels=labels)
        >>> card.n99, card.knn_accuracy, card.verdict.word
        (3, 1.0, 'not judged')
    """
    data = EmbeddingSet(
        gallery=as_tensor("gallery", gallery),
        gallery_labels=None if gallery_labels is None else as_tensor("gallery_labels", gallery_labels),
        query=as_tensor("query", query),
        query_labels=None if query_labels is None else as_tensor("query_labels", query_labels),
        truths=tuple(truths),
        sides={name: as_tensor("sides", rows) for name, rows in (sides or {}).items()},
        arm=arm,
    )
    return score_set(data, baseline, dims, codes)


def score_files(
    files: Sequence[str | Path],
    baseline: Sequence[str | Path] | None = None,
    dims: Iterable[int] | None = None,
    codes: CodesTried = "fast",
) -> JudgedScore:
    """Score embeddings from one, two or four files; see :mod:`lightning_monocon.scorecard.files` for what they hold.

    Args:
        files: the embeddings to judge.
        baseline: the files of another model's embeddings of the same rows.
        dims: kept dimensions of the frontier, as in :func:`score`.
        codes: families of codes that compete at each number of bytes, as in :func:`score`.

    Raises:
        FileNotFoundError: if a file is missing.
        ModuleNotFoundError: for Parquet without pyarrow, and whatever :func:`score` raises.
        TypeError: for the wrong kind of numbers.
        ValueError: for files of unknown layout, and whatever :func:`score` refuses.
    """
    data = load_files(files)
    return score_set(data, None if baseline is None else load_files(baseline, labels=data), dims, codes)


def scorecard_of(
    data: EmbeddingSet,
    baseline: EmbeddingSet | None = None,
    dims: Iterable[int] | None = None,
    codes: CodesTried = "fast",
) -> Scorecard:
    """The whole scorecard of one embedding, beside a baseline and its null models if there is one.

    Args:
        data: what is judged.
        baseline: another model's embeddings of the same rows, in the same order.
        dims: kept dimensions of the frontier, as in :func:`score`.
        codes: families of codes that compete at each number of bytes, as in :func:`score`.

    Raises:
        ModuleNotFoundError, ValueError: as :func:`score`.
    """
    if baseline is None:
        found = score_set(data, None, dims, codes)
        kept = default_dims(data.dim) if dims is None else found.frontier.dims
        return _card_of(found, kept)
    data, baseline = _alike(data, baseline)
    wanted = tuple(dims or ())
    _within_rank(data, wanted)
    name = baseline.arm if baseline.arm != data.arm else f"{baseline.arm} (baseline)"
    rivals = {name: [replace(baseline, arm=name, seed=data.seed)], data.arm: [data]}
    return build(rivals, baseline=name, dims=wanted, codes=codes)


def streamed_scorecard(data: StreamedSet, dims: Iterable[int] | None = None) -> Scorecard:
    """Return the whole scorecard of one embedding whose gallery is read from its files, block by block.

    Args:
        data: what is judged.
        dims: kept dimensions of the frontier, as in :func:`score`.

    Raises:
        ValueError: as :func:`score`, and for a file that is damaged or holds rows that are not finite.
    """
    found = _alone(measure_streamed(data, dims, rounded=True))
    return _card_of(found, default_dims(data.gallery.width) if dims is None else found.frontier.dims)


def with_graphs(
    card: Scorecard,
    sets: Iterable[EmbeddingSet],
    dims: Iterable[int] | None = None,
    graphs: Graphs | None = None,
) -> Scorecard:
    """Return a card that also says how much of an exact search HNSW graphs find.

    Args:
        card: The card.
        sets: One set of embeddings per arm, in the order of the card.
        dims: Numbers of dimensions to which the vectors are cut, used as far as an arm has them; by default those that
            the card recommends to keep of each arm. The whole vectors are always measured.
        graphs: What is searched, such as `lightning_monocon.stores.pgvector_graph.PgvectorGraph`; by default graphs of
            FAISS and usearch.

    Raises:
        ImportError: If FAISS or usearch is missing.
    """
    wanted = tuple(dims or ())
    found: list[GraphSearch] = []
    for arm, data in zip(card.arms, sets, strict=True):
        sizes = [k for k in wanted or (card.size_of(arm),) if k <= max(1, arm.scores[0].rank)]
        found += graph_searches(replace(data, arm=arm.name), sizes, graphs)
    return replace(card, graphs=tuple(found))


def _alone(found: Sequence[Score]) -> JudgedScore:
    """Return the score by the first truth, judged without a baseline, with those by the other truths in it."""
    first, *others = (JudgedScore(**vars(each), verdict=judge_alone(each)) for each in found)
    return replace(first, others=tuple(others))


def _card_of(found: JudgedScore, dims: tuple[int, ...]) -> Scorecard:
    """Return the scorecard of one embedding alone, from its score by the first truth and those by the others."""
    cards = [
        Scorecard(
            baseline=score.arm,
            arms=(Arm(score.arm, (score,), score.verdict, (*flags(score), *score.truth.warnings)),),
            dims=dims,
            winners=tuple(winner({score.arm: [score]}, k) for k in dims),
            smallest=smallest_form({score.arm: [score]}, score.arm),
        )
        for score in (found, *found.others)
    ]
    return replace(cards[0], others=tuple(cards[1:]))


def score_set(
    data: EmbeddingSet,
    baseline: EmbeddingSet | None = None,
    dims: Iterable[int] | None = None,
    codes: CodesTried = "fast",
) -> JudgedScore:
    """Score a checked set of embeddings, as :func:`score` does."""
    if baseline is None:
        return _alone(measure_all(data, dims, rounded=True, codes=codes))
    data, baseline = _alike(data, baseline)
    found = measure_all(data, dims, rounded=True, codes=codes)
    # The verdict asks the baseline at full width and at the n99 of the other; a whole frontier would double the time.
    rivals = measure_all(replace(baseline, seed=data.seed), dims=(1,), extra=(found[0].n99,))
    pairs = zip(found, rivals, strict=True)
    first, *others = (JudgedScore(**vars(each), verdict=judge([each], [rival])) for each, rival in pairs)
    return replace(first, others=tuple(others))


def _within_rank(data: EmbeddingSet, dims: tuple[int, ...]) -> None:
    rank = numerical_rank(explained_variance(data.gallery).nan_to_num(0.0)) if dims else 0
    if wrong := [k for k in dims if k != data.dim and not 1 <= k <= rank]:
        raise ValueError(
            f"`dims` must lie between 1 and the gallery's rank, {rank}, or be the whole width, {data.dim}: directions "
            f"beyond the rank hold rounding error only; got {wrong}."
        )


def _alike(data: EmbeddingSet, baseline: EmbeddingSet) -> tuple[EmbeddingSet, EmbeddingSet]:
    """Return both sets, judged by the same truths about the same rows."""
    _same_rows(data, baseline)
    data = with_truths(with_truths_of(data, baseline), baseline)
    baseline = with_truths_of(baseline, data)
    theirs = [truth.name for truth in baseline.judges()]
    for place, truth in enumerate(data.judges()):
        if theirs[place : place + 1] != [truth.name] or baseline.judges()[place].key != truth.key:
            raise ValueError(
                f"`baseline` must be judged by the same truths; {truth.name} is not the same there, which has "
                f"{', '.join(theirs)}: leave them out, and it is judged as the other embeddings are."
            )
    return data, baseline


def _same_rows(data: EmbeddingSet, baseline: EmbeddingSet) -> None:
    for side in ("gallery", "query"):
        name = f"{side}_labels"
        ours, theirs = getattr(data, name), getattr(baseline, name)
        if len(getattr(data, side)) != len(getattr(baseline, side)):
            name = side if ours is None or theirs is None else name
            raise ValueError(
                f"`baseline` must hold the same rows in the same order; its {name} are "
                f"{len(getattr(baseline, side))}, not {len(getattr(data, side))}."
            )
        if ours is not None and theirs is not None and not ours.equal(theirs):
            raise ValueError(
                f"`baseline` must hold the same rows in the same order; its {name} differ in "
                f"{int((ours != theirs).sum())} of {len(ours)} places."
            )
