# SPDX-License-Identifier: Apache-2.0
"""Which tile, which products and which route a monotone stack takes on a device: one readable table, no Triton.

Routes, from the number of rows M:

    on load   M <= ROWS_ON_LOAD and a cheap map (square, abs, none): a tile maps its weights as it loads them; one
              launch a layer forward, one backward. Such batches are bound by launches.
    mapped    else, for a named float32 mode: the weights are mapped once per call, then tiled.
    library   else (16-bit operands, or "auto" as torch itself multiplies): mapped once, then cuBLAS.

Tiles come from compiled code: every entry compiles without a spill for its architecture (a test asserts it). Their
speed was not measured on a GPU.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

import torch

Precision = Literal["auto", "ieee", "tf32", "bf16x3", "bf16x6", "bf16", "fp16"]
Mode = Literal["ieee", "tf32", "bf16x3", "bf16x6", "bf16", "fp16"]

SIXTEEN_BIT: dict[str, torch.dtype] = {"bf16": torch.bfloat16, "fp16": torch.float16}
CHEAP_MAPS = ("square", "abs", "none")
AUTO_FROM = {"sm_80": 1, "sm_90": 1}
"""Rows from which ``backend="auto"`` takes the kernels: every route launches fewer kernels than torch, and the large
ones multiply with the same library. From operation and launch counts, not measured on a GPU; architectures without an
entry are left to torch."""

ROWS_ON_LOAD = 1024  # beyond, tiles that read float32 weights are bound by L2: 52 against 85 operations a byte
MAX_WIDTH = 16384  # of a layer; wider ones were not considered
MAP_TILE = (32, 128)  # of the elementwise kernels


class Launch(NamedTuple):
    """How one kernel runs."""

    dot: Mode
    tile: tuple[int, int, int]
    warps: int
    stages: int
    swap: bool = False


class Configuration(NamedTuple):
    """The kernels of one architecture in one mode."""

    forward: Launch
    dx: Launch
    dw: Launch
    both: Launch | None = None
    """dX and dW in one launch; None where that spills."""
    rows_on_load: int = ROWS_ON_LOAD
    rows_per_part: int = 2048
    """Rows that one program of dW adds up; a larger batch is split into parts."""


def _sixteen(dot: Mode, stages: int, stages_both: int, swap: bool) -> Configuration:
    tile = Launch(dot, (64, 64, 64), 4, stages)
    return Configuration(tile._replace(swap=swap), tile, tile, tile._replace(stages=stages_both))


def _thirty_two(dot: Mode, dw: Mode, stages: int, swap: bool) -> Configuration:
    tile = Launch(dot, (64, 64, 32), 4, stages)
    return Configuration(tile._replace(swap=swap), tile, tile._replace(dot=dw), tile._replace(dot=dw))


_IEEE = Launch("ieee", (32, 32, 32), 4, 3)  # scalar units: larger tiles spill
_NARROW = Launch("bf16x6", (64, 32, 32), 4, 3)  # split products of 64 x 64 spill on sm_80

TABLE: dict[str, dict[Mode, Configuration]] = {
    "sm_80": {
        "bf16": _sixteen("bf16", 3, 3, swap=True),
        "fp16": _sixteen("fp16", 3, 3, swap=True),
        "tf32": _thirty_two("tf32", "tf32", 3, swap=True),
        "bf16x3": _thirty_two("bf16x3", "bf16x3", 3, swap=True)._replace(both=_NARROW._replace(dot="bf16x3")),
        "bf16x6": Configuration(_NARROW._replace(swap=True), _NARROW, _NARROW, _NARROW),
        "ieee": Configuration(_IEEE._replace(swap=True), _IEEE, _IEEE, _IEEE),
    },
    "sm_90": {
        "bf16": _sixteen("bf16", 4, 3, swap=True),
        "fp16": _sixteen("fp16", 4, 3, swap=True),
        # wgmma reads tf32 only along rows, and both operands of dW lie the other way: three bf16 products instead
        "tf32": _thirty_two("tf32", "bf16x3", 3, swap=True),
        "bf16x3": _thirty_two("bf16x3", "bf16x3", 3, swap=True),
        "bf16x6": _thirty_two("bf16x6", "bf16x6", 3, swap=True),
        "ieee": Configuration(_IEEE._replace(swap=True), _IEEE, _IEEE, _IEEE),
    },
    "gfx942": {
        "bf16": _sixteen("bf16", 2, 2, swap=False),
        "fp16": _sixteen("fp16", 2, 2, swap=False),
        "tf32": _thirty_two("tf32", "tf32", 2, swap=False),
        # the matrix units multiply float32 itself; three bf16 products spill scalar registers
        "bf16x3": _thirty_two("ieee", "ieee", 2, swap=False),
        "bf16x6": _thirty_two("ieee", "ieee", 2, swap=False),
        "ieee": _thirty_two("ieee", "ieee", 2, swap=False),
    },
}

_SMALL = (32, 16, 32)  # several tiles, loop steps and parts within the sizes that the interpreter can bear


def configuration(architecture: str, mode: Mode) -> Configuration:
    """Return the kernels' launches; an NVIDIA architecture without a row runs as sm_80, whose code it understands."""
    if architecture == "cpu":
        small = Launch(mode, _SMALL, 1, 1)
        return Configuration(small._replace(swap=True), small, small, small, rows_on_load=64, rows_per_part=48)
    return TABLE.get(architecture, TABLE["gfx942" if architecture.startswith("gfx") else "sm_80"])[mode]


def resolve(precision: Precision) -> Mode:
    """Return the mode that "auto" stands for: as accurate as torch's own float32 products are set to be."""
    if precision != "auto":
        return precision
    return "bf16x6" if torch.get_float32_matmul_precision() == "highest" else "tf32"


def takes_library(precision: Precision, rows: int, limit: int = ROWS_ON_LOAD) -> bool:
    """Return whether cuBLAS multiplies: large batches, in the modes that it can honour."""
    return rows > limit and (precision == "auto" or precision in SIXTEEN_BIT)
