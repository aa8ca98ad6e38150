"""Lab to sRGB by the formulas of CIE and IEC, with Bradford's adaptation of D50 to D65."""

from __future__ import annotations

import numpy as np

__all__ = ["lab_to_srgb"]


def lab_to_srgb(lab):
    """(..., 3) L, a, b as (..., 3) values of 0 to 255, those out of gamut cut."""
    f = (lab[..., 0] + 16) / 116
    f = np.stack([f + lab[..., 1] / 500, f, f - lab[..., 2] / 200], axis=-1)
    xyz = np.where(f > 6 / 29, f**3, 3 * (6 / 29) ** 2 * (f - 4 / 29)) * [0.9642, 1.0, 0.8249]
    adapted = (
        xyz
        @ np.array(
            [
                [0.9555766, -0.0230393, 0.0631636],
                [-0.0282895, 1.0099416, 0.0210077],
                [0.0122982, -0.0204830, 1.3299098],
            ]
        ).T
    )
    linear = (
        adapted
        @ np.array(
            [
                [3.2404542, -1.5371385, -0.4985314],
                [-0.9692660, 1.8760108, 0.0415560],
                [0.0556434, -0.2040259, 1.0572252],
            ]
        ).T
    )
    linear = np.clip(linear, 0, 1)
    return 255 * np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)
