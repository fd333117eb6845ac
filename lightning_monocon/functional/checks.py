# SPDX-License-Identifier: Apache-2.0
"""Check the arguments of metrics and of the whole package; an error names argument, rule, value and remedy."""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from typing import Literal

import torch
from torch import Tensor

NanStrategy = Literal["error", "warn", "ignore"]
_FLOATS = (torch.float16, torch.bfloat16, torch.float32, torch.float64)


class DegenerateSampleWarning(UserWarning):
    """A statistic is undefined for these rows, so its value is NaN."""


def warn_degenerate(cause: str) -> None:
    """Warn that a value is NaN and name the cause."""
    warnings.warn(f"{cause}; the value is NaN.", DegenerateSampleWarning, stacklevel=3)


def check_embeddings(embeddings: Tensor, name: str = "embeddings", width: int | None = None) -> Tensor:
    """Return ``embeddings`` detached if they are a floating ``(N, D)`` tensor with ``D >= 1``.

    Raises:
        TypeError: If they are not a tensor, or not float16, bfloat16, float32 or float64.
        ValueError: If they are not two-dimensional, have no features, or have not ``width`` features.
    """
    if not isinstance(embeddings, Tensor):
        raise TypeError(f"`{name}` must be a torch.Tensor of shape (N, D); got {type(embeddings).__name__}.")
    if embeddings.dtype not in _FLOATS:
        raise TypeError(
            f"`{name}` must be float16, bfloat16, float32 or float64; got {embeddings.dtype}. Cast with `.float()`."
        )
    if embeddings.ndim != 2 or embeddings.shape[1] == 0:
        raise ValueError(f"`{name}` must be (N, D) with D >= 1; got shape {tuple(embeddings.shape)}.")
    if width is not None and embeddings.shape[1] != width:
        raise ValueError(
            f"`{name}` must have {width} features like the rows before; got {embeddings.shape[1]}."
            " Use one metric per embedding."
        )
    return embeddings.detach()


def as_float32(rows: Tensor, name: str) -> Tensor:
    """Return rows as float32.

    Raises:
        ValueError: If float32 holds infinity for one of their numbers.
    """
    found = rows.float()
    if not torch.isfinite(found).all():
        raise ValueError(
            f"`{name}` must lie within the range of float32, up to {torch.finfo(torch.float32).max:.3g}, where lengths "
            f"matter; got {float(rows.abs().max()):.3g}: divide all rows by one number."
        )
    return found


def check_labels(labels: Tensor | None, rows: int, name: str = "labels") -> Tensor:
    """Return ``labels`` as int64 if they are ``rows`` integers.

    Raises:
        TypeError: If they are missing, not a tensor, or not integers.
        ValueError: If their shape is not ``(rows,)``.
    """
    if not isinstance(labels, Tensor):
        got = "None" if labels is None else type(labels).__name__
        raise TypeError(f"`{name}` must be an integer tensor, one label per embedding; got {got}.")
    if labels.is_floating_point() or labels.is_complex() or labels.dtype == torch.bool:
        raise TypeError(f"`{name}` must be integers; got {labels.dtype}. Cast class indices with `.long()`.")
    if labels.shape != (rows,):
        raise ValueError(f"`{name}` must hold {rows} integers, one per embedding; got shape {tuple(labels.shape)}.")
    return labels.detach().to(torch.int64)


def check_choice(name: str, value: object, known: Iterable[object], remedy: str = "") -> None:
    """Check that an argument is one of the values that are known.

    Args:
        name: The argument, for the message.
        value: What was given.
        known: The values that it may have, such as ``get_args`` of a ``Literal``.
        remedy: A sentence that ends the message.

    Raises:
        ValueError: If ``value`` is none of them; the message lists them.

    Example:
        >>> check_choice("metric", "dot", ("cosine", "euclidean"))
        Traceback (most recent call last):
        ValueError: `metric` must be one of 'cosine', 'euclidean'; got 'dot'.
    """
    choices = tuple(known)
    if value not in choices:
        raise ValueError(
            f"`{name}` must be one of {', '.join(map(repr, choices))}; got {value!r}.{remedy and f' {remedy}'}"
        )


def check_variance(variance: float) -> None:
    """Raise ValueError unless ``0 < variance <= 1``."""
    if not 0.0 < variance <= 1.0:
        raise ValueError(f"`variance` must lie in (0, 1], a share of the total; got {variance!r}.")


def all_finite(values: Tensor) -> bool:
    """Return whether no number is NaN or infinite, in one pass that copies nothing.

    `torch.isfinite`, and a sum in a wider dtype, first copy the tensor on a CPU: of 400 MB of float32 they take 700 MB
    more and 17 times as long (torch 2.13.0; findings/torch_copies_to_sum_in_float64.sh).
    """
    if not values.numel():
        return True
    if values.device.type == "mps":
        return bool(torch.isfinite(values).all())
    smallest, largest = torch.aminmax(values.detach())  # both are NaN where one number is
    return bool(torch.isfinite(smallest) & torch.isfinite(largest))


def finite_rows(rows: Tensor, nan_strategy: NanStrategy, name: str = "embeddings") -> Tensor | None:
    """Return the mask ``(N,)`` of rows without NaN or Inf, None where all are finite; obey ``nan_strategy``.

    Raises:
        ValueError: If a row is not finite and ``nan_strategy="error"``.
    """
    if all_finite(rows):
        return None
    finite = torch.isfinite(rows).all(dim=1)
    bad = int((~finite).sum())
    if bad and nan_strategy == "error":
        raise ValueError(
            f"`{name}` must be finite; {bad} of {len(rows)} rows hold NaN or Inf."
            " Find their cause, or leave them out, as metrics do with nan_strategy='warn' or 'ignore'."
        )
    if bad and nan_strategy == "warn":
        warnings.warn(f"{bad} of {len(rows)} rows of `{name}` hold NaN or Inf and are left out.", stacklevel=3)
    return finite
