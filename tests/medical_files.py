"""DICOM and NIfTI files for tests, with every identifier that a scanner writes."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np

IDENTIFIERS = {
    "PatientName": "Mustermann^Erika",
    "PatientID": "MRN-4711-0815",
    "IssuerOfPatientID": "St-Somewhere",
    "PatientBirthDate": "19530412",
    "PatientAddress": "Heidestrasse 17",
    "AccessionNumber": "ACC99887766",
    "InstitutionName": "Hospital of Somewhere",
    "ReferringPhysicianName": "Doktor^Faust",
    "StudyDate": "20190314",
    "StudyDescription": "Echo of Mrs Mustermann",
    "DeviceSerialNumber": "SN-5550123",
    "PatientComments": "known since 1998",
}


def write_dicom(
    path: Path,
    frames: np.ndarray,
    photometric: str = "MONOCHROME2",
    syntax: str = "raw",
    region: tuple[int, int, int, int] | None = None,
    cm_per_px: float | None = 0.05,
    frame_time: float | None = 20.0,
    tags: Mapping[str, Any] = MappingProxyType({}),
) -> Path:
    """uint8 or uint16 frames (t, h, w[, 3]) as a multi-frame ultrasound image.

    `region` is top, left, bottom, right in pixels, the last two not included; `syntax` raw, rle,
    jpeg (lossy) or implicit. Further tags overrule the identifiers; None removes a tag.
    """
    from pydicom.dataset import Dataset, FileMetaDataset
    from pydicom.uid import (
        ExplicitVRLittleEndian,
        ImplicitVRLittleEndian,
        JPEGBaseline8Bit,
        RLELossless,
        UltrasoundMultiFrameImageStorage,
        generate_uid,
    )

    data: Any = Dataset()
    data.file_meta = FileMetaDataset()
    data.SOPClassUID = data.file_meta.MediaStorageSOPClassUID = UltrasoundMultiFrameImageStorage
    uid = generate_uid(entropy_srcs=[str(path)])
    data.SOPInstanceUID = data.file_meta.MediaStorageSOPInstanceUID = uid
    for name, value in IDENTIFIERS.items():
        setattr(data, name, value)
    data.Modality = "US"
    colour = frames.ndim == 4
    data.NumberOfFrames, data.Rows, data.Columns = frames.shape[:3]
    data.SamplesPerPixel = 3 if colour else 1
    data.PhotometricInterpretation = photometric
    if colour:
        data.PlanarConfiguration = 0
    bits = 8 * frames.dtype.itemsize
    data.BitsAllocated, data.BitsStored, data.HighBit = bits, bits, bits - 1
    data.PixelRepresentation = 0
    if frame_time:
        data.FrameTime = str(frame_time)
    if region:
        data.SequenceOfUltrasoundRegions = [marked(region, cm_per_px)]
    data.PixelData = frames.tobytes()
    data.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    if syntax == "implicit":
        data.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian
    elif syntax == "rle":
        data.compress(RLELossless, generate_instance_uid=False)
    elif syntax == "jpeg":
        _compress_jpeg(data, frames)
        data.file_meta.TransferSyntaxUID = JPEGBaseline8Bit
    for name, value in tags.items():
        if value is None:
            delattr(data, name)
        else:
            setattr(data, name, value)
    path.parent.mkdir(parents=True, exist_ok=True)
    data.save_as(path, enforce_file_format=True)
    return path


def marked(
    region: tuple[int, int, int, int], cm_per_px: float | None, spatial: int = 1, kind: int = 1
) -> Any:
    """An item of the sequence of ultrasound regions; 1, 1 is two-dimensional tissue."""
    from pydicom.dataset import Dataset

    item: Any = Dataset()
    item.RegionSpatialFormat, item.RegionDataType = spatial, kind
    item.RegionLocationMinY0, item.RegionLocationMinX0 = region[0], region[1]
    item.RegionLocationMaxY1, item.RegionLocationMaxX1 = region[2] - 1, region[3] - 1
    if cm_per_px:
        item.PhysicalUnitsXDirection = item.PhysicalUnitsYDirection = 3
        item.PhysicalDeltaX, item.PhysicalDeltaY = cm_per_px, 2 * cm_per_px
    return item


def write_nifti(
    path: Path, array: np.ndarray, mm: tuple[float, float] = (0.5, 0.25), seconds: float = 0.0
) -> Path:
    """(h, w) or (t, h, w) as CAMUS stores it, (w, h[, t]); with `seconds` as (w, h, 1, t)."""
    import nibabel

    turned = np.ascontiguousarray(np.moveaxis(array, (-1, -2), (0, 1)))
    if seconds:
        turned = turned[:, :, None]
    image: Any = nibabel.Nifti1Image(turned, np.diag([-mm[0], -mm[1], 1.0, 1.0]))
    zooms = [*mm, *[1.0] * (turned.ndim - 2)]
    if seconds:
        zooms[3] = seconds
    image.header.set_zooms(zooms)
    image.header.set_xyzt_units("mm", "sec")
    path.parent.mkdir(parents=True, exist_ok=True)
    nibabel.save(image, path)
    return path


def _compress_jpeg(data: Any, frames: np.ndarray) -> None:
    import io

    from PIL import Image
    from pydicom.encaps import encapsulate

    parts = []
    for frame in frames:
        buffer = io.BytesIO()
        Image.fromarray(frame).save(buffer, "JPEG", quality=95, subsampling=0)
        parts.append(buffer.getvalue())
    data.PixelData = encapsulate(parts)
    data["PixelData"].VR = "OB"
    data["PixelData"].is_undefined_length = True
