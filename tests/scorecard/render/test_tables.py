# SPDX-License-Identifier: Apache-2.0
"""The tables of a scorecard: cells, marks and alignment."""

from __future__ import annotations

import math

from lightning_monocon.scorecard import Scorecard
from lightning_monocon.scorecard.render.tables import Marked, Table, accuracy_table, frontier_table, shape_table


def test_text_columns_are_aligned() -> None:
    table = Table(("a", "bb", "why"), (("ccc", "1", "so"), ("e", Marked("<2.0", "*"), "not so")))
    assert table.as_text() == "a       bb  why\n---  -----  ------\nccc      1  so\ne    <2.0*  not so"
    assert table.as_markdown() == "| a | bb | why |\n| --- | ---: | --- |\n| ccc | 1 | so |\n| e | <2.0* | not so |"


def test_a_column_of_figures_that_are_missing_is_no_column_of_words() -> None:
    table = Table(("arm", "n99", "other"), (("a", "n/a", "+3 +- 1"), ("b", "", "-")))
    assert table.words == (True, False, False)


def test_the_frontier_marks_the_winner_and_its_ties(card: Scorecard) -> None:
    table = frontier_table(card)
    assert table.header == ("5-NN % at k =", *map(str, card.dims))
    for column, best in enumerate(card.winners, start=1):
        marks = {row[0]: row[column].mark for row in table.rows}
        assert marks == {
            arm.name: "*" if arm.name == best.arm else "=" if arm.name in best.ties else " " for arm in card.arms
        }
        assert [row[column].text for row in table.rows] == [f"{100 * arm.accuracy(best.k)[0]:.1f}" for arm in card.arms]


def test_n99_stands_beside_the_accuracy_in_as_many_dimensions(card: Scorecard) -> None:
    row = dict(zip(accuracy_table(card).header, accuracy_table(card).rows[2], strict=True))
    assert (row["arm"], row["D"], row["n99"]) == ("narrow", "4", "4.0 ± 0.0")
    for name, arm in (("at n99 %", card.arm("narrow")), ("PCA rival %", card.arm("encoder"))):
        mean, deviation = (100 * share for share in arm.accuracy(4))
        assert row[name] == f"{mean:.1f} ± {deviation:.1f}"


def test_figures_that_do_not_exist_are_not_invented(card: Scorecard) -> None:
    assert math.isnan(card.arm("flat").spread("rmse")[0])
    assert shape_table(card).rows[3] == ("flat", "n/a", "n/a", "0", "1.000 ± 0.000", "n/a", "collapsed")
    assert shape_table(card).rows[2][1:3] == ("(0)", "(0)")  # n99 is the whole width
