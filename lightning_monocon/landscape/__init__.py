# SPDX-License-Identifier: Apache-2.0
"""The semantic landscape as mathematics: no Lightning in it."""
