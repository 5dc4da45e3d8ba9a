"""What the storage SCP negotiates: SOP classes and transfer syntaxes of contract 5.2, by UID."""

from __future__ import annotations

import re
from typing import Final

VERIFICATION: Final = "1.2.840.10008.1.1"

CT_IMAGE: Final = "1.2.840.10008.5.1.4.1.1.2"
ENHANCED_CT: Final = "1.2.840.10008.5.1.4.1.1.2.1"
LEGACY_CONVERTED_ENHANCED_CT: Final = "1.2.840.10008.5.1.4.1.1.2.2"
XRAY_3D_ANGIOGRAPHIC: Final = "1.2.840.10008.5.1.4.1.1.13.1.1"
XA_IMAGE: Final = "1.2.840.10008.5.1.4.1.1.12.1"
ENHANCED_XA: Final = "1.2.840.10008.5.1.4.1.1.12.1.1"
SEGMENTATION: Final = "1.2.840.10008.5.1.4.1.1.66.4"
RT_STRUCTURE_SET: Final = "1.2.840.10008.5.1.4.1.1.481.3"
SPATIAL_REGISTRATION: Final = "1.2.840.10008.5.1.4.1.1.66.1"
XRAY_RADIATION_DOSE_SR: Final = "1.2.840.10008.5.1.4.1.1.88.67"

STORAGE_CLASSES: Final[dict[str, str]] = {
    CT_IMAGE: "CT Image",
    ENHANCED_CT: "Enhanced CT Image",
    LEGACY_CONVERTED_ENHANCED_CT: "Legacy Converted Enhanced CT Image",
    XRAY_3D_ANGIOGRAPHIC: "X-Ray 3D Angiographic Image",
    XA_IMAGE: "X-Ray Angiographic Image",
    ENHANCED_XA: "Enhanced XA Image",
    SEGMENTATION: "Segmentation",
    RT_STRUCTURE_SET: "RT Structure Set",
    SPATIAL_REGISTRATION: "Spatial Registration",
    XRAY_RADIATION_DOSE_SR: "X-Ray Radiation Dose SR",
}
"""SOP Class UID -> name, every class that is stored."""

VOLUME_CLASSES: Final = frozenset({CT_IMAGE, ENHANCED_CT, LEGACY_CONVERTED_ENHANCED_CT, XRAY_3D_ANGIOGRAPHIC})
"""Classes whose instances are assembled to volumes; the others are stored only."""

ZONE_CLASSES: Final = frozenset({SEGMENTATION, RT_STRUCTURE_SET})
"""Classes whose instances hold zones of a volume."""

IMPLICIT_VR_LITTLE_ENDIAN: Final = "1.2.840.10008.1.2"
EXPLICIT_VR_LITTLE_ENDIAN: Final = "1.2.840.10008.1.2.1"
EXPLICIT_VR_BIG_ENDIAN: Final = "1.2.840.10008.1.2.2"
JPEG_LOSSLESS: Final = "1.2.840.10008.1.2.4.57"
JPEG_LOSSLESS_SV1: Final = "1.2.840.10008.1.2.4.70"
JPEG_LS_LOSSLESS: Final = "1.2.840.10008.1.2.4.80"
JPEG_LS_NEAR_LOSSLESS: Final = "1.2.840.10008.1.2.4.81"
JPEG_2000_LOSSLESS: Final = "1.2.840.10008.1.2.4.90"
RLE_LOSSLESS: Final = "1.2.840.10008.1.2.5"

TRANSFER_SYNTAXES: Final[dict[str, str]] = {
    EXPLICIT_VR_LITTLE_ENDIAN: "Explicit VR Little Endian",
    IMPLICIT_VR_LITTLE_ENDIAN: "Implicit VR Little Endian",
    EXPLICIT_VR_BIG_ENDIAN: "Explicit VR Big Endian",
    JPEG_LOSSLESS: "JPEG Lossless, Non-Hierarchical (Process 14)",
    JPEG_LOSSLESS_SV1: "JPEG Lossless, Non-Hierarchical, First-Order Prediction (Process 14, Selection Value 1)",
    JPEG_LS_LOSSLESS: "JPEG-LS Lossless",
    JPEG_LS_NEAR_LOSSLESS: "JPEG-LS Lossy (Near-Lossless)",
    JPEG_2000_LOSSLESS: "JPEG 2000 Lossless Only",
    RLE_LOSSLESS: "RLE Lossless",
}
"""Transfer Syntax UID -> name; accepted for every storage class."""

_UID: Final = re.compile(r"[0-9]+(\.[0-9]+)*\Z")


def is_valid_uid(text: str) -> bool:
    """Whether a text has the form of a UID: digits and single dots, at most 64 (PS3.5 section 9.1).

    Leading zeros in a component are let through, as real devices write them. A valid UID is safe as a file name.
    """
    return len(text) <= 64 and _UID.match(text) is not None
