"""Phantom hearts: synthetic echocardiograms whose ground truth is exact."""

from echoflow.data.phantom.clip import PhantomClip
from echoflow.data.phantom.patient import COHORTS, PhantomPatient
from echoflow.data.phantom.truth import Truth

__all__ = ["COHORTS", "PhantomClip", "PhantomPatient", "Truth"]
