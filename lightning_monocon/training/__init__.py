# SPDX-License-Identifier: Apache-2.0
"""Schedule a fit in two phases, check its batches, and follow it from step to step."""
