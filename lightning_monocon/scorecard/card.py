# SPDX-License-Identifier: Apache-2.0
"""Build the scorecard: arms with their scores and verdicts, and the winner at every size."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from lightning_monocon.compat import renamed_function
from lightning_monocon.runs.record import History
from lightning_monocon.scorecard.byte_ranking import ByteWinner, byte_forms, byte_winner
from lightning_monocon.scorecard.causes import Effect, effects
from lightning_monocon.scorecard.certificates import Certificates
from lightning_monocon.scorecard.codes import CodesTried, byte_budgets
from lightning_monocon.scorecard.embeddings import EmbeddingSet
from lightning_monocon.scorecard.flags import flags, training_flags
from lightning_monocon.scorecard.frontier import Measure, default_dims
from lightning_monocon.scorecard.graph_index import GraphSearch
from lightning_monocon.scorecard.known import all_known
from lightning_monocon.scorecard.nulls import NULL_MODELS
from lightning_monocon.scorecard.origin import Origin
from lightning_monocon.scorecard.ranking import Family, Winner, family, float_forms, on_shared_seeds, winner
from lightning_monocon.scorecard.scores import Score, measure_all, measure_spectrum, spectrum_of
from lightning_monocon.scorecard.smallest import Smallest, smallest_form
from lightning_monocon.scorecard.truths import Truth
from lightning_monocon.scorecard.verdict import Verdict, judge, withdrawn


@dataclass(frozen=True, eq=False)
class Arm:
    """Hold one way of making embeddings, with one score per seed.

    Attributes:
        name: Its name in tables and figures.
        scores: One score per seed, seeds ascending.
        verdict: The verdict on all seeds together, against the baseline.
        flags: What to know before believing the figures, over all seeds.
        histories: Records of the training runs, in the order of the scores; empty where there are none.
    """

    name: str
    scores: tuple[Score, ...]
    verdict: Verdict
    flags: tuple[str, ...]
    histories: tuple[History, ...] = ()

    @property
    def seeds(self) -> tuple[int, ...]:
        """Return the seeds that were scored."""
        return tuple(score.seed for score in self.scores)

    @property
    def width(self) -> int:
        """Return the number of dimensions of the vectors."""
        return self.scores[0].dim

    @property
    def label(self) -> str:
        """Return the name for kept dimensions, which says so where the vectors are cut to a prefix."""
        return f"{self.name} (prefix)" if self.scores[0].reading == "prefix" else self.name

    def spread(self, name: str) -> tuple[float, float]:
        """Return mean and standard deviation over seeds of a figure of :class:`Score`; NaN deviation of one seed."""
        return mean_and_deviation([float(getattr(score, name)) for score in self.scores])

    def accuracy(self, k: int, measure: Measure | None = None) -> tuple[float, float]:
        """Return mean and standard deviation over seeds of a measure within ``k`` dimensions."""
        lines = [score.frontier for score in self.scores]
        return mean_and_deviation([line.means(measure)[line.index(k)] for line in lines])


@dataclass(frozen=True, eq=False)
class Scorecard:
    """Hold everything that a comparison found by one truth.

    Attributes:
        baseline: Name of the arm that the others are judged against; cut by PCA, it is their rival at every size.
        arms: All arms, the baseline first.
        dims: Numbers of kept dimensions of the tables.
        winners: The best arm by 5-NN accuracy at each of ``dims``.
        nulls: Null models made from the baseline's first seed, judged like any arm.
        byte_winners: The best arm within powers of two bytes per vector.
        effects: What constraint and start do, where arms that differ in nothing else are present.
        stage: Which checkpoints the embeddings are of.
        alternative: The same arms under the other checkpoint rule, without null models and bytes; None if unknown,
            or if every run's best epoch was its last.
        smallest: The fewest bytes that keep the accuracy of the whole baseline; None if nothing smaller was measured,
            or the baseline itself finds no more than chance.
        origin: Data, recipe, encoder, version, date and command; None before the card is written.
        others: The same arms judged by the other truths that are known of them.
        left_out: Names of null models that this truth leaves no room for.
        graphs: What HNSW graphs find, of each arm's first seed at each size; empty unless it was asked for.
        certificates: What is proved of the runs of each arm that has a head; None unless it was asked for.
    """

    baseline: str
    arms: tuple[Arm, ...]
    dims: tuple[int, ...]
    winners: tuple[Winner, ...]
    nulls: tuple[Arm, ...] = ()
    byte_winners: tuple[ByteWinner, ...] = ()
    effects: tuple[Effect, ...] = ()
    stage: str = "last"
    alternative: Scorecard | None = None
    smallest: Smallest | None = None
    origin: Origin | None = None
    others: tuple[Scorecard, ...] = ()
    left_out: tuple[str, ...] = ()
    graphs: tuple[GraphSearch, ...] = ()
    certificates: Mapping[str, Sequence[Certificates]] | None = None

    @property
    def truth(self) -> Truth:
        """What the arms are judged by; of the baseline's first seed where seeds have rows of their own."""
        return self.arm(self.baseline).scores[0].truth

    def arm(self, name: str) -> Arm:
        """Return the arm of that name.

        Raises:
            KeyError: If there is none; the error names the arms that exist.
        """
        for arm in self.arms:
            if arm.name == name:
                return arm
        raise KeyError(f"`name` must be that of an arm, {', '.join(arm.name for arm in self.arms)}; got {name!r}.")

    def size_of(self, arm: Arm) -> int:
        """Return how many numbers to keep of an arm: those of the bottom line if they are its own, or else its n99."""
        small = self.smallest
        if small and small.within and small.arm == arm.name and small.storage in ("float32", "int8"):
            return small.k
        return max(1, *(score.n99 for score in arm.scores))

    def table(self) -> str:
        """Return the scorecard as plain text; deprecated, call `lightning_monocon.scorecard.as_text` instead."""
        return str(renamed_function("Scorecard.table()", "lightning_monocon.scorecard", "as_text")(self))


def build(
    sets: Mapping[str, Sequence[EmbeddingSet]],
    baseline: str = "encoder",
    histories: Mapping[str, Sequence[History]] | None = None,
    *,
    brief: bool = False,
    dims: Iterable[int] = (),
    with_nulls: bool = True,
    codes: CodesTried = "fast",
) -> Scorecard:
    """Score arms, judge each against the baseline, and name the winner at each size.

    Args:
        sets: For each arm, its embeddings, one set per seed.
        baseline: The arm that the others must beat.
        histories: For each arm, the records of its runs, in the same order.
        brief: Whether to leave out null models and rounded vectors, which take half of the time.
        dims: Numbers of dimensions of the tables, as far as an arm has them, instead of the usual ones.
        with_nulls: Whether to score the null models too.
        codes: Families of codes that compete at each number of bytes: ``"fast"``, or ``"all"``, which takes minutes.

    Raises:
        ModuleNotFoundError: If all codes are asked for, and faiss is not installed.
        ValueError: If the baseline is not among the arms, an arm has no embeddings or two of one seed, or arms are
            judged by different truths or on different queries.
    """
    _check(sets, baseline)
    sets = all_known(sets, baseline)
    names = [baseline, *(name for name in sets if name != baseline)]
    kept = tuple(sorted(set(dims))) or default_dims(max(data.dim for name in names for data in sets[name]))
    tried = NULL_MODELS if with_nulls and not brief else {}
    shams = [score for make in tried.values() for score in _sham(make(sets[baseline][0]))]
    # Every arm is measured at every other arm's n99 as well: n99 is never quoted without its rival at that size.
    spectra = {name: [spectrum_of(data) for data in sets[name]] for name in names}
    found = (int(figures["n99"]) for runs in spectra.values() for figures, _ in runs)
    extra = {*kept, *found, *(sham.n99 for sham in shams)}
    pairs = {name: zip(sets[name], spectra[name], strict=True) for name in names}
    measured = {
        name: [measure_spectrum(data, spectrum, None, extra, not brief, codes) for data, spectrum in pairs[name]]
        for name in names
    }
    cards = []
    for place, truth in enumerate(sets[baseline][0].judges()):
        scores = {name: [run[place] for run in runs] for name, runs in measured.items()}
        mine = [score for score in shams if score.truth.name == truth.name]
        card = _card(scores, mine, kept, histories or {}, brief=brief)
        cards.append(replace(card, left_out=tuple(name for name in tried if name not in {sham.arm for sham in mine})))
    return replace(cards[0], others=tuple(cards[1:]))


def _sham(null: EmbeddingSet | None) -> tuple[Score, ...]:
    """Return the scores of a null model, of which full width and n99 are all that a verdict needs; none of none.

    Null models are made and scored one after the other, for each takes as much memory as an arm.
    """
    return () if null is None else measure_all(null, dims=(1, null.dim))


def _card(
    scores: Mapping[str, Sequence[Score]],
    nulls: Sequence[Score],
    kept: tuple[int, ...],
    histories: Mapping[str, Sequence[History]],
    *,
    brief: bool,
) -> Scorecard:
    """Return the card of one truth; the first arm is the baseline."""
    baseline = next(iter(scores))
    width = max(score.dim for runs in scores.values() for score in runs)
    budgets = () if brief else byte_budgets(width)
    rows = {score.n for score in scores[baseline]}
    # A smaller gallery is easier to search: such an arm is shown and judged, and wins nothing.
    rivals = {name: runs for name, runs in scores.items() if {score.n for score in runs} <= rows}
    together = _family(scores, {*kept, *(max(1, s.n99) for runs in scores.values() for s in runs)}, budgets)
    shams = tuple(_arm(score.arm, [score], scores[baseline][:1]) for score in nulls)
    known = {sham.name: sham.verdict for sham in shams}
    records = {name: histories.get(name, ()) for name in scores}
    arms = tuple(
        _arm(name, runs, scores[baseline], records[name], records[baseline], together) for name, runs in scores.items()
    )
    arms = tuple(replace(arm, verdict=withdrawn(arm.verdict, known)) for arm in arms)
    return Scorecard(
        baseline=baseline,
        arms=arms,
        dims=kept,
        winners=tuple(winner(rivals, k, card=together) for k in kept),
        nulls=shams,
        byte_winners=tuple(best for size in budgets if (best := byte_winner(rivals, size, card=together))),
        effects=effects(scores),
        stage=scores[baseline][0].stage,
        smallest=None if brief else smallest_form(rivals, baseline),
    )


def mean_and_deviation(values: Sequence[float]) -> tuple[float, float]:
    """Return the mean, and the standard deviation with N - 1 (NaN below two values)."""
    return float(np.mean(values)), float(np.std(values, ddof=1)) if len(values) > 1 else math.nan


def _family(arms: Mapping[str, Sequence[Score]], dims: Iterable[int], budgets: Iterable[int]) -> Family:
    """Return all comparisons between arms that the card makes."""
    paired = on_shared_seeds(arms)
    forms = [*(float_forms(paired, k) for k in sorted(dims)), *(byte_forms(paired, budget) for budget in budgets)]
    return family(paired, forms)


def _arm(
    name: str,
    scores: Sequence[Score],
    baseline: Sequence[Score],
    histories: Sequence[History] = (),
    others: Sequence[History] = (),
    together: Family | None = None,
) -> Arm:
    """Judge an arm; ``others`` are the records of the baseline's runs."""
    is_baseline = scores is baseline
    verdict = Verdict("baseline", "what the others must beat") if is_baseline else judge(scores, baseline, together)
    of_scores = (flag for score in scores for flag in (*flags(score), *score.truth.warnings))
    found = dict.fromkeys([*of_scores, *training_flags(histories, others)])
    return Arm(name, tuple(scores), verdict, tuple(found), tuple(histories))


def _check(sets: Mapping[str, Sequence[EmbeddingSet]], baseline: str) -> None:
    if baseline not in sets:
        raise ValueError(
            f"`sets` must hold the baseline {baseline!r}, without which n99 means nothing; got {', '.join(sets)}."
        )
    for name, runs in sets.items():
        seeds = [data.seed for data in runs]
        if not seeds or len(set(seeds)) < len(seeds):
            raise ValueError(f"`sets` must hold one set of embeddings per seed; {name} has seeds {sorted(seeds)}.")
