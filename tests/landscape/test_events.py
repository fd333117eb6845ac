# SPDX-License-Identifier: Apache-2.0
"""Events as plain values."""

from __future__ import annotations

import pytest

from lightning_monocon.landscape.events import Event


def test_events_survive_json_and_compare_by_value() -> None:
    event = Event("grokking", 5, 6, 7, 0, 1, abruptness=float("nan"), change={"val": 0.9})
    plain = event.to_dict()
    assert plain["abruptness"] is None
    assert Event.from_dict(plain) == event
    assert event != Event("grokking", 5, 6, 8, 0, 1)
    with pytest.raises(ValueError, match="`kind` must be one of 'memorisation', 'grokking'"):
        Event("miracle")
