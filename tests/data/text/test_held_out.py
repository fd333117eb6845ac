# SPDX-License-Identifier: Apache-2.0
import random

from lightning_monocon.data.text.held_out import pair_search
from lightning_monocon.data.text.pair_files import SentencePair


def test_a_search_by_hand() -> None:
    """ "two" asks and answers; "ONE" is "one"; the last pair of the asked is of a sentence with itself."""
    asked = SentencePair(["one", "two", "ONE", "self"], ["two", "three", "four", "Self"])
    others = SentencePair(["other", "two"], ["four", "five"])
    found = pair_search(asked, others)
    assert found.query == ["one", "two", "self"]
    assert sorted(found.gallery) == ["five", "four", "other", "self", "three", "two"]
    answers = {(found.query[q], found.gallery[row]) for q, row in found.answers.tolist()}
    assert answers == {("one", "two"), ("one", "four"), ("two", "three"), ("two", "five")}
    assert {(found.query[q], found.gallery[row]) for q, row in found.same.tolist()} == {
        ("two", "two"),
        ("self", "self"),
    }


def test_a_search_of_one_file_has_no_query_in_its_gallery_that_is_no_answer() -> None:
    pairs = SentencePair(["a", "b", "c"], ["x", "y", "a"])
    found = pair_search(pairs, pairs)
    assert found.gallery == ["a", "x", "y"] and len(found.answers) == 3
    assert found.same.tolist() == [[0, 0]]


def test_every_pair_of_a_query_is_found_once() -> None:
    rng = random.Random(0)

    def drawn(count: int) -> SentencePair:
        return SentencePair(*([rng.choice("abcdefghijklmnop") for _ in range(count)] for _ in range(2)))

    for _ in range(50):
        asked, others = drawn(8), drawn(8)
        found = pair_search(asked, others)
        pairs = {*zip(*asked, strict=True), *zip(*others, strict=True)}
        assert len(found.query) == len({*asked.first}) and {*found.query} == {*asked.first}
        assert {*found.gallery} == {*asked.second, *others.second} | ({*others.first} - {*asked.first})
        assert len(found.gallery) == len({*found.gallery})
        answers = [(found.query[q], found.gallery[row]) for q, row in found.answers.tolist()]
        assert len(answers) == len({*answers})
        assert {*answers} == {(one, two) for one, two in pairs if one in asked.first and one != two}
        assert [found.query[q] for q, _ in found.same.tolist()] == [
            found.gallery[row] for _, row in found.same.tolist()
        ]
        assert len(found.same) == len({*found.query} & {*found.gallery})
