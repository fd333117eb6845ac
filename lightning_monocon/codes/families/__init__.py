# SPDX-License-Identifier: Apache-2.0
"""Fit codes, one family a file."""
