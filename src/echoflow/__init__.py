"""EchoFlow: synthetic cardiac ultrasound with the ejection fraction you ask for."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from echoflow.condition import Condition
    from echoflow.evaluation import evaluate
    from echoflow.pipeline import Pipeline, load
    from echoflow.sampling import SamplingPlan
    from echoflow.synthesis import DatasetPlan, synthesise
    from echoflow.types import InputError, View

__version__ = "0.1.0"

__all__ = [
    "Condition",
    "DatasetPlan",
    "InputError",
    "Pipeline",
    "SamplingPlan",
    "View",
    "evaluate",
    "load",
    "synthesise",
]

_HOMES = {
    "Condition": "condition",
    "DatasetPlan": "synthesis",
    "InputError": "types",
    "Pipeline": "pipeline",
    "SamplingPlan": "sampling",
    "View": "types",
    "evaluate": "evaluation",
    "load": "pipeline",
    "synthesise": "synthesis",
}


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used: the command line starts without torch."""
    if name not in _HOMES:
        raise AttributeError(f"module 'echoflow' has no attribute {name!r}")
    return getattr(import_module(f"echoflow.{_HOMES[name]}"), name)
