"""From a plan to a dataset: anatomies, privacy verdicts, videos, relabelled EF, files on disk.

The folder has the layout of EchoNet-Dynamic and is read by its tools as it was meant, which is
checked before it gets its name: suffix-less names and upper-case splits in FileList.csv, two traced
frames per video in VolumeTracings.csv, grey MJPEG in Videos. Further columns say what was asked and
how the filter judged; manifest.parquet has the same rows with types, rejections.csv the candidates
that were thrown away, Masks the masks the anatomies were asked to follow, README.md the card.

Everything about sample i follows from (plan.seed, i) alone. A larger `n` appends samples, another
`batch` changes nothing, and a rejection in one sample does not disturb the next. A run that was
stopped goes on behind what is finished, and several processes can share a dataset; see `parts`.
"""

from echoflow.synthesis.dataset import Progress, synthesise
from echoflow.synthesis.dropin import DropIn, check
from echoflow.synthesis.masks import UNSEEN, MaskSource, given_masks, phantom_masks
from echoflow.synthesis.origin import Origin
from echoflow.synthesis.parts import kept
from echoflow.synthesis.plan import DatasetPlan, Item, sample_seed
from echoflow.synthesis.samples import Anatomy, Engine, Regressor, Sample, accepted, generate

__all__ = [
    "UNSEEN",
    "Anatomy",
    "DatasetPlan",
    "DropIn",
    "Engine",
    "Item",
    "MaskSource",
    "Origin",
    "Progress",
    "Regressor",
    "Sample",
    "accepted",
    "check",
    "generate",
    "given_masks",
    "kept",
    "phantom_masks",
    "sample_seed",
    "synthesise",
]
