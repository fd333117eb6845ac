# SPDX-License-Identifier: Apache-2.0
"""Type the context that torch's autograd hands to a function."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from torch import Tensor
from torch.autograd.function import FunctionCtx


class Context(FunctionCtx):
    """Torch's context, with the types that torch leaves out; a function sets attributes of its own on it.

    Attributes:
        saved_tensors: What ``save_for_backward`` took.
        needs_input_grad: For each input, whether its gradient is wanted.
    """

    saved_tensors: tuple[Tensor, ...]
    needs_input_grad: tuple[bool, ...]

    if TYPE_CHECKING:

        def __getattr__(self, name: str) -> Any: ...  # noqa: ANN401  # what the function has set
        def __setattr__(self, name: str, value: object) -> None: ...
