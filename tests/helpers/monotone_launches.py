# SPDX-License-Identifier: Apache-2.0
"""Every launch in the table of the monotone kernels, for `helpers.aot` to compile.

``CASES`` has each in the form that needs most registers, signed squares; ``OTHERS`` every map, sign, activation and
dtype that a call can bring and that changes the code. The map acts before a product and the activation after it: each
is varied with the other fixed.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from typing import get_args

from helpers.aot import SHARED_LIMIT, Case, with_ones
from lightning_monocon.kernels.monotone_linear.backward import (
    finish_dw_kernel,
    monotone_bwd_kernel,
    monotone_dw_kernel,
    monotone_dx_kernel,
)
from lightning_monocon.kernels.monotone_linear.configurations import (
    CHEAP_MAPS,
    MAP_TILE,
    SIXTEEN_BIT,
    Configuration,
    Launch,
    Mode,
    configuration,
)
from lightning_monocon.kernels.monotone_linear.kernel import map_weight_kernel, monotone_fwd_kernel
from lightning_monocon.kernels.monotone_linear.reference import ACTIVATIONS, PARAMETRIZATIONS

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


def case(
    field: str,
    launch: Launch,
    target: str,
    parametrization: str = "square",
    signed: bool = True,
    activation: str = "leaky_relu",
    pointers: tuple[tuple[str, str], ...] = (),
) -> Case:
    constants = {"PARAM": parametrization, "DOT": launch.dot, "TILE": launch.tile}
    name = f"{field} {launch.dot} {'x'.join(map(str, launch.tile))}"
    if field != "dw":
        constants["ACT"] = activation
        name += f" {activation}"
    if field == "forward":
        constants["SWAP"] = launch.swap
    if not signed:
        constants["s_ptr"] = None
    return Case(
        name=f"{name} {'signed ' if signed else ''}{parametrization}{''.join(f' {p}={t}' for p, t in pointers)}",
        kernel=FIELDS[field],
        types=types(f"*{launch.dot}" if launch.dot in SIXTEEN_BIT else "*fp32") | dict(pointers),
        constants=constants,
        targets=(target,),
        num_warps=launch.warps,
        num_stages=launch.stages,
        multiples_of_16=SIZES,
    )


def launches(c: Configuration) -> list[tuple[str, Launch]]:
    found = [(field, getattr(c, field)) for field in FIELDS]
    return [(field, launch) for field, launch in found if launch is not None]


def others(field: str, launch: Launch, target: str) -> Iterator[Case]:
    """Yield what a call can make of one launch, besides signed squares."""
    on_load = PARAMETRIZATIONS if field == "dw" else CHEAP_MAPS  # the dear maps reach the other tiles mapped
    for parametrization, signed in product(on_load, (True, False)):
        # a mapped weight has its signs inside, and free weights have none
        if (parametrization, signed) not in (("square", True), ("none", True)):
            yield case(field, launch, target, parametrization, signed)
    if field != "dw":
        for activation in ACTIVATIONS:
            if activation != "leaky_relu":
                yield case(field, launch, target, activation=activation)
    if launch.dot in SIXTEEN_BIT:
        # a first layer reads float32 rows, a last one writes them, and mapped weights are 16 bits wide
        edges = {"forward": ("x_ptr", "y_ptr"), "dx": ("dz_ptr", "dx_ptr"), "dw": ("x_ptr", "dz_ptr")}
        for pointer in edges.get(field, ("x_ptr", "dz_ptr")):
            yield case(field, launch, target, pointers=((pointer, "*fp32"),))
        if field in ("forward", "dx"):
            yield case(field, launch, target, "none", False, pointers=(("w_ptr", f"*{launch.dot}"),))


def elementwise(name: str, parametrization: str, signed: bool) -> Case:
    constants = {"PARAM": parametrization, "TILE": MAP_TILE} | ({} if signed else {"s_ptr": None})
    function = map_weight_kernel if name == "map" else finish_dw_kernel
    constants |= {} if name == "map" else {"PARTS": 8}
    label = f"{name} {'signed ' if signed else ''}{parametrization}"
    return Case(label, function, types("*fp32") | {"v_ptr": "*bf16"}, constants, multiples_of_16=SIZES)


# Equal launches are compiled once. With every run of the tests: bf16, whose code fp16 repeats on other operands.
_NEEDED = {
    (field, launch, target): None
    for target in SHARED_LIMIT
    for mode in get_args(Mode)
    for field, launch in launches(configuration(target, mode))
}
_ELEMENTWISE = list(product(("map", "finish"), PARAMETRIZATIONS, (True, False)))
_LONGEST = ("softplus", True)
CASES = [
    *(case(*needed) for needed in _NEEDED if needed[1].dot != "fp16"),
    *(elementwise(name, *variant) for name, *variant in _ELEMENTWISE if tuple(variant) == _LONGEST),
]
OTHERS = [
    *(case(*needed) for needed in _NEEDED if needed[1].dot == "fp16"),
    *(found for needed in _NEEDED for found in others(*needed)),
    *(elementwise(name, *variant) for name, *variant in _ELEMENTWISE if tuple(variant) != _LONGEST),
]
ONES = with_ones([*CASES, *OTHERS])
