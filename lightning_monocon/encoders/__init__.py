# SPDX-License-Identifier: Apache-2.0
"""What turns an input into a feature vector."""
