# SPDX-License-Identifier: Apache-2.0
"""Inputs that nobody thought of, drawn by hypothesis."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, Phase, given, settings

from reliability.outcome import Campaign, Outcome
from reliability.properties import LOSS, METRICS, check_loss, check_metrics


def _examples(check: Callable[..., None], drawn: dict[str, Any], count: int) -> tuple[int, str]:
    """Return how many examples held, and what the first that did not was; derandomised where there are few."""
    held = [0]

    def counted(**example: Any) -> None:
        check(**example)
        held[0] += 1

    counted.__name__ = check.__name__
    options = settings(
        max_examples=count,
        deadline=None,
        derandomize=True,
        database=None,
        phases=[Phase.generate, Phase.shrink],
        suppress_health_check=list(HealthCheck),
    )
    try:
        options(given(**drawn)(counted))()
    except Exception as error:
        return held[0], f"{type(error).__name__}: {str(error).strip().splitlines()[0] if str(error).strip() else ''}"
    return held[0], ""


def _campaign(fault: str, check: Callable[..., None], drawn: dict[str, Any], note: str) -> Callable[..., Outcome]:
    def run(trials: int, folder: Path) -> Outcome:
        held, failure = _examples(check, drawn, trials)
        return Outcome(fault, held, 0, int(bool(failure)), failure or note)

    return run


METRIC_NOTE = "duplicates, constants, low rank, n < d, zero rows, offsets, scales, four dtypes; float64 oracles"
LOSS_NOTE = "value and gradient of the loss, value and monotonicity of the head; float64 oracles"
CAMPAIGNS = {
    "fuzz_metrics": Campaign(
        _campaign("hostile embeddings, metrics", check_metrics, METRICS, METRIC_NOTE), 500, 20_000
    ),
    "fuzz_loss_and_head": Campaign(
        _campaign("hostile batches, loss and head", check_loss, LOSS, LOSS_NOTE), 300, 5_000
    ),
}
