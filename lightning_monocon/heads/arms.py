# SPDX-License-Identifier: Apache-2.0
"""Build the head of each arm of the paper's comparison by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Literal, TypeAlias, get_args

from torch import nn

from lightning_monocon.functional.checks import check_choice
from lightning_monocon.heads.monotonic import MonotonicMLP
from lightning_monocon.heads.plain import LinearHead, MLPHead

Arm = Literal["monotonic", "mlp", "linear", "none"]
HeadOptions: TypeAlias = Mapping[str, int | float | str]
HeadSpec: TypeAlias = dict[str, int | float | str]


def head_spec(arm: Arm, in_features: int, out_features: int | None, options: HeadOptions | None) -> HeadSpec:
    """Return the plain values from which `build_head` builds a head; two heads are equal when these are.

    Raises:
        ValueError: If the arm is unknown, or ``out_features`` is missing (``"linear"``) or impossible (``"none"``).
    """
    check_choice("head", arm, get_args(Arm), "Or pass a module.")
    if arm == "linear" and out_features is None:
        raise ValueError("`out_features` must be given for head='linear', the bottleneck's dimension; got None. Try 8.")
    if arm == "none" and (options or out_features not in (None, in_features)):
        raise ValueError(
            f"`out_features` and `head_options` must be left out for head='none', which returns the encoder's "
            f"{in_features} features; got out_features={out_features}, head_options={dict(options or {})}."
        )
    return {"arm": arm, "in_features": in_features, "out_features": out_features or in_features, **(options or {})}


def build_head(spec: HeadSpec) -> nn.Module:
    """Build the head that ``spec`` describes, with fresh weights.

    Raises:
        ValueError: If an option is not an argument of the head.
    """
    options = dict(spec)
    arm, in_features, out_features = (options.pop(name) for name in ("arm", "in_features", "out_features"))
    if arm == "none":
        return nn.Identity()
    kinds: dict[object, Callable[..., nn.Module]] = {"monotonic": MonotonicMLP, "mlp": MLPHead, "linear": LinearHead}
    kind = kinds[arm]
    try:
        return kind(in_features, out_features=out_features, **options)
    except TypeError as error:
        raise ValueError(f"`head_options` must be arguments of the {arm} head, got {options}: {error}.") from error


def own_head_spec(head: nn.Module) -> HeadSpec:
    """Return the entry of a checkpoint for a head of the user's own: its class."""
    home = type(head).__module__
    if home.startswith("lightning_monocon.heads."):  # the path by which users import it, whatever its file
        home = "lightning_monocon.heads"
    return {"arm": f"{home}.{type(head).__qualname__}"}


def head_arguments(spec: HeadSpec, head: nn.Module | None = None) -> dict[str, Any]:
    """Return the arguments of `MonoCon` that rebuild a checkpoint's head; raise ValueError if ``head`` is missing."""
    if head is not None:
        return {"head": head}
    options: dict[str, Any] = dict(spec)
    arm, width, out = options.pop("arm"), options.pop("in_features", None), options.pop("out_features", None)
    if width is None:
        raise ValueError(f"`head` must be given: the checkpoint was trained with a head of your own, {arm}.")
    return {"head": arm, "in_features": width, "out_features": out, "head_options": options or None}
