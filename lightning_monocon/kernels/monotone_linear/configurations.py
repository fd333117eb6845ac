# SPDX-License-Identifier: Apache-2.0
"""Choose the tiles, products and route of a monotone stack on a device, without Triton.

The number of rows M decides the route:

    on load   if M <= ROWS_ON_LOAD and the map is cheap (square, abs, none): a tile maps its weights as it loads them,
              with one launch per layer forward and one backward. Such batches are bound by launches.
    mapped    else, for a named float32 mode: the weights are mapped once per call, then tiled.
    library   else (16-bit operands, or "auto" as torch itself multiplies): mapped once, then multiplied by cuBLAS.

Every entry compiles without register spills for its architecture, which a test asserts. The speed of the tiles was not
measured on a GPU.
"""

from __future__ import annotations

from typing import Any, Literal, NamedTuple, cast

import torch

Precision = Literal["auto", "ieee", "tf32", "bf16x3", "bf16x6", "bf16", "fp16"]
Mode = Literal["ieee", "tf32", "bf16x3", "bf16x6", "bf16", "fp16"]

FLOAT32_MODES = ("ieee", "tf32", "bf16x3", "bf16x6")
SIXTEEN_BIT: dict[str, torch.dtype] = {"bf16": torch.bfloat16, "fp16": torch.float16}
CHEAP_MAPS = ("square", "abs", "none")
AUTO_FROM = {"sm_80": 1, "sm_90": 1}
"""Rows from which ``backend="auto"`` takes the kernels: every route launches fewer kernels than torch, and the routes
for large batches multiply with the same library. This follows from counts of operations and launches and was not
measured on a GPU. Architectures without an entry are left to torch."""

ROWS_ON_LOAD = 1024  # beyond, tiles that read float32 weights are bound by L2: 52 operations per byte against 85
MAX_WIDTH = 16384  # of a layer; wider ones were not considered
MAP_TILE = (32, 128)  # of the elementwise kernels


class Launch(NamedTuple):
    """Hold the arguments of one kernel launch."""

    dot: Mode
    tile: tuple[int, int, int]
    warps: int
    stages: int
    swap: bool = False

    @property
    def meta(self) -> dict[str, Any]:
        """The compile-time arguments that every kernel with a product takes."""
        return {"DOT": self.dot, "TILE": self.tile, "num_warps": self.warps, "num_stages": self.stages}


class Configuration(NamedTuple):
    """Hold the launches for one architecture in one mode."""

    forward: Launch
    dx: Launch
    dw: Launch
    both: Launch | None = None
    """dX and dW in one launch; None if that would spill registers."""
    rows_on_load: int = ROWS_ON_LOAD
    rows_per_part: int = 2048
    """Rows that one program of dW sums; a larger batch is split into parts."""


def _sixteen(dot: Mode, stages: int, stages_both: int, swap: bool) -> Configuration:
    tile = Launch(dot, (64, 64, 64), 4, stages)
    return Configuration(tile._replace(swap=swap), tile, tile, tile._replace(stages=stages_both))


def _thirty_two(dot: Mode, dw: Mode, stages: int, swap: bool) -> Configuration:
    tile = Launch(dot, (64, 64, 32), 4, stages)
    return Configuration(tile._replace(swap=swap), tile, tile._replace(dot=dw), tile._replace(dot=dw))


def _whole(launch: Launch) -> Configuration:
    """Return one launch for everything."""
    return Configuration(launch, launch, launch, launch)


_IEEE = Launch("ieee", (32, 32, 32), 4, 3)  # scalar units: larger tiles spill
_NARROW = Launch("bf16x6", (64, 32, 32), 4, 3)  # split products of 64 x 64 spill on sm_80
_NARROWEST = _NARROW._replace(tile=(32, 32, 32))  # and with Triton 3.8 six products of 64 x 32 where dW is summed

TABLE: dict[str, dict[Mode, Configuration]] = {
    "sm_80": {
        "bf16": _sixteen("bf16", 3, 3, swap=True),
        "fp16": _sixteen("fp16", 3, 3, swap=True),
        "tf32": _thirty_two("tf32", "tf32", 3, swap=True),
        "bf16x3": _thirty_two("bf16x3", "bf16x3", 3, swap=True)._replace(both=_NARROW._replace(dot="bf16x3")),
        "bf16x6": Configuration(_NARROW._replace(swap=True), _NARROW, _NARROWEST, _NARROWEST),
        "ieee": Configuration(_IEEE._replace(swap=True), _IEEE, _IEEE, _IEEE),
    },
    "sm_90": {
        "bf16": _sixteen("bf16", 4, 3, swap=True),
        "fp16": _sixteen("fp16", 4, 3, swap=True),
        # wgmma reads tf32 only along rows, and both operands of dW are transposed: three bf16 products instead
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
# the matrix units of MI200 multiply float32, and no other card of AMD's than gfx942 has TF32
TABLE["gfx90a"] = TABLE["gfx942"] | {"tf32": TABLE["gfx942"]["ieee"]}
_SCALAR = dict.fromkeys(FLOAT32_MODES, _whole(_IEEE._replace(stages=2)))
for _radeon in ("gfx1100", "gfx1200"):  # matrix units for 16-bit numbers only, and half as many threads a warp
    _wide = {mode: _whole(Launch(cast("Mode", mode), (64, 64, 64), 8, 2)) for mode in SIXTEEN_BIT}
    TABLE[_radeon] = cast("dict[Mode, Configuration]", _SCALAR | _wide)
# Triton 3.7 compiles no product for the tensor cores of Turing, and rounded operands spill thousands of registers
TABLE["sm_75"] = cast("dict[Mode, Configuration]", _SCALAR | dict.fromkeys(SIXTEEN_BIT, _SCALAR["ieee"]))

_SMALL = (32, 16, 32)  # several tiles, loop steps and parts, at sizes that the interpreter can handle


def configuration(architecture: str, mode: Mode) -> Configuration:
    """Return the launches; an architecture without an entry uses those of the nearest that does no more than it."""
    if architecture == "cpu":
        small = Launch(mode, _SMALL, 1, 1)
        return Configuration(small._replace(swap=True), small, small, small, rows_on_load=64, rows_per_part=48)
    return TABLE[nearest(architecture)][mode]


def nearest(architecture: str) -> str:
    """Return the architecture of the table whose code suits a device.

    Example:
        >>> [nearest(name) for name in ("sm_90", "sm_120", "sm_70", "gfx950", "gfx1151", "gfx1201")]
        ['sm_90', 'sm_80', 'sm_75', 'gfx90a', 'gfx1100', 'gfx1200']
    """
    if architecture in TABLE:
        return architecture
    if architecture.startswith("gfx1"):
        return "gfx1200" if architecture.startswith("gfx12") else "gfx1100"
    if architecture.startswith("gfx"):
        return "gfx90a"
    return "sm_75" if architecture.startswith("sm_7") else "sm_80"


def resolve(precision: Precision) -> Mode:
    """Return the mode that "auto" stands for, as accurate as torch's setting for float32 products."""
    if precision != "auto":
        return precision
    return "bf16x6" if torch.get_float32_matmul_precision() == "highest" else "tf32"


def takes_library(precision: Precision, rows: int, limit: int = ROWS_ON_LOAD) -> bool:
    """Return whether cuBLAS multiplies: for large batches, in the modes that it supports."""
    return rows > limit and (precision == "auto" or precision in SIXTEEN_BIT)
