# SPDX-License-Identifier: Apache-2.0
"""Read what a run has recorded: its events as a list, and its figure."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING

from lightning_monocon.landscape.events import Event

if TYPE_CHECKING:
    from matplotlib.figure import Figure

EVENTS, FOLDER = "events.jsonl", "landscape"


def events(run: str | os.PathLike[str]) -> list[Event]:
    """Return the events of a run, in the order in which they were reported.

    A ``provisional`` event stays after the change that it announced is confirmed, or withdrawn as an ``instability``:
    leave these events out by their kind, or keep changes of state alone by `Event.is_transition`.

    Args:
        run: The folder of the run, or its landscape folder.

    Raises:
        TypeError: If ``run`` is not a path.
        ValueError: If there is no ``events.jsonl``, or a line of it is damaged.
    """
    folder = _folder(run)
    places = [folder / FOLDER / EVENTS, folder / EVENTS]
    found = next((place for place in places if place.is_file()), None)
    if found is None:
        raise ValueError(
            f"`run` must be a folder with {FOLDER}/{EVENTS} or {EVENTS}; got '{run}'. Train the run with "
            "`SemanticLandscape`, which writes it when training ends."
        )
    read: list[Event] = []
    for number, line in enumerate(found.read_text(encoding="utf-8").splitlines(), start=1):
        try:
            read.append(Event.from_dict(json.loads(line)))
        except (ValueError, KeyError, TypeError) as error:
            raise ValueError(
                f"`run` must hold a whole {EVENTS}; line {number} of '{found}' is not an event "
                f"({type(error).__name__}). Remove the file and let the run write it again."
            ) from error
    return read


def figure(run: str | os.PathLike[str]) -> Figure:
    """Return the figure of a run: its credences and fallibilities over the steps, and the graph of its states.

    Args:
        run: The folder of the run, or its landscape folder.

    Raises:
        TypeError: If ``run`` is not a path.
        ValueError: If there is no landscape, or its file is damaged.
    """
    folder = _folder(run)
    # drawing is a floor above, and Matplotlib takes long to import
    from lightning_monocon.watching.figure import draw_landscape
    from lightning_monocon.watching.files import read_tracker

    tracker, _ = read_tracker(folder, "run")
    return draw_landscape(tracker.trajectory, tracker.graph())


def _folder(run: object) -> Path:
    """Return the folder of a run as a path."""
    if not isinstance(run, str | os.PathLike):
        raise TypeError(
            f"`run` must be the path of a run's folder, a str or Path; got {run!r}. Pass the folder, such as 'runs/a'."
        )
    return Path(run)
