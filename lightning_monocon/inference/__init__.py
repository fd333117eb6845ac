# SPDX-License-Identifier: Apache-2.0
"""Embed data with a trained module, and keep what was embedded as a corpus of shards."""
