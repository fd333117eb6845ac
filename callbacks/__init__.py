# SPDX-License-Identifier: Apache-2.0
"""Callbacks that watch and steer a run; installed as `lightning_monocon.callbacks`."""
