# SPDX-License-Identifier: Apache-2.0
"""Keep the rows of a probe that a submodule returns while the probe is evaluated, to measure their geometry."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle
from typing_extensions import Self

from lightning_monocon.inference.outputs import as_rows, named_submodule
from lightning_monocon.training.batches import described
from lightning_monocon.watching.probe import Probe


class GeometryTap:
    """Keep what a submodule returns for each label of a probe, until the end of the context that `open` returns.

    Args:
        layer: Name of the submodule, such as ``"encoder"``. It returns one row per input; for sequences ``(B, T, D)``,
            or holds that under ``last_hidden_state``, as the encoders of transformers do.
        probe: The probe, whose batches are evaluated one after the other.
    """

    def __init__(self, layer: str, probe: Probe) -> None:
        self.layer, self.probe = layer, probe
        self._handle: RemovableHandle | None = None
        self._found: list[Tensor] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._handle is not None:
            self._handle.remove()
            self._handle = None

    def open(self, module: nn.Module) -> Self:
        """Start to keep rows; raise ValueError if there is no submodule of that name."""
        self._found.clear()
        self._handle = named_submodule(module, self.layer, "geometry_layer").register_forward_hook(self._keep)
        return self

    def rows(self) -> Tensor:
        """Return the rows ``(P, D)``, float32 and on the CPU.

        Raises:
            ValueError: If the submodule did not run once for each batch of the probe.
        """
        if len(self._found) != len(self.probe.batches):
            raise ValueError(
                "`geometry_layer` must name a submodule that runs once for each batch; "
                f"{self.layer!r} ran {len(self._found)} times for {len(self.probe.batches)} batches. Name another one."
            )
        return torch.cat(self._found)

    def _keep(self, module: nn.Module, inputs: object, output: object) -> None:
        places, number = self.probe.places, len(self._found)
        source = f"The submodule {self.layer!r}"
        if places is None or number >= len(places):  # the latter is refused in `rows`
            rows = as_rows(output, source)
        else:
            states = _hidden_states(output, places[number].shape, source)
            rows = states[places[number].rows.to(states.device), places[number].positions.to(states.device)]
        self._found.append(rows.detach().float().cpu())


def _hidden_states(output: object, shape: tuple[int, int], source: str) -> Tensor:
    """Return the states ``(B, T, D)`` of an output, with ``shape`` ``(B, T)``."""
    found = output if isinstance(output, Tensor) else getattr(output, "last_hidden_state", None)
    if not isinstance(found, Tensor) or found.ndim != 3 or tuple(found.shape[:2]) != shape:
        raise ValueError(
            f"{source} must return states (B, T, D) for labels {shape}, as a tensor or under `last_hidden_state`; got "
            f"{described(output if found is None else found)}. Name another one with `geometry_layer`."
        )
    return found
