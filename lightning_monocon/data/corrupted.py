# SPDX-License-Identifier: Apache-2.0
"""Say which data can damage the queries of their test, as users damage them."""

from __future__ import annotations

from typing import Any, ClassVar, Protocol, runtime_checkable

from torch.utils.data import DataLoader

SEVERITIES = (1, 2, 3, 4, 5)


def check_severity(severity: int) -> int:
    """Return the severity; raise ValueError unless it is one of `SEVERITIES`."""
    if severity not in SEVERITIES:
        raise ValueError(f"`severity` must be a whole number from 1 to 5, got {severity!r}. 1 is the mildest.")
    return severity


@runtime_checkable
class CorruptibleData(Protocol):
    """Describe a data module whose test queries `monocon compare --robustness` can corrupt."""

    corruptions: ClassVar[tuple[str, ...]]
    """Names of the corruptions."""

    def corrupted(self, name: str, severity: int) -> DataLoader[Any]:
        """Return the queries that a comparison judges by, corrupted, in their order or numbered by their labels.

        Args:
            name: One of ``corruptions``.
            severity: From 1, mild, to 5.
        """
        ...
