# SPDX-License-Identifier: Apache-2.0
"""Name the codes that `monocon shrink` fits and compares: those of `lightning_monocon.codes.candidates`."""

from __future__ import annotations

from lightning_monocon.codes.candidates import (
    BUDGETS,
    FAMILIES,
    Candidate,
    Family,
    candidates,
    larger_candidates,
    stored_candidates,
)

__all__ = ["BUDGETS", "FAMILIES", "Candidate", "Family", "candidates", "larger_candidates", "stored_candidates"]
