# SPDX-License-Identifier: Apache-2.0
"""TorchMetrics classes over `lightning_monocon.functional`."""
