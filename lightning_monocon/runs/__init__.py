# SPDX-License-Identifier: Apache-2.0
"""Keep a run on disk: its folder, its record, its checkpoints, and what a resume compares."""

from lightning_monocon.compat import moved_name

__all__: list[str] = []


def __getattr__(name: str) -> object:
    """Return a name that this module held while it was a file, with a warning that says where it is now."""
    homes = {"RECORD": "runs.record", "RecordLogger": "loggers.record", "RunFolder": "runs.folder"}
    return moved_name(__name__, name, homes)
