# SPDX-License-Identifier: Apache-2.0
"""Apply the 14 operations to a batch of uint8 images on its device, to the bit as Pillow does.

Three families share a pass each: whatever moves pixels is one gather, whatever blends with a degenerate image is one
blend, whatever maps grey levels is one look-up table. No pass looks at values on the host, so a GPU never waits; on a
CPU, where looking is free, a pass visits only the images that are due.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from lightning_monocon.data.images.augmentation.draws import index

_ONE = 1 << 16
"""Pillow's fixed-point one in nearest-neighbour transforms."""


def transform(images: Tensor, number: Tensor, magnitude: Tensor) -> Tensor:
    """Return images ``(B, C, H, W)``, uint8, each after its own operation, as `draws.operations` gives them."""
    first = {"move": index("ShearX"), "blend": index("Brightness"), "map": index("Posterize")}
    moved = (number >= first["move"]) & (number < first["blend"])
    blended = (number >= first["blend"]) & (number < first["map"])
    images = _where_due(images, number, magnitude, moved, _move)
    images = _where_due(images, number, magnitude, blended, _blend)
    return _where_due(images, number, magnitude, number >= first["map"], _map_levels)


def erase(images: Tensor, rectangles: Tensor) -> Tensor:
    """Return the images with zeros inside their rectangles.

    Args:
        images: ``(B, C, H, W)``.
        rectangles: ``(top, left, height, width)``, shape ``(B, 4)``.
    """
    top, left, tall, wide = rectangles[:, :, None].unbind(1)
    rows = torch.arange(images.shape[2], device=images.device)
    columns = torch.arange(images.shape[3], device=images.device)
    in_rows, in_columns = (rows >= top) & (rows < top + tall), (columns >= left) & (columns < left + wide)
    return images.masked_fill((in_rows[:, :, None] & in_columns[:, None, :])[:, None], 0)


def _where_due(
    images: Tensor, number: Tensor, magnitude: Tensor, due: Tensor, change: Callable[[Tensor, Tensor, Tensor], Tensor]
) -> Tensor:
    if not _looking_is_free(images):
        return torch.where(due[:, None, None, None], change(images, number, magnitude), images)
    rows = due.nonzero()[:, 0]
    return images.index_put((rows,), change(images[rows], number[rows], magnitude[rows])) if len(rows) else images


def _looking_is_free(images: Tensor) -> bool:
    """Return whether the host may read values without waiting for a device."""
    return images.device.type == "cpu"


def _move(images: Tensor, number: Tensor, magnitude: Tensor) -> Tensor:
    """Shear, translate or rotate: output pixel (x, y) is the input pixel under an affine map, or black."""
    height, width = images.shape[2:]
    a, b, c, d, e, f = (_fixed(part) for part in _matrices(number, magnitude, height, width))
    x, y = torch.arange(width, device=images.device), torch.arange(height, device=images.device)[:, None]
    source_x = (c + a * x + b * y) >> 16
    source_y = (f + d * x + e * y) >> 16
    inside = (source_x >= 0) & (source_x < width) & (source_y >= 0) & (source_y < height)
    source = torch.where(inside, source_y * width + source_x, 0).flatten(1)
    moved = images.flatten(2).gather(2, source[:, None].expand(-1, images.shape[1], -1))
    return moved.view_as(images).masked_fill(~inside[:, None], 0)


def _matrices(number: Tensor, magnitude: Tensor, height: int, width: int) -> list[Tensor]:
    """Return the six numbers ``(B,)`` of each inverse map at pixel centres; the identity for other operations."""
    one, zero = torch.ones_like(magnitude), torch.zeros_like(magnitude)
    angle = torch.where(number == index("Rotate"), magnitude * (math.pi / 180), zero)
    cos, sin = angle.cos(), angle.sin()
    b = torch.where(number == index("ShearX"), magnitude, -sin)
    d = torch.where(number == index("ShearY"), magnitude, sin)
    # a rotation keeps the centre, a shear the upper left corner
    turned = number == index("Rotate")
    c = torch.where(turned, width / 2 - cos * (width / 2) + sin * (height / 2), zero)
    f = torch.where(turned, height / 2 - sin * (width / 2) - cos * (height / 2), zero)
    c = torch.where(number == index("TranslateX"), -magnitude, c)
    f = torch.where(number == index("TranslateY"), -magnitude, f)
    a = e = torch.where(turned, cos, one)
    return [a, b, c + 0.5 * a + 0.5 * b, d, e, f + 0.5 * d + 0.5 * e]


def _fixed(value: Tensor) -> Tensor:
    """Return ``(B, 1, 1)`` fixed-point integers, rounded as Pillow rounds them."""
    return torch.floor(value * _ONE + 0.5).long()[:, None, None]


def _blend(images: Tensor, number: Tensor, magnitude: Tensor) -> Tensor:
    """Change brightness, colour, contrast or sharpness: blend a degenerate image with the image."""
    grey = _luma(images)
    pixels = grey.shape[2] * grey.shape[3]
    mean = (2 * grey.flatten(1).sum(dim=1, dtype=torch.int64) + pixels) // (2 * pixels)
    kind = number[:, None, None, None]
    degenerate = torch.where(kind == index("Contrast"), mean[:, None, None, None].to(grey.dtype), 0)
    degenerate = torch.where(kind == index("Color"), grey, degenerate)
    degenerate = torch.where(kind == index("Sharpness"), _smooth(images), degenerate).float()
    factor = (1.0 + magnitude).float()[:, None, None, None]
    blended = degenerate + factor * (images.float() - degenerate)
    return blended.clamp(0, 255).to(torch.uint8)  # truncates, as Pillow does


def _luma(images: Tensor) -> Tensor:
    """Return the grey images ``(B, 1, H, W)``, int32 (ITU-R 601-2 in Pillow's fixed point)."""
    if images.shape[1] == 1:
        return images.int()
    red, green, blue = images.int().unbind(1)
    return ((19595 * red + 38470 * green + 7471 * blue + (1 << 15)) >> 16)[:, None]


def _smooth(images: Tensor) -> Tensor:
    """Return the images under the kernel (1 1 1, 1 5 1, 1 1 1) / 13, int32; the border stays."""
    smooth = images.int()
    if min(images.shape[2:]) < 3:
        return smooth
    lines = smooth[:, :, :-2] + smooth[:, :, 1:-1] + smooth[:, :, 2:]
    box = lines[..., :-2] + lines[..., 1:-1] + lines[..., 2:]
    inner = (2 * (box + 4 * smooth[:, :, 1:-1, 1:-1]) + 13) // 26  # rounds: half a step is not an integer of 13ths
    return torch.nn.functional.pad(inner, (1, 1, 1, 1)) + smooth * _border(smooth)


def _border(images: Tensor) -> Tensor:
    """Return 1 on the outermost pixels and 0 inside, shape ``(H, W)``, int32."""
    border = torch.ones(images.shape[2:], dtype=torch.int32, device=images.device)
    border[1:-1, 1:-1] = 0
    return border


def _map_levels(images: Tensor, number: Tensor, magnitude: Tensor) -> Tensor:
    """Posterise, solarise, stretch the contrast or equalise by a table of 256 levels for each image and channel."""
    levels = torch.arange(256, device=images.device)
    kind, amount = number[:, None, None], magnitude[:, None, None]
    pixels = images.flatten(2).long()
    lost = torch.where(kind == index("Posterize"), 8 - amount, 0).long()
    table = ((levels >> lost) << lost).expand(*pixels.shape[:2], -1)
    table = torch.where((kind == index("Solarize")) & (levels >= amount), 255 - levels, table)
    low, high = pixels.amin(dim=2, keepdim=True), pixels.amax(dim=2, keepdim=True)
    table = torch.where(kind == index("AutoContrast"), _stretched(levels, low, high, magnitude.dtype), table)
    table = torch.where(kind == index("Equalize"), _equalised(levels, pixels, high), table)
    return table.gather(2, pixels).view_as(images).to(torch.uint8)


def _stretched(levels: Tensor, low: Tensor, high: Tensor, dtype: torch.dtype) -> Tensor:
    """Return the tables ``(B, C, 256)`` that bring the darkest level to 0 and the brightest to 255."""
    span = (high - low).clamp(min=1).to(dtype)
    scale = torch.full_like(span, 255) / span  # `255 / span` would multiply by a rounded reciprocal
    offset = -low * scale
    table = (levels * scale + offset).trunc().clamp(0, 255).long()
    return torch.where(high > low, table, levels)


def _equalised(levels: Tensor, pixels: Tensor, high: Tensor) -> Tensor:
    """Return the tables ``(B, C, 256)`` that make the histogram as flat as Pillow makes it."""
    rows = torch.arange(pixels.shape[0] * pixels.shape[1], device=pixels.device).view(*pixels.shape[:2], 1)
    flat = (rows * 256 + pixels).flatten()  # one dimension: there deterministic mode has an algorithm
    counts = flat.new_zeros(rows.numel() * 256).scatter_add_(0, flat, torch.ones_like(flat))
    counts = counts.view(*pixels.shape[:2], 256)
    step = (pixels.shape[2] - counts.gather(2, high)) // 255
    before = counts.cumsum(dim=2) - counts
    table = ((before + step // 2) // step.clamp(min=1)).clamp(max=255)
    return torch.where(step > 0, table, levels)
