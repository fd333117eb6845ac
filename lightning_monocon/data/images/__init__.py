# SPDX-License-Identifier: Apache-2.0
"""Load images from archives, tables and folders, with augmentations that resume exactly."""

from lightning_monocon.data.images.base import ImageData

__all__ = ["ImageData"]
