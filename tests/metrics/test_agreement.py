"""The same features and pictures through independent implementations: the largest differences.

A library that is not installed is skipped. The table of differences is printed by
`benchmarks/agreement.py`.
"""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from metric_oracles import ORACLES, Oracle

pytestmark = pytest.mark.slow  # importing the libraries takes longer than comparing with them


@pytest.mark.parametrize("oracle", ORACLES, ids=lambda oracle: oracle.name)
def test_agrees(oracle: Oracle) -> None:
    pytest.importorskip(oracle.library)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what a library says about its own future
        for ours, theirs in oracle.pairs():
            np.testing.assert_allclose(ours, theirs, rtol=oracle.tolerance, atol=oracle.tolerance)
