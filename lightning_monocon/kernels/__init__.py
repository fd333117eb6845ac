# SPDX-License-Identifier: Apache-2.0
"""Compute the heavy operations: each folder has a public function, Triton kernels, and a readable `reference.py`."""
