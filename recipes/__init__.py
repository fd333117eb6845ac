# SPDX-License-Identifier: Apache-2.0
"""Recipes by name; installed as `lightning_monocon.recipes`."""
