# SPDX-License-Identifier: Apache-2.0
"""Name the choices that the options of a run and its parts share.

They are apart from the classes that take them, so that the help of a command loads neither Lightning nor torch.
"""

from __future__ import annotations

from typing import Literal

NanPolicy = Literal["raise", "skip"]
"""What `NaNGuard` does at a step whose numbers are not finite."""

WandbMode = Literal["off", "disabled", "offline", "online"]
"""Whether and how a run is mirrored to Weights & Biases; ``"disabled"`` is a mode of its own."""
