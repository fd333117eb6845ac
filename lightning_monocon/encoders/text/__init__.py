# SPDX-License-Identifier: Apache-2.0
"""Encode sentences with models of transformers and sentence-transformers."""

from lightning_monocon.encoders.text.model import TextEncoder

__all__ = ["TextEncoder"]
