"""What only simulated hearts can tell: a generated video beside the one that should have come out.

Of a phantom patient the true video at any EF can be rendered: same anatomy, same scanner, same
beats, another contraction. So the question that a counterfactual asks has an answer, and a
generated video is compared with it frame by frame, mask by mask and beat by beat.
"""

from echoflow.truth.cases import RUNGS, Case, Engine, TruthPlan
from echoflow.truth.findings import Findings, examine, settings
from echoflow.truth.kept import Kept

__all__ = ["RUNGS", "Case", "Engine", "Findings", "Kept", "TruthPlan", "examine", "settings"]
