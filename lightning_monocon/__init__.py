# SPDX-License-Identifier: Apache-2.0
"""Compact, robust embeddings with monotonic contrastive heads."""
