"""From a plan to a dataset: anatomies, privacy verdicts, videos, relabelled EF, files on disk.

The folder has the layout of EchoNet-Dynamic and can be read by its tools: suffix-less names and
upper-case splits in FileList.csv, two traced frames per video in VolumeTracings.csv, grey MJPEG
in Videos. Further columns say what was asked and how the filter judged; rejections.csv lists the
candidates that were thrown away, Masks holds the masks the anatomies were asked to follow.

Everything about sample i follows from (plan.seed, i) alone. A larger `n` appends samples, another
`batch` changes nothing, and a rejection in one sample does not disturb the next.
"""

from echoflow.synthesis.dataset import Progress, synthesise
from echoflow.synthesis.masks import UNSEEN, MaskSource, given_masks, phantom_masks
from echoflow.synthesis.plan import DatasetPlan, Item, sample_seed
from echoflow.synthesis.samples import Anatomy, Engine, Regressor, Sample, accepted, generate

__all__ = [
    "UNSEEN",
    "Anatomy",
    "DatasetPlan",
    "Engine",
    "Item",
    "MaskSource",
    "Progress",
    "Regressor",
    "Sample",
    "accepted",
    "generate",
    "given_masks",
    "phantom_masks",
    "sample_seed",
    "synthesise",
]
