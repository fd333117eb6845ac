# SPDX-License-Identifier: Apache-2.0
"""Shared fixtures. Triton's interpreter must be chosen before anything imports triton."""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("WANDB_MODE", "offline")
