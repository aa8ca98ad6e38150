"""Profile, gamma and density go from the images into every file that is made of them."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image, ImageCms, PngImagePlugin

from dkmeans import (
    CompressConfig,
    FitConfig,
    IngestConfig,
    ReconstructConfig,
    compress,
    fit,
    ingest,
    reconstruct,
)
from dkmeans.config.stages import DecodeConfig, QuantizeConfig
from dkmeans.errors import UsageError
from dkmeans.stages.decode import decode
from dkmeans.stages.quantize import quantize

pytestmark = pytest.mark.filterwarnings("ignore:not converged", "ignore:.*color profiles", "ignore:.*cut.png")

PROFILE = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
WIDE = PROFILE.replace("sRGB".encode("utf-16-be"), "wide".encode("utf-16-be")).replace(b"sRGB", b"wide")


@pytest.fixture
def source(tmp_path):
    """Images that each tell something else, one that tells nothing, and one before them that is damaged."""
    rng, folder = np.random.default_rng(3), tmp_path / "in"
    folder.mkdir()
    gamma = PngImagePlugin.PngInfo()
    gamma.add(b"gAMA", (100_000).to_bytes(4))
    told = {
        "cut.png": {},
        "gamma.png": {"pnginfo": gamma},
        "nothing.png": {},
        "profile.png": {"icc_profile": WIDE, "dpi": (300, 300)},
        "scan.jpg": {"icc_profile": WIDE, "dpi": (72, 144)},
    }
    for name, options in told.items():
        pixels = rng.integers(0, 256, (8, 8, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / name, **options)
    whole = (folder / "cut.png").read_bytes()
    (folder / "cut.png").write_bytes(whole[:-60])  # which shows when it is decoded
    return folder


def facts(folder):
    """What Pillow finds: gamma, profile, density of each file."""
    found = {}
    for path in sorted(folder.glob("*.png")):
        with Image.open(path) as image:
            info = image.info
            density = info.get("dpi") and tuple(round(value) for value in info["dpi"])
            found[path.stem] = (info.get("gamma"), info.get("icc_profile"), density, "srgb" in info)
    return found


KEPT = {
    "gamma": (1.0, None, None, False),
    "nothing": (None, None, None, False),
    "profile": (None, WIDE, (300, 300), False),
    "scan": (None, WIDE, (72, 144), False),
}
CONVERTED = {
    "gamma": (None, None, None, True),
    "nothing": (None, None, None, False),
    "profile": (None, None, (300, 300), True),
    "scan": (None, None, (72, 144), True),
}


@pytest.mark.parametrize(("profile", "expected"), [("keep", KEPT), ("srgb", CONVERTED)])
def test_from_a_dataset(source, tmp_path, sync, profile, expected):
    data, book, patches = (str(tmp_path / name) for name in ("data", "book", "patches"))
    options = {"patch": "4", "max_skipped": 1, "profile": profile}
    ingest(IngestConfig(source=str(source), dataset=data, **options), sync)
    fit(FitConfig(dataset=data, codebook=book, n_clusters=6, max_iter=3), sync)
    fit(FitConfig(dataset=data, codebook=patches, n_clusters=6, max_iter=3, on="patches"), sync)
    first, second, third = (tmp_path / name for name in ("a", "b", "c"))
    result = str(tmp_path / "codes")
    compress(CompressConfig(dataset=data, codebook=book, result=result, images=str(first)), sync)
    assert facts(first) == expected
    decode(DecodeConfig(archive=result, images=str(second)), sync)
    assert facts(second) == expected
    config = ReconstructConfig(
        dataset=data, codebook=patches, result=str(tmp_path / "mosaic"), images=str(third)
    )
    reconstruct(config, sync)
    assert facts(third) == expected


@pytest.mark.parametrize("patch", [None, "4"])
@pytest.mark.parametrize(("profile", "expected"), [("keep", KEPT), ("srgb", CONVERTED)])
def test_from_an_archive(source, tmp_path, sync, profile, expected, patch):
    archive, options = str(tmp_path / "z"), {"k": 6, "max_iter": 3, "max_skipped": 1, "profile": profile}
    quantize(
        QuantizeConfig(source=str(source), destination=archive, to="archive", patch=patch, **options), sync
    )
    decode(DecodeConfig(archive=archive, images=str(tmp_path / "out")), sync)
    assert facts(tmp_path / "out") == expected


def test_other_tags_are_another_input(source, tmp_path, sync):
    """The pixels of a dataset may be the same, and what they mean is not."""
    data, book, result = (str(tmp_path / name) for name in ("data", "book", "codes"))
    (source / "cut.png").unlink()
    ingest(IngestConfig(source=str(source), dataset=data), sync)
    fit(FitConfig(dataset=data, codebook=book, n_clusters=6, max_iter=3), sync)
    options = {"dataset": data, "codebook": book, "result": result}
    compress(CompressConfig(**options), sync)
    compress(CompressConfig(**options, resume=True), sync)
    with Image.open(source / "nothing.png") as image:
        image.save(source / "nothing.png", dpi=(96, 96))
    ingest(IngestConfig(source=str(source), dataset=data, overwrite=True), sync)
    with pytest.raises(UsageError, match="begun from another input"):
        compress(CompressConfig(**options, resume=True), sync)
