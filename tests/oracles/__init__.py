# SPDX-License-Identifier: Apache-2.0
"""Slow float64 truths that import nothing of the package."""
