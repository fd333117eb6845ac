# SPDX-License-Identifier: Apache-2.0
"""The loss's kernels as shipped, for `helpers.aot` to compile: every tile size with every variant of a call."""

from __future__ import annotations

from itertools import product
from typing import Any

from helpers.aot import SHARED_LIMIT, Case, with_ones
from lightning_monocon.kernels.supcon import kernel, kernel_rows
from lightning_monocon.kernels.supcon.launch import FINISH_BLOCK, HALF_SCALE, TILE_ROWS_TOGETHER, product_for, tiles_for

SIZES = dict.fromkeys(("M", "N", "D", "stride", "out_stride", "start", "SLOTS", "y_stride", "z_stride"), "i32")
# class sums, labels, labels with ignored rows; one exponential, running
VARIANTS = [
    {"LABELS": labels, "IGNORE": ignore, "BOUNDED": bounded}
    for (labels, ignore), bounded in product(((False, False), (True, False), (True, True)), (True, False))
]
# two sets: class sums with and without ignored rows
BETWEEN = [
    {"LABELS": False, "IGNORE": ignore, "BOUNDED": bounded} for ignore, bounded in product((False, True), (True, False))
]


def tiles(target: str, dim: int, precision: str, variant: dict[str, bool], between: bool = False) -> list[Case]:
    """Return the tile kernels of one variant, for rows of `dim` numbers, within one set or between two."""
    half = precision == "fp16"
    size = tiles_for(target, 2 if half else 4, dim)
    even = dim % size.depth == 0
    types = SIZES | dict.fromkeys(("anchors_ptr", "rows_ptr", "out_ptr"), "*fp16" if half else "*fp32")
    types |= dict.fromkeys(("anchor_ids_ptr", "row_ids_ptr"), "*i32")
    types |= dict.fromkeys(("slots_ptr", "temperature_ptr", "own_ptr", "other_ptr", "share_ptr"), "*fp32")
    block = {"BLOCK_M": size.block, "BLOCK_N": size.block, "BLOCK_D": size.depth, "EVEN_D": even}
    shared = variant | block | {"PRECISION": "ieee" if half else product_for(target, precision)}
    label = " ".join([precision, f"D={dim}", *(name.lower() for name, value in variant.items() if value)])
    schedule = {"targets": (target,), "num_warps": size.num_warps, "num_stages": size.num_stages}
    schedule |= {"multiples_of_16": ("D", "stride", "out_stride") if even else ()}

    def case(name: str, function: Any, constants: dict[str, Any]) -> Case:
        return Case(f"{name} {label}", function, types, shared | constants, **schedule)

    weights = {"SCALE": HALF_SCALE if half else 1.0, "GROUP": TILE_ROWS_TOGETHER}
    if between:
        return [
            case("denominators between sets", kernel.denominators_kernel, {"SYMMETRIC": False}),
            case("weights of anchors", kernel.weights_kernel, weights | {"ROW": True, "COL": False}),
        ]
    return [
        case("denominators", kernel.denominators_kernel, {"SYMMETRIC": True}),
        case("denominators across ranks", kernel.denominators_kernel, {"SYMMETRIC": False}),
        case("weights", kernel.weights_kernel, weights | {"ROW": True, "COL": True}),
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


PRECISIONS = ("fp16", "bf16x3", "tf32", "ieee")
# a multiple of every depth, and one of none: then rows are loaded number by number, by smaller tiles
EVEN, ODD = 512, 509


def shipped(
    dim: int, precisions: tuple[str, ...] = PRECISIONS, variants: list[dict[str, bool]] | None = None
) -> list[Case]:
    """Return the tile kernels of one set, and of two where no variants are named, for every architecture."""
    return [
        case
        for target in SHARED_LIMIT
        for precision in precisions
        for between, choices in (
            (False, VARIANTS if variants is None else variants),
            (True, [] if variants else BETWEEN),
        )
        for variant in choices
        for case in tiles(target, dim, precision, variant, between)
    ]


# the leanest and the one that needs most registers come with every run of the tests, the others with the slow ones
CASES = rows()
CASES += shipped(EVEN, ("fp16", "bf16x3"), [VARIANTS[0], VARIANTS[-2]])
CASES += shipped(ODD, ("fp16", "bf16x3"), [VARIANTS[-2]])
_FAST = {(case.targets, case.name) for case in CASES}
OTHERS = [case for case in shipped(EVEN) + shipped(ODD) if (case.targets, case.name) not in _FAST]
ONES = with_ones([*CASES, *OTHERS])
