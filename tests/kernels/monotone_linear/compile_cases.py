# SPDX-License-Identifier: Apache-2.0
"""Every launch in the table of the monotone kernels, in the form that needs most registers: signed squares."""

from __future__ import annotations

from aot import Case

from lightning_monocon.kernels.monotone_linear.backward import (
    finish_dw_kernel,
    monotone_bwd_kernel,
    monotone_dw_kernel,
    monotone_dx_kernel,
)
from lightning_monocon.kernels.monotone_linear.configurations import MAP_TILE, SIXTEEN_BIT, TABLE, Configuration, Launch
from lightning_monocon.kernels.monotone_linear.kernel import map_weight_kernel, monotone_fwd_kernel

SIZES = ("M", "N", "K", "rows", "x_stride", "w_stride", "y_stride", "dz_stride")
FIELDS = {
    "forward": monotone_fwd_kernel,
    "dx": monotone_dx_kernel,
    "dw": monotone_dw_kernel,
    "both": monotone_bwd_kernel,
}


def types(activations: str) -> dict[str, str]:
    """Return the arguments' types where hidden layers are kept as ``activations``."""
    pointers = dict.fromkeys(("x_ptr", "y_ptr", "dz_ptr", "dx_ptr"), activations)
    others = ("w_ptr", "b_ptr", "dw_ptr", "db_ptr", "parts_ptr", "sums_ptr", "v_ptr")
    return pointers | dict.fromkeys(others, "*fp32") | dict.fromkeys(SIZES, "i32") | {"s_ptr": "*i8"}


def case(field: str, launch: Launch, target: str) -> Case:
    kernel = FIELDS[field]
    constants = {"PARAM": "square", "DOT": launch.dot, "TILE": launch.tile}
    if field != "dw":
        constants["ACT"] = "leaky_relu"
    if field == "forward":
        constants["SWAP"] = launch.swap
    return Case(
        name=f"{field} {launch.dot} {'x'.join(map(str, launch.tile))}",
        kernel=kernel,
        types=types(f"*{launch.dot}" if launch.dot in SIXTEEN_BIT else "*fp32"),
        constants=constants,
        targets=(target,),
        num_warps=launch.warps,
        num_stages=launch.stages,
        multiples_of_16=SIZES,
    )


def launches(configuration: Configuration) -> list[tuple[str, Launch]]:
    found = [(field, getattr(configuration, field)) for field in FIELDS]
    return [(field, launch) for field, launch in found if launch is not None]


# fp16 launches are those of bf16 with another name for the operands; equal launches are compiled once.
_NEEDED = {
    (field, launch, target): None
    for target, modes in TABLE.items()
    for mode, configuration in modes.items()
    if mode != "fp16"
    for field, launch in launches(configuration)
}
_ELEMENTWISE = {"PARAM": "softplus", "TILE": MAP_TILE}  # the longest map
CASES = [
    *(case(*needed) for needed in _NEEDED),
    Case("map", map_weight_kernel, types("*fp32") | {"v_ptr": "*bf16"}, _ELEMENTWISE, multiples_of_16=SIZES),
    Case("finish", finish_dw_kernel, types("*fp32"), _ELEMENTWISE | {"PARTS": 8}, multiples_of_16=SIZES),
]
