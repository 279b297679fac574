"""Phantom hearts: synthetic echocardiograms whose ground truth is exact."""

from echoflow.data.phantom.clip import PhantomClip
from echoflow.data.phantom.dataset import PhantomDataset
from echoflow.data.phantom.patient import COHORTS, EF_RANGE, PhantomPatient
from echoflow.data.phantom.truth import Truth

__all__ = ["COHORTS", "EF_RANGE", "PhantomClip", "PhantomDataset", "PhantomPatient", "Truth"]
