# SPDX-License-Identifier: Apache-2.0
"""Choose the smallest code that keeps the answers of a user's own queries, and certify it on queries of its own."""

from __future__ import annotations

from lightning_monocon.shrink.question import Question
from lightning_monocon.shrink.run import shrink
from lightning_monocon.shrink.task import Task, read_task, second_task

__all__ = ["Question", "Task", "read_task", "second_task", "shrink"]
