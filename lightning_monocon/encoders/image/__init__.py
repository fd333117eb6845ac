# SPDX-License-Identifier: Apache-2.0
"""Encode images: a small CNN, residual networks, and models of torchvision and transformers."""

from lightning_monocon.encoders.image.small_cnn import SmallCNN

__all__ = ["SmallCNN"]
