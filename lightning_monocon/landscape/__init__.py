# SPDX-License-Identifier: Apache-2.0
"""Follow a run over its semantic landscape: states, events, graph, and the merging of runs. No Lightning in it.

The package operationalises the paradigm of arXiv 2307.09550 on a labelled probe; it does not prove it. The toolkit
that tests what the paradigm predicts is `lightning_monocon.landscape.theory`.
"""

from typing import TYPE_CHECKING

from lightning_monocon.compat import moved_name
from lightning_monocon.landscape import theory
from lightning_monocon.landscape.credence import credence, fallibility, match_perplexity, soft_knn_credence
from lightning_monocon.landscape.events import KINDS, TRANSITIONS, Event
from lightning_monocon.landscape.merge import first_passage, merge_runs
from lightning_monocon.landscape.phases import GeometryPhase, geometry_phases
from lightning_monocon.landscape.rates import garwood_interval
from lightning_monocon.landscape.recorded import events, figure
from lightning_monocon.landscape.tracker import LandscapeTracker

__all__ = [
    "KINDS",
    "TRANSITIONS",
    "Event",
    "GeometryPhase",
    "LandscapeTracker",
    "credence",
    "events",
    "fallibility",
    "figure",
    "first_passage",
    "garwood_interval",
    "geometry_phases",
    "match_perplexity",
    "merge_runs",
    "soft_knn_credence",
    "theory",
]

_MOVED = dict.fromkeys(theory.__all__, "landscape.theory") | dict.fromkeys(
    ("barrier_height", "semantic_barrier"), "landscape.barriers"
)

if not TYPE_CHECKING:  # a type checker that saw it would accept every misspelt name

    def __getattr__(name: str) -> object:
        """Return a name that this package listed in release 0.1.0, with a warning that says where it is now."""
        return moved_name(__name__, name, _MOVED)
