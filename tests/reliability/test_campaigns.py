# SPDX-License-Identifier: Apache-2.0
"""Every campaign with its fast budget; `make torture` runs the full ones."""

from pathlib import Path

import pytest

from reliability.campaigns import load
from reliability.outcome import Campaign, Outcome
from reliability.torture import table

FAST = {name: campaign for name, campaign in load().items() if campaign.fast}


@pytest.mark.parametrize("name", FAST)
def test_nothing_is_lost_and_nothing_is_wrong(name: str, tmp_path: Path) -> None:
    campaign: Campaign = FAST[name]
    outcome = campaign.run(campaign.fast, tmp_path)
    assert outcome.trials >= campaign.fast
    assert outcome.held, outcome


def test_an_outcome_without_trials_has_held_nothing() -> None:
    assert not Outcome("nothing", 0, 0, 0).held
    assert not Outcome("something", 3, 0, 1).held
    assert Outcome("something", 3, 0, 0).held


def test_the_table_has_a_line_for_each_outcome() -> None:
    lines = table([Outcome("kill", 25, 0, 0), Outcome("cut", 10, 1, 0, "named")]).splitlines()
    assert [cell.strip() for cell in lines[0].strip("|").split("|")] == ["fault", "trials", "lost", "wrong", "note"]
    assert [cell.strip() for cell in lines[3].strip("|").split("|")] == ["cut", "10", "1", "0", "named"]
