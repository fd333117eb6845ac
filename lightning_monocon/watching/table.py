# SPDX-License-Identifier: Apache-2.0
"""The events of a landscape as a table, for the loggers that take one."""

from __future__ import annotations

from collections.abc import Sequence

from lightning_monocon.figure_logging import Rows
from lightning_monocon.landscape import Event

COLUMNS = ("kind", "group", "step_left", "step_entered", "step_confirmed", "source", "target", "abruptness", "reason")


def event_table(events: Sequence[Event]) -> Rows:
    """One row an event, the columns `COLUMNS`."""
    plain = [event.to_dict() for event in events]
    return [[row[name] for name in COLUMNS] for row in plain]
