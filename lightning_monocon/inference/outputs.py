# SPDX-License-Identifier: Apache-2.0
"""Take the rows that a callback judges, from the output of a step or of a submodule within it."""

from __future__ import annotations

from collections.abc import Mapping

from lightning.pytorch import LightningModule
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle
from typing_extensions import Self

from lightning_monocon.training.batches import described


def named_submodule(module: nn.Module, layer: str, argument: str = "layer") -> nn.Module:
    """Return the submodule ``layer``; raise ValueError, with the caller's ``argument``, if there is none so named."""
    try:
        return module.get_submodule(layer)
    except AttributeError as error:
        names = ", ".join(name for name, _ in module.named_children()) or "none, since it has none"
        raise ValueError(
            f"`{argument}` must name a submodule of {type(module).__name__}, such as {names}; got {layer!r}."
        ) from error


def as_rows(output: object, source: str) -> Tensor:
    """Return an output ``(B, D)``, or ``(B, D, 1, 1)`` as pooling leaves it, as rows; raise ValueError for others."""
    if not isinstance(output, Tensor) or not output.is_floating_point() or output.ndim < 2:
        fits = False
    else:
        fits = output.shape[2:].numel() == 1
    if not isinstance(output, Tensor) or not fits:
        raise ValueError(
            f"{source} must return one row of floating-point numbers per input, (B, D); got {described(output)}. Name "
            "a submodule behind the pooling with `layer`."
        )
    return output.detach().flatten(1)


class LayerTap:
    """Keep the last output of a submodule, until the end of the context that `open` returns, or until `close`.

    Args:
        layer: Name of the submodule; None keeps nothing.
    """

    def __init__(self, layer: str | None) -> None:
        self.layer = layer
        self._handle: RemovableHandle | None = None
        self._found: list[object] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def open(self, module: nn.Module) -> Self:
        """Start to record the outputs of a submodule; raise ValueError if there is no submodule of that name."""
        self.close()
        if self.layer is not None:
            self._handle = named_submodule(module, self.layer).register_forward_hook(self._keep)
        return self

    def close(self) -> None:
        """Stop recording, and drop what was recorded."""
        self._found.clear()
        if self._handle is not None:
            self._handle.remove()
            self._handle = None

    def output(self) -> object:
        """Return the submodule's last output; raise ValueError if it has not run."""
        if not self._found:
            raise ValueError(
                f"`layer` must name a submodule that runs in the step; {self.layer!r} was not called. Name another one."
            )
        return self._found[-1]

    def rows(self) -> Tensor:
        """Return the submodule's last output as rows ``(B, D)``; raise ValueError if it has not run or gave no rows."""
        return as_rows(self.output(), f"The submodule {self.layer!r}")

    def _keep(self, module: nn.Module, inputs: object, output: object) -> None:
        self._found[:] = [output]


def taken(outputs: object, key: str) -> Tensor:
    """Return the rows that a step has returned under ``key``; raise ValueError if there are none."""
    if not isinstance(outputs, Mapping) or key not in outputs:
        raise ValueError(
            f"The step must return a mapping with the key {key!r}; got {described(outputs)}. Return one from "
            "`validation_step` and `test_step`, or name the submodule whose output to take with `layer`."
        )
    return as_rows(outputs[key], f"The step, under {key!r},")


def monitored(module: LightningModule) -> set[str]:
    """Return the names of the metrics that callbacks and schedulers of the run monitor."""
    trainer = module.trainer
    names = [getattr(callback, "monitor", None) for callback in trainer.callbacks]  # type: ignore[attr-defined]  # a property of Lightning's that its annotations hide
    names += [config.monitor for config in trainer.lr_scheduler_configs]
    return {name for name in names if isinstance(name, str)}
