# SPDX-License-Identifier: Apache-2.0
"""Launch the kernels of one monotone layer. Imports Triton, so import this module only where kernels run."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor

from lightning_monocon.kernels.monotone_linear.backward import (
    finish_dw_kernel,
    monotone_bwd_kernel,
    monotone_dw_kernel,
    monotone_dx_kernel,
)
from lightning_monocon.kernels.monotone_linear.configurations import MAP_TILE, Configuration, Launch
from lightning_monocon.kernels.monotone_linear.kernel import map_weight_kernel, monotone_fwd_kernel
from lightning_monocon.kernels.monotone_linear.reference import Activation, Parametrization


class Weight(NamedTuple):
    """Hold a weight and how a kernel maps it."""

    tensor: Tensor
    """(N, K)."""
    parametrization: Parametrization
    signs: Tensor | None

    @property
    def arguments(self) -> dict[str, Any]:
        """The arguments of a kernel that loads and maps this weight."""
        rows = _rows(self.tensor)
        signs = None if self.signs is None else self.signs.contiguous()  # a kernel reads them without a stride
        return {"w_ptr": rows, "s_ptr": signs, "w_stride": rows.stride(0), "PARAM": self.parametrization}


def map_weight(weight: Weight, dtype: torch.dtype) -> Tensor:
    """Return the effective weight in ``dtype``, (N, K)."""
    n, k = weight.tensor.shape
    mapped = torch.empty(n, k, dtype=dtype, device=weight.tensor.device)
    map_weight_kernel[_map_grid(n, k)](v_ptr=mapped, N=n, K=k, TILE=MAP_TILE, **weight.arguments)
    return mapped


def layer_forward(
    x: Tensor, weight: Weight, bias: Tensor, activation: Activation, dtype: torch.dtype, launch: Launch
) -> Tensor:
    """Return the layer's output (M, N) in ``dtype``."""
    x = _rows(x)
    (m, k), n = x.shape, len(weight.tensor)
    y = torch.empty(m, n, dtype=dtype, device=x.device)
    monotone_fwd_kernel[(_tiles(launch, m, n),)](
        x_ptr=x,
        b_ptr=bias.contiguous(),
        y_ptr=y,
        M=m,
        N=n,
        K=k,
        x_stride=x.stride(0),
        y_stride=y.stride(0),
        ACT=activation,
        SWAP=launch.swap,
        **weight.arguments,
        **launch.meta,
    )
    return y


def layer_dx(
    dz: Tensor, weight: Weight, x: Tensor, activation: Activation, dtype: torch.dtype, launch: Launch
) -> Tensor:
    """Return the gradient (M, K) before the ``activation`` that made ``x``, in ``dtype``."""
    dz, x = _rows(dz), _rows(x)
    (m, n), k = dz.shape, x.shape[1]
    dx = torch.empty(m, k, dtype=dtype, device=dz.device)
    monotone_dx_kernel[(_tiles(launch, m, k, columns=2),)](
        dz_ptr=dz,
        x_ptr=x,
        dx_ptr=dx,
        M=m,
        N=n,
        K=k,
        dz_stride=dz.stride(0),
        x_stride=x.stride(0),
        ACT=activation,
        **weight.arguments,
        **launch.meta,
    )
    return dx


def layer_dw(dz: Tensor, x: Tensor, weight: Weight, c: Configuration) -> tuple[Tensor, Tensor]:
    """Return the gradients of the raw weight (N, K), in its dtype, and of the bias (N,), in float32."""
    dz, x = _rows(dz), _rows(x)
    (m, n), k = dz.shape, x.shape[1]
    launch, rows = c.dw, c.rows_per_part
    parts = -(-m // rows)
    whole = parts == 1
    # the map's derivative multiplies the sum of all parts
    mapped = weight if whole else Weight(weight.tensor, "none", None)
    dw = torch.empty(parts, n, k, dtype=weight.tensor.dtype if whole else torch.float32, device=dz.device)
    db = torch.empty(parts, n, dtype=torch.float32, device=dz.device)
    monotone_dw_kernel[(_tiles(launch, n, k, rows=1, columns=2), parts)](
        dz_ptr=dz,
        x_ptr=x,
        dw_ptr=dw,
        db_ptr=db,
        M=m,
        N=n,
        K=k,
        rows=rows,
        dz_stride=dz.stride(0),
        x_stride=x.stride(0),
        **mapped.arguments,
        **launch.meta,
    )
    return (dw[0], db[0]) if whole else _finish(dw, db, weight)


def _finish(parts: Tensor, sums: Tensor, weight: Weight) -> tuple[Tensor, Tensor]:
    """Sum the parts (P, N, K) and (P, N), and multiply by the derivative of the map."""
    count, n, k = parts.shape
    dw = torch.empty(n, k, dtype=weight.tensor.dtype, device=parts.device)
    db = torch.empty(n, dtype=torch.float32, device=parts.device)
    finish_dw_kernel[_map_grid(n, k)](
        parts_ptr=parts, sums_ptr=sums, dw_ptr=dw, db_ptr=db, N=n, K=k, PARTS=count, TILE=MAP_TILE, **weight.arguments
    )
    return dw, db


def layer_both(
    dz: Tensor, weight: Weight, x: Tensor, activation: Activation, dtype: torch.dtype, launch: Launch
) -> tuple[Tensor, Tensor, Tensor]:
    """Return the results of `layer_dx` and `layer_dw` from one launch; the weight is raw."""
    dz, x = dz.contiguous(), _rows(x)
    (m, n), k = dz.shape, x.shape[1]
    dx = torch.empty(m, k, dtype=dtype, device=dz.device)
    dw = torch.empty(n, k, dtype=weight.tensor.dtype, device=dz.device)
    db = torch.empty(n, dtype=torch.float32, device=dz.device)
    programs = _tiles(launch, m, k, columns=2) + _tiles(launch, n, k, rows=1, columns=2)
    monotone_bwd_kernel[(programs,)](
        dz_ptr=dz,
        x_ptr=x,
        dx_ptr=dx,
        dw_ptr=dw,
        db_ptr=db,
        M=m,
        N=n,
        K=k,
        x_stride=x.stride(0),
        ACT=activation,
        **weight.arguments,
        **launch.meta,
    )
    return dx, dw, db


def _rows(tensor: Tensor) -> Tensor:
    """Return the tensor with its last axis contiguous, as the kernels read it."""
    return tensor if tensor.stride(-1) == 1 else tensor.contiguous()


def _tiles(launch: Launch, height: int, width: int, rows: int = 0, columns: int = 1) -> int:
    """Return the number of tiles that cover (height, width); ``rows`` and ``columns`` index the sides of a tile."""
    return -(-height // launch.tile[rows]) * -(-width // launch.tile[columns])


def _map_grid(n: int, k: int) -> tuple[int, int]:
    return -(-n // MAP_TILE[0]), -(-k // MAP_TILE[1])
