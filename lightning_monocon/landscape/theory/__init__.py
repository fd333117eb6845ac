# SPDX-License-Identifier: Apache-2.0
"""Test what the semantic-landscape paradigm predicts: laws over runs, walks, percolation, traps and forecasts."""
