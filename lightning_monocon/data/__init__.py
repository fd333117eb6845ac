# SPDX-License-Identifier: Apache-2.0
"""LightningDataModules with a gallery and a query set."""
