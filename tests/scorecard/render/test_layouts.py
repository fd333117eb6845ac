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


def test_this_layout_and_the_one_before_are_read_alike(card: Scorecard, tmp_path: Path) -> None:
    now = json.loads(json.dumps(as_json(card)))
    for name, plain in (("now", now), ("before", {**as_before(now), "schema": "lightning-monocon/scorecard/2"})):
        path = tmp_path / f"{name}.json"
        path.write_text(json.dumps(plain))
        assert read_scorecard(path) == now


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("{", r"`path` must hold JSON; s.json does not"),
        ("[]", r"must hold a scorecard of layout 2 or 3; s.json has None"),
    ],
)
def test_other_files_are_refused(text: str, sentence: str, tmp_path: Path) -> None:
    (tmp_path / "s.json").write_text(text)
    with pytest.raises(ValueError, match=sentence):
        read_scorecard(tmp_path / "s.json")
    with pytest.raises(FileNotFoundError, match=r"must name a scorecard\.json; there is none"):
        read_scorecard(tmp_path / "none.json")
