# SPDX-License-Identifier: Apache-2.0
"""Follow a run over its semantic landscape: states, events, graph, and the merging of runs. No Lightning in it.

The package operationalises the paradigm of arXiv 2307.09550 on a labelled probe; it does not prove it. The toolkit
that tests what the paradigm predicts is `lightning_monocon.landscape.theory`.
"""

from importlib import import_module
from typing import TYPE_CHECKING

from lightning_monocon.compat import moved_name
from lightning_monocon.landscape.credence import credence, fallibility, match_perplexity, soft_knn_credence
from lightning_monocon.landscape.events import KINDS, TRANSITIONS, Event
from lightning_monocon.landscape.phases import GeometryPhase, geometry_phases
from lightning_monocon.landscape.recorded import events, figure

if TYPE_CHECKING:
    from lightning_monocon.landscape import theory
    from lightning_monocon.landscape.merge import first_passage, merge_runs
    from lightning_monocon.landscape.rates import garwood_interval
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

_LATER = {
    "LandscapeTracker": "tracker",
    "first_passage": "merge",
    "garwood_interval": "rates",
    "merge_runs": "merge",
}
"""Names whose modules need networkx or scipy.stats; scorecards, which draw phases, do not wait for these."""

if not TYPE_CHECKING:  # a type checker that saw it would accept every misspelt name

    def __getattr__(name: str) -> object:
        """Import what needs large packages at its first use, and names of release 0.1.0 with a warning."""
        if name in _LATER:
            return getattr(import_module(f"{__name__}.{_LATER[name]}"), name)
        if name.startswith("__"):  # what Python itself asks of a module
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        theory = import_module(f"{__name__}.theory")
        if name == "theory":
            return theory
        moved = dict.fromkeys(theory.__all__, "landscape.theory")
        barriers = dict.fromkeys(("barrier_height", "semantic_barrier"), "landscape.barriers")
        return moved_name(__name__, name, moved | barriers)
