# SPDX-License-Identifier: Apache-2.0
"""LightningDataModules with a gallery and a query set."""

from lightning_monocon.data.digits import DigitsData
from lightning_monocon.data.sampling import EpochSampler, ShardSampler

__all__ = ["DigitsData", "EpochSampler", "ShardSampler"]
