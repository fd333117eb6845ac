# SPDX-License-Identifier: Apache-2.0
"""How long a test waits for another process: only one that hangs takes as long, on any machine and under any load."""

PATIENCE = 1800.0
"""Seconds."""
