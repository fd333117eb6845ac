# SPDX-License-Identifier: Apache-2.0
"""Share cases, data and short runs between tests."""
