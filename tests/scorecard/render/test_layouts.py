# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from lightning_monocon.scorecard import Scorecard, as_json, read_scorecard

LATER = {"values", "truth", "others", "nulls_left_out"}


def as_before(value: Any) -> Any:
    """What layout 2 wrote of the same card: it lacked some keys at every depth."""
    if isinstance(value, dict):
        return {key: as_before(part) for key, part in value.items() if key not in LATER}
    return [as_before(part) for part in value] if isinstance(value, list) else value


def without_codes(card: dict[str, Any]) -> dict[str, Any]:
    """What layout 3 wrote of the same card, as far as it knew of it."""
    for arm in [*card["arms"], *card["nulls"]]:
        for run in arm["runs"]:
            run["codes"] = None
    for winner in card["byte_winners"]:
        winner["code"] = "int8 in 3 dimensions"
    for other in [*card["others"], *([card["alternative"]] if card["alternative"] else [])]:
        without_codes(other)
    return card


def as_third(card: dict[str, Any]) -> dict[str, Any]:
    """The same with the keys of layout 3."""
    card = json.loads(json.dumps(card))
    for winner in card["byte_winners"]:
        winner |= {"storage": "int8", "k": 3}
        del winner["code"]
    for arm in [*card["arms"], *card["nulls"]]:
        for run in arm["runs"]:
            del run["codes"]
    for part in [card, *card["others"]]:
        if part["smallest"]:
            del part["smallest"]["code"]
    card["others"] = [as_third(other) for other in card["others"]]
    return card


def test_this_layout_and_those_before_are_read_alike(card: Scorecard, tmp_path: Path) -> None:
    written = json.loads(json.dumps(as_json(card)))
    (tmp_path / "now.json").write_text(json.dumps(written))
    assert read_scorecard(tmp_path / "now.json") == written
    (tmp_path / "now.json").write_text(json.dumps({name: part for name, part in written.items() if name != "graphs"}))
    assert read_scorecard(tmp_path / "now.json") == written  # as this layout was at first
    now = without_codes(written)
    third = {**as_third(now), "schema": "lightning-monocon/scorecard/3"}
    del third["graphs"]
    second = {**as_before(third), "schema": "lightning-monocon/scorecard/2"}
    for name, plain in (("third", third), ("second", second)):
        (tmp_path / f"{name}.json").write_text(json.dumps(plain))
        assert read_scorecard(tmp_path / f"{name}.json") == now


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("{", r"`path` must hold JSON; s.json does not"),
        ("[]", r"must hold a scorecard of layout 2, 3 or 4; s.json has None"),
    ],
)
def test_other_files_are_refused(text: str, sentence: str, tmp_path: Path) -> None:
    (tmp_path / "s.json").write_text(text)
    with pytest.raises(ValueError, match=sentence):
        read_scorecard(tmp_path / "s.json")
    with pytest.raises(FileNotFoundError, match=r"must name a scorecard\.json; there is none"):
        read_scorecard(tmp_path / "none.json")
