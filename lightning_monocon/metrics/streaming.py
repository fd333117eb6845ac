# SPDX-License-Identifier: Apache-2.0
"""Give all metrics what they share: states that keep their dtype, ranks without data, float32 results."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal, TypedDict

import torch
from torch import Tensor
from torch.nn import Module
from torchmetrics import Metric
from typing_extensions import Unpack

from lightning_monocon.functional.checks import check_choice
from lightning_monocon.functional.moments import statistics_device
from lightning_monocon.metrics.sync import gather_ragged

Role = Literal["gallery", "query"]
ROLES: tuple[Role, Role] = ("gallery", "query")


def check_role(role: str) -> None:
    """Raise ValueError unless ``role`` is ``"gallery"`` or ``"query"``."""
    check_choice("role", role, ROLES)


def named_after(state: str, *options: object) -> str:
    """Return the name of a state that depends on options.

    A ``MetricCollection`` takes metrics whose states have equal names, and are equal after the first batch, for one.
    So whatever an update depends on belongs in a name.

    Example:
        >>> named_after("total", 2.0, "query")
        'total_2_0_query'
    """
    return "_".join([state, *(str(option).replace(".", "_") for option in options)])


class MetricOptions(TypedDict, total=False):
    """Type the keyword arguments of `torchmetrics.Metric`, which documents them."""

    compute_on_cpu: bool
    dist_sync_on_step: bool
    process_group: Any
    dist_sync_fn: Callable[..., Any] | None
    distributed_available_fn: Callable[..., bool] | None
    sync_on_compute: bool
    compute_with_cache: bool


class StreamingMetric(Metric):
    """Stream rows into states that are exact; base of the package's metrics.

    States keep their dtype whatever ``.to(dtype)``, ``.half()`` or Lightning's ``bf16-true`` ask, and stay on the CPU
    where the device has no float64 (MPS). Results are float32 on the metric's device, so that every logger and
    device takes them.
    """

    is_differentiable = False
    full_state_update = False

    def __init__(self, **kwargs: Unpack[MetricOptions]) -> None:
        kwargs.setdefault("dist_sync_fn", gather_ragged)
        super().__init__(**kwargs)

    def _apply(self, fn: Callable[[Tensor], Tensor], exclude_state: Sequence[str] = "") -> Module:
        def move_only(tensor: Tensor) -> Tensor:
            # float32 exists on every device; the states follow its device and keep their dtype.
            target = fn(torch.empty(0, dtype=torch.float32, device=tensor.device)).device
            return tensor.to(statistics_device(target))

        return super()._apply(move_only, exclude_state)

    def reset(self) -> None:
        """Forget all rows."""
        with torch.inference_mode(False):  # an inference tensor would refuse a later change in place
            super().reset()

    def merge_state(self, incoming_state: dict[str, Any] | Metric) -> None:
        """Add the rows of another metric of the same class and options, or of its ``metric_state``.

        Raises:
            ValueError: If the other metric has states of other names, which it has for other options.
        """
        states = incoming_state.metric_state if isinstance(incoming_state, Metric) else incoming_state
        if isinstance(states, dict) and (missing := sorted(set(self._defaults) - set(states))):
            raise ValueError(
                f"`incoming_state` must be of a {type(self).__name__} with the same options; it lacks "
                f"{', '.join(missing)} and holds {', '.join(sorted(states)) or 'nothing'}."
            )
        super().merge_state(incoming_state)
        self._rows_arrived()

    def _load_from_state_dict(self, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401 - as torch declares it
        super()._load_from_state_dict(*args, **kwargs)
        if any(self._persistent.values()):
            self._rows_arrived()

    def _rows_arrived(self) -> None:
        """Forget the previous value and count what arrived as an update, which torchmetrics does not."""
        self._computed = None
        self._update_count = max(self._update_count, 1)

    def set_dtype(self, dst_type: str | torch.dtype) -> StreamingMetric:
        """Return the metric as it is: its statistics are exact in the dtype they have."""
        return self

    @property
    def state_device(self) -> torch.device:
        """Return where the states live: on the metric's device, or on the CPU where that has no float64."""
        return statistics_device(self.device)

    def result(self, value: Tensor) -> Tensor:
        """Return ``value`` as metrics return it: float32, on the metric's device."""
        return value.to(torch.float32).to(self.device)

    def plot(self, val: Tensor | Sequence[Tensor] | None = None, ax: Any = None) -> Any:  # noqa: ANN401 - matplotlib's, which is imported here only to plot
        """Plot one or several values with matplotlib, as every torchmetrics metric does."""
        return self._plot(val, ax)
