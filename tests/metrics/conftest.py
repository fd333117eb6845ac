# SPDX-License-Identifier: Apache-2.0
"""Batches for every metric."""

from __future__ import annotations

from typing import Any

import pytest
from helpers.metric_cases import example_batches


@pytest.fixture
def batches() -> list[dict[str, Any]]:
    return example_batches()
