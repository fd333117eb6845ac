# SPDX-License-Identifier: Apache-2.0
"""Call a module as its trainer does, without leaving a trace."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any, TypeAlias

import torch
from lightning.pytorch import LightningModule
from torch import nn

from lightning_monocon.inference.embed import untouched
from lightning_monocon.inference.outputs import named_submodule

Call: TypeAlias = Callable[[Any], Any]


@contextmanager
def as_in_training(module: LightningModule, layer: str | None = None) -> Iterator[Call]:
    """Yield a function that maps a batch of inputs to what the module returns for it.

    The module runs in eval mode and inference mode, on its device and in the precision of its trainer. Compiled code is
    not compiled for the probe, whose shapes would change the code that trains. Modes and random states are restored.

    Args:
        module: The module. If it defines no `forward`, the submodule ``layer`` is called in its place.
        layer: Name of that submodule.

    Raises:
        ValueError: If the module defines no `forward` and no submodule is named.
    """
    has_forward = type(module).forward is not LightningModule.forward
    if not has_forward and layer is None:
        names = ", ".join(name for name, _ in module.named_children())
        raise ValueError(
            f"`layer` must name the submodule to call, such as {names}, since {type(module).__name__} defines no "
            "`forward`; got None."
        )
    callee = module if has_forward or layer is None else named_submodule(module, layer)
    with ExitStack() as stack:
        stack.enter_context(untouched(module))
        stack.enter_context(torch.inference_mode())
        convert: Call = lambda inputs: inputs  # noqa: E731  # the trainer's own takes its place
        if module._trainer is not None:
            convert = module._trainer.precision_plugin.convert_input
            stack.enter_context(module._trainer.precision_plugin.forward_context())
        if "torch._dynamo" in sys.modules:  # else nothing is compiled, and the import takes seconds
            stack.enter_context(torch.compiler.set_stance("force_eager"))
        yield lambda inputs: call(callee, convert(module.transfer_batch_to_device(inputs, module.device, 0)))


def call(module: nn.Module, inputs: object) -> object:
    """Return the module's output; a mapping is passed by keyword if `forward` has its keys as arguments.

    Entries that `forward` does not take are left out then, such as the mask of special tokens of a collator.
    """
    if not isinstance(inputs, Mapping):
        return module(inputs)
    signature = inspect.signature(module.forward)
    names = signature.parameters
    takes_any = any(each.kind is inspect.Parameter.VAR_KEYWORD for each in names.values())
    if len(names) == 1 and not takes_any and "input_ids" not in names:
        return module(inputs)  # its one argument may have the name of an entry, and take them all
    named = {str(name): part for name, part in inputs.items() if takes_any or name in names}
    try:
        signature.bind(**named)
    except TypeError:
        return module(inputs)
    return module(**named) if named else module(inputs)
