# SPDX-License-Identifier: Apache-2.0
"""The sentences of a scorecard: who wins, by how much, and whether that is noise."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from lightning_monocon.scorecard import EmbeddingSet, Scorecard, build
from lightning_monocon.scorecard.render.sentences import (
    Sentence,
    best_lines,
    byte_lines,
    effect_lines,
    headline,
    null_lines,
    points,
    rule_lines,
    verdict_lines,
    versus,
)

Planted = Callable[..., EmbeddingSet]
Sets = dict[str, list[EmbeddingSet]]


def said(lines: list[Sentence]) -> list[str]:
    return [str(line) for line in lines]


def test_a_sentence_reads_the_same_with_and_without_emphasis() -> None:
    assert str(Sentence("mlp", ". It wins.", "compact")) == "mlp: compact. It wins."
    assert str(Sentence("", "It wins.")) == "It wins."


def test_the_words_name_the_winner_the_noise_and_the_rival(card: Scorecard) -> None:
    best, words = "\n".join(said(best_lines(card))), said(verdict_lines(card))
    assert "narrow (" in best and "wins, ahead of" in best
    assert words[0] == "encoder: baseline (what the others must beat)."
    assert words[1].startswith(
        "twin: not distinguishable from the baseline. In 16 dimensions it is within the noise of "
    )
    assert words[2].startswith("narrow: compact. In 4 dimensions it is ahead of encoder cut by PCA to as many (+")
    assert words[3].startswith("flat: collapsed (all rows of the gallery are equal). Beware: ")
    assert [line.word for line in verdict_lines(card)] == [arm.verdict.word for arm in card.arms]
    assert len(null_lines(card)) == 5


def test_the_headline_counts_arms_seeds_and_rows(card: Scorecard, sets: Sets) -> None:
    rows = "The gallery has 600 rows, and there are 300 queries in 8 classes (chance "
    assert str(headline(card)).startswith(
        f"This scorecard compares 4 arms over seeds 0, 1, 2 (mean ± standard deviation). {rows}"
    )
    assert str(headline(card)).endswith("The baseline is encoder. The checkpoint rule is: last epoch.")
    assert str(headline(build({"encoder": sets["encoder"]}, brief=True))).startswith(
        f"This scorecard describes encoder alone. {rows}"
    )
    one = build({name: runs[:1] for name, runs in sets.items()}, brief=True)
    assert " 4 arms on seed 2; a single seed does not show the noise of training. " in str(headline(one))


def test_ties_are_said_to_be_within_the_noise(sets: Sets) -> None:
    card = build({name: sets[name] for name in ("encoder", "twin")}, brief=True)
    last = str(best_lines(card)[-1])
    assert "leads, but is within the noise of" in last and "points, 95 % interval " in last
    assert card.winners[-1].ties and not card.winners[-1].distinguishable


def test_a_null_model_that_passes_for_compact_is_denounced(card: Scorecard) -> None:
    verdict = replace(card.arm("narrow").verdict, word="compact")
    fooled = replace(card, nulls=(replace(card.nulls[0], verdict=verdict), *card.nulls[1:]))
    warning = "untrained head passes for compact here, so the word is withdrawn from every arm."
    assert null_lines(fooled)[-1] == Sentence("Beware", warning)


def test_the_words_name_storage_dimensions_and_noise(planted: Planted) -> None:
    sets = {
        "encoder": [planted(seed=seed, noise=2.0) for seed in range(3)],
        "sharp": [planted(arm="sharp", seed=seed, noise=0.4, draw=1) for seed in range(3)],
        "twin": [planted(arm="twin", seed=seed, noise=0.4, draw=1) for seed in range(3)],
    }
    card = build(sets, with_nulls=False)
    lines = said(byte_lines(card))
    assert [best.bytes for best in card.byte_winners] == [1, 2, 4, 8, 16, 32, 64]
    assert lines[0].startswith("1") and " as " in lines[0] and (" dimensions (" in lines[0] or "-1 (" in lines[0])
    assert all("leads, but is within the noise of twin (+0.0 points, 95 % interval" in line for line in lines)
    assert lines[-1].endswith("; it is ahead of encoder.")


def test_the_words_say_which_does_it(starts: Sets) -> None:
    constraint, start = said(effect_lines(build(starts, brief=True)))
    assert constraint.startswith(
        "The constraint (monotonic against mlp-squared): n99 is 6.0 against 6.0 (difference 0.0, 95 % interval -1.0 to "
    )
    assert constraint.endswith("These seeds show no effect of the constraint on n99.")
    assert start.endswith("The start makes the embedding more compact by more than the noise.")


def test_a_cause_that_spreads_the_variance_is_said_to(starts: Sets) -> None:
    swapped = {
        "encoder": starts["encoder"],
        "mlp": [replace(data, arm="mlp") for data in starts["mlp-squared"]],
        "mlp-squared": [replace(data, arm="mlp-squared") for data in starts["mlp"]],
    }
    (line,) = said(effect_lines(build(swapped, brief=True)))
    assert line.endswith("The start makes the embedding less compact by more than the noise.")


def test_one_seed_tells_nothing(starts: Sets) -> None:
    card = build({name: runs[:1] for name, runs in starts.items()}, brief=True)
    assert all(line.endswith("One seed cannot tell them apart.") for line in said(effect_lines(card)))
    assert not any(effect.compacts for effect in card.effects)


def test_the_other_checkpoint_rule_is_held_against_the_first(starts: Sets, planted: Planted) -> None:
    two = {"encoder": [planted(seed=s, noise=1.2) for s in range(3)], "mlp": starts["mlp"]}
    better = [planted(arm="mlp", seed=s, noise=0.05, draw=4) for s in range(3)]
    best = {n: [replace(data, stage="best") for data in runs] for n, runs in {**two, "mlp": better}.items()}
    worse = {**two, "mlp": [planted(arm="mlp", seed=s, noise=2.5, draw=4) for s in range(3)]}
    card = replace(build(worse, brief=True), alternative=build(best, brief=True))
    lines = said(rule_lines(card))
    assert lines[-1].startswith("n99, last epoch / best by validation: encoder 16.0 / 16.0, mlp 16.0 / ")
    settled = next(line for line in lines if line.startswith("k = 16: "))
    assert settled.startswith('k = 16: Under "last epoch", encoder is best (')
    assert 'under "best by validation", mlp is (' in settled
    assert settled.endswith("The rules disagree by more than the noise.")
    same = said(rule_lines(replace(build(two, brief=True), alternative=build(two, brief=True))))
    assert same[0] == "The same arm is best under both rules at k = 1, 2, 3, 4, 6, 8, 12, 16."


def _with_width(planted: Planted, width: int) -> Scorecard:
    full = planted(arm="full", rank=width, dim=width, noise=0.4, draw=1)
    return build({"encoder": [planted(noise=0.4, rank=8)], "full": [full]}, brief=True)


def test_an_error_that_is_zero_by_definition_is_not_sold_as_a_merit(planted: Planted) -> None:
    line = str(verdict_lines(_with_width(planted, 4))[1])
    assert "RMSE is 0 by definition (n99 is the whole width)" in line
    assert "RMSE is 0.00 times" not in line and "inf" not in line


def test_a_ratio_to_an_error_that_is_zero_by_definition_is_not_made_up(planted: Planted) -> None:
    """The baseline's n99 is its whole width: every other error is infinitely many times its own."""
    sets = {"encoder": [planted(rank=4, dim=4, noise=0.4)], "wide": [planted(arm="wide", rank=8, noise=0.4, draw=1)]}
    card = build(sets)
    line, nulls = str(verdict_lines(card)[1]), " ".join(said(null_lines(card)))
    assert "RMSE is not comparable (the baseline's is 0 by definition: its n99 is its whole width)" in line
    assert "inf times" not in line and "its RMSE and FVU are 0 by definition" in nulls


def test_arms_with_other_seeds_and_two_seeds_are_named(planted: Planted) -> None:
    sets = {
        "encoder": [planted(seed=seed) for seed in (0, 1)],
        "twin": [planted(arm="twin", seed=seed, draw=1) for seed in (0, 1, 4, 5)],
    }
    first, second, *_ = said(best_lines(build(sets, brief=True, dims=[16])))
    assert first == (
        "Seeds: Arms are compared on the seeds that all of them have (0, 1). twin also has 4, 5, which only the tables "
        "include."
    )
    assert second.startswith("Two seeds: An interval over two seeds reaches nine standard deviations to either side")
    alike = {name: runs[:1] for name, runs in sets.items()}
    assert all(line.about.startswith("k = ") for line in best_lines(build(alike, brief=True, dims=[16])))


def test_a_lead_that_one_comparison_alone_would_show_is_given_with_both_intervals(card: Scorecard) -> None:
    best = card.winners[-1]
    margin = replace(best.margins[0], low=0.001, high=0.03, difference=0.0155, simultaneous=(-0.01, 0.041))
    shown = replace(card, winners=(replace(best, margins=(margin, *best.margins[1:])),))
    (line,) = said(best_lines(shown))
    assert "(+1.6 points, 95 % interval +0.1 to +3.0, -1.0 to +4.1 with all comparisons of this card)" in line
    assert "leads, but is within the noise of " in line
    behind = replace(margin, low=-0.03, high=-0.001, difference=-0.0155, simultaneous=(-0.041, 0.01))
    assert points(behind) == ("-1.6 points, 95 % interval -3.0 to -0.1, -4.1 to +1.0 with all comparisons of this card")
    assert points(replace(behind, simultaneous=(-0.041, -0.0005))).endswith("interval -3.0 to -0.1")


def test_a_wide_interval_is_not_called_alike(card: Scorecard) -> None:
    margin = replace(card.winners[-1].margins[0], low=-0.004, high=0.41, difference=0.2, simultaneous=(-0.004, 0.41))
    assert versus(margin) == "not distinguishable on these queries and seeds from"
    assert versus(replace(margin, high=0.004)) == "within the noise of"
    assert versus(replace(margin, low=0.1, simultaneous=(0.1, 0.41))) == "ahead of"
    assert versus(replace(margin, high=-0.1, simultaneous=(-0.4, -0.1))) == "behind"


def test_all_that_an_arm_is_not_told_from_have_the_preposition_of_the_first(card: Scorecard) -> None:
    best = card.winners[-1]
    margin = replace(best.margins[0], low=-0.2, high=0.2, difference=0.0, simultaneous=(-0.2, 0.2))
    shown = replace(card, winners=(replace(best, margins=(margin, replace(margin, other="third"))),))
    (line,) = said(best_lines(shown))
    assert "not distinguishable on these queries and seeds from" in line and ") and from third." in line
