# SPDX-License-Identifier: Apache-2.0
"""The loss's kernels as shipped, for ``aot.py`` to compile: every tile size with the variants that a call can take."""

from __future__ import annotations

from itertools import product
from typing import Any

from aot import Case

from lightning_monocon.kernels.supcon import kernel, kernel_rows
from lightning_monocon.kernels.supcon.launch import FINISH_BLOCK, HALF_SCALE, TILE_ROWS_TOGETHER, TILES, Tiles

SIZES = dict.fromkeys(("M", "N", "D", "stride", "out_stride", "start", "SLOTS", "y_stride", "z_stride"), "i32")
# class sums, labels, labels with ignored rows; one exponential, running
VARIANTS = [
    {"LABELS": labels, "IGNORE": ignore, "BOUNDED": bounded}
    for (labels, ignore), bounded in product(((False, False), (True, False), (True, True)), (True, False))
]


def tiles(target: str, size: Tiles, precision: str, variant: dict[str, bool]) -> list[Case]:
    """Return the tile kernels of one variant; a D that does not divide the depth is the harder to compile."""
    half = precision == "fp16"
    number = "*fp16" if half else "*fp32"
    types = SIZES | dict.fromkeys(("anchors_ptr", "rows_ptr", "out_ptr"), number)
    types |= dict.fromkeys(("anchor_ids_ptr", "row_ids_ptr"), "*i32")
    types |= dict.fromkeys(("slots_ptr", "temperature_ptr", "own_ptr", "other_ptr", "share_ptr"), "*fp32")
    block = {"BLOCK_M": size.block, "BLOCK_N": size.block, "BLOCK_D": size.depth}
    shared = variant | block | {"PRECISION": "ieee" if half else precision}
    label = f"{precision} " + " ".join(name.lower() for name, value in variant.items() if value)
    schedule = {"targets": (target,), "num_warps": size.num_warps, "num_stages": size.num_stages}

    def case(name: str, function: Any, constants: dict[str, Any], even: bool = True) -> Case:
        constants = shared | constants | {"EVEN_D": even}
        wide = ("D", "stride", "out_stride") if even else ()
        return Case(f"{name} {label}", function, types, constants, multiples_of_16=wide, **schedule)

    return [
        case("denominators", kernel.denominators_kernel, {"SYMMETRIC": True}),
        case("denominators across ranks", kernel.denominators_kernel, {"SYMMETRIC": False}, even=False),
        case(
            "weights",
            kernel.weights_kernel,
            {"ROW": True, "COL": True, "SCALE": HALF_SCALE if half else 1.0, "GROUP": TILE_ROWS_TOGETHER},
        ),
    ]


def rows() -> list[Case]:
    """Return the kernels that work row by row."""
    names = ("r_ptr", "dz_ptr", "grad_ptr", "temperature_ptr", "averaged_ptr", "dy_ptr", "along_ptr", "slots_ptr")
    names += ("mean_positive_ptr", "paired_ptr", "loss_ptr", "scale_ptr", "share_ptr", "y_ptr")
    types = SIZES | dict.fromkeys(names, "*fp32") | {"z_ptr": "*fp16", "factor": "fp32"}
    unit = Case("unit rows", kernel_rows.unit_rows_kernel, types, {"BLOCK_D": 1024})
    back = Case(
        "unit rows backward", kernel_rows.unit_rows_backward_kernel, types, {"BLOCK_D": 1024, "NORMALIZE": True}
    )
    finish = [
        Case(
            f"finish labels={labels} bounded={bounded}",
            kernel_rows.finish_kernel,
            types,
            {"LABELS": labels, "BOUNDED": bounded, "BLOCK": FINISH_BLOCK},
        )
        for labels, bounded in product((False, True), repeat=2)
    ]
    return [unit, back, *finish]


PRECISIONS = {2: ("fp16",), 4: ("bf16x3", "tf32")}


def shipped(variants: list[dict[str, bool]], tf32: bool = False) -> list[Case]:
    """Return the tile kernels of all tile sizes for these variants."""
    return [
        case
        for target, sizes in TILES.items()
        for number_bytes, size in sizes.items()
        for precision in PRECISIONS[number_bytes]
        for variant in variants
        if (precision == "tf32") == tf32
        for case in tiles(target, size, precision, variant)
    ]


# the leanest and the one that needs most registers come with every run of the tests, the others with the slow ones
EXTREMES = [VARIANTS[0], VARIANTS[-1]]
CASES = rows() + shipped(EXTREMES)
OTHERS = shipped(VARIANTS[1:-1]) + shipped(VARIANTS, tf32=True)
