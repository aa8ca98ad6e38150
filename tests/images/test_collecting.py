"""What a pass over headers decides: channels, depth; and what it says is reduced, dropped or mixed."""

from __future__ import annotations

import io

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageCms, PngImagePlugin

from dkmeans.compute.in_process import InProcess
from dkmeans.errors import SkippedError
from dkmeans.events.reporter import Reporter
from dkmeans.images.collecting import collect, one_color, one_dtype
from dkmeans.images.collections import widest
from dkmeans.images.decode import CHANNELS, ImageHeader, SkippedImage
from dkmeans.images.picture import profile_of
from dkmeans.images.skipping import Skipping
from dkmeans.images.sources import FileSource, open_source

LIMIT = 10**6
rng = np.random.default_rng(0)
GRAY = rng.integers(0, 256, (5, 4), dtype=np.uint8)
RGB = rng.integers(0, 256, (5, 4, 3), dtype=np.uint8)
ALPHA = np.where(GRAY > 99, 255, GRAY).astype(np.uint8)
RGBA = np.dstack([RGB, ALPHA])
OPAQUE = np.dstack([RGB, np.full_like(GRAY, 255)])
GRAY_ALPHA = np.dstack([GRAY, ALPHA])
DEEP = rng.integers(0, 65536, (5, 4), dtype=np.uint16)


class Told(Reporter):
    """A reporter that keeps its warnings."""

    def __init__(self):
        super().__init__(level="warning")
        self.warnings = []

    def warn(self, text):
        self.warnings.append(text)


def save(folder, name, pixels, **options):
    folder.mkdir(exist_ok=True)
    Image.fromarray(pixels).save(folder / name, **options)


def gather(folder, color="auto", max_skipped=0, memory=0, **options):
    """The collection, and what was said."""
    told, executor = Told(), InProcess(memory=memory)
    skipping = Skipping(max_skipped, told, lambda _: None, "the list")
    return collect(open_source(str(folder)), color, LIMIT, executor, skipping, told, **options), told.warnings


def images_of(found):
    executor = InProcess()
    task = executor.task(lambda part: list(part.images()))
    return executor.run([task(found.part(0, len(found.index)))])[0]


# Channels


def test_each_image_has_its_own_channels(tmp_path):
    originals = {"a.png": GRAY[..., None], "b.png": GRAY_ALPHA, "c.png": RGB, "d.png": RGBA}
    for name, pixels in originals.items():
        save(tmp_path, name, pixels[..., 0] if name == "a.png" else pixels)
    found, said = gather(tmp_path, alike=False)
    assert said == []
    assert (found.color, found.channels) == ("auto", 4)
    assert found.own_channels.tolist() == [1, 2, 3, 4]
    for image, original in zip(images_of(found), originals.values(), strict=True):
        np.testing.assert_array_equal(image, original)
    fewer = found.without([SkippedImage("d.png", "")])
    assert fewer.channels == 4  # gray with alpha, and RGB
    assert fewer.without([SkippedImage("b.png", "")]).channels == 3


@pytest.mark.parametrize(
    ("pixels", "color"),
    [
        ((GRAY, GRAY), "gray"),
        ((GRAY, RGB), "rgb"),
        ((GRAY, GRAY_ALPHA), "rgba"),
        ((GRAY_ALPHA, RGB), "rgba"),
        ((RGBA, RGB), "rgba"),
    ],
)
def test_images_that_are_alike_have_the_channels_that_hold_all(tmp_path, pixels, color):
    for number, each in enumerate(pixels):
        save(tmp_path, f"{number}.png", each)
    found, said = gather(tmp_path)
    assert said == []
    assert found.color == color
    for image, original in zip(images_of(found), pixels, strict=True):
        mode = {"gray": "L"}.get(color, color.upper())
        np.testing.assert_array_equal(image.squeeze(), np.asarray(Image.fromarray(original).convert(mode)))


HEADERS = st.lists(
    st.builds(
        ImageHeader,
        st.just("a"),
        st.just(1),
        st.just(1),
        st.sampled_from(["uint8", "uint16"]),
        channels=st.integers(1, 4),
    ),
    min_size=1,
)


@given(HEADERS)
def test_nothing_is_lost_by_being_alike(headers):
    """No channel of any image goes, and no color asked for is changed."""
    channels = np.array([header.channels for header in headers], np.int8)
    for found in (widest("auto", channels), one_color("auto", headers)):
        has_color, has_alpha = CHANNELS[found] >= 3, CHANNELS[found] in (2, 4)
        assert all(has_color or header.channels <= 2 for header in headers)
        assert all(has_alpha or header.channels in (1, 3) for header in headers)
    assert CHANNELS[widest("auto", channels)] in range(max(channels), 5)
    assert one_color("rgb", headers) == "rgb"
    assert (one_dtype(headers) == np.uint16) == all(header.dtype == "uint16" for header in headers)


def test_alpha_that_is_dropped_is_said(tmp_path):
    for name, pixels in {"a.png": RGB, "b.png": OPAQUE, "c.png": RGBA, "d.png": GRAY_ALPHA}.items():
        save(tmp_path, name, pixels)
    for memory in (0, 1):  # held, and not held
        for color in ("rgb", "gray"):
            found, said = gather(tmp_path, color, memory=memory)
            assert found.channels == CHANNELS[color]
            (line,) = said
            assert line.startswith(f"--color {color} drops alpha that is not opaque everywhere")
            assert "from 2 of 4 images; the first: c.png" in line
    assert gather(tmp_path, "rgba")[1] == []


def test_alpha_that_is_opaque_is_dropped_in_silence(tmp_path):
    save(tmp_path, "b.png", OPAQUE)
    assert gather(tmp_path, "rgb")[1] == []


# Depth


def test_of_mixed_depths_the_deep_ones_are_rounded_and_it_is_said(tmp_path):
    save(tmp_path, "a.png", GRAY)
    save(tmp_path, "b.png", DEEP)
    save(tmp_path, "c.png", DEEP)
    found, said = gather(tmp_path)
    text = "2 of 3 images have 16 bits a channel, the others have 8: they are rounded to 8; the first: b.png"
    assert said == [text]
    assert found.dtype == np.uint8
    first, second, _ = images_of(found)
    np.testing.assert_array_equal(first[..., 0], GRAY)
    np.testing.assert_array_equal(second[..., 0], np.floor(DEEP * (255 / 65535) + 0.5))


def test_sixteen_bits_stay_where_all_have_them_unless_files_hold_fewer(tmp_path):
    save(tmp_path, "b.png", DEEP)
    found, said = gather(tmp_path)
    assert (found.dtype, said) == (np.uint16, [])
    np.testing.assert_array_equal(images_of(found)[0][..., 0], DEEP)
    found, said = gather(tmp_path, eight_bit=True)
    assert found.dtype == images_of(found)[0].dtype == np.uint8
    (line,) = said
    assert line.startswith("1 of 1 images have 16 bits a channel, an indexed PNG holds 8: they are rounded")


# Profiles


SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
WIDE = SRGB.replace("sRGB".encode("utf-16-be"), "wide".encode("utf-16-be")).replace(b"sRGB", b"wide")
"""The same numbers under another name, so as good as another profile."""


def test_profiles_that_differ_are_said_where_images_are_taken_together(tmp_path):
    save(tmp_path, "a.png", RGB)
    save(tmp_path, "b.png", RGB, icc_profile=SRGB)
    save(tmp_path, "c.jpg", RGB, icc_profile=SRGB)
    assert gather(tmp_path)[1] == []  # sRGB is what no profile means
    save(tmp_path, "d.png", RGB, icc_profile=WIDE)
    save(tmp_path, "e.jpg", RGB, icc_profile=WIDE)
    (line,) = gather(tmp_path)[1]
    assert line.startswith("the images have 2 color profiles and are taken together by their numbers alone: ")
    assert "3 in sRGB or without one, 2 as d.png" in line
    assert gather(tmp_path, alike=False)[1] == []


def test_density_is_no_profile(tmp_path):
    save(tmp_path, "a.png", RGB, dpi=(72, 72))
    save(tmp_path, "b.png", RGB, dpi=(300, 300))
    assert gather(tmp_path)[1] == []


def test_tags_come_with_the_pixels(tmp_path):
    save(tmp_path, "d.png", RGB, icc_profile=WIDE, dpi=(72, 72))
    found, _ = gather(tmp_path)
    executor = InProcess()
    (picture,) = executor.run([executor.task(lambda part: list(part.read()))(found.part(0, 1))])[0]
    assert {name for name, _ in picture.tags.chunks} == {b"iCCP", b"pHYs"}
    np.testing.assert_array_equal(picture.pixels, RGB)


def pictures_of(found):
    executor = InProcess()
    task = executor.task(lambda part: list(part.read()))
    return executor.run([task(found.part(0, len(found.index)))])[0]


@pytest.mark.parametrize("srgb", [False, True])
def test_tags_of_headers_are_those_of_the_pixels(tmp_path, srgb):
    """Also of a profile that the beginning of a file does not hold, and behind an image that is left out."""
    large = WIDE + rng.bytes(100_000)
    save(tmp_path, "a.png", RGB)
    save(tmp_path, "b.png", RGB, icc_profile=large, dpi=(72, 72))
    (tmp_path / "c.png").write_bytes(b"\x89PNG\r\n\x1a\n, and nothing else")
    save(tmp_path, "d.jpg", RGB, icc_profile=large)
    save(tmp_path, "e.tif", RGB, icc_profile=WIDE, compression="tiff_lzw")
    save(tmp_path, "f.png", RGB, dpi=(300, 300))
    for memory in (0, 1 << 30):  # the beginning of each file, and each whole
        found, _ = gather(tmp_path, memory=memory, max_skipped=1, srgb=srgb)
        assert found.index.names == ("a.png", "b.png", "d.jpg", "e.tif", "f.png")
        assert found.index.tags == tuple(picture.tags for picture in pictures_of(found))
        names = [[name for name, _ in tags.chunks] for tags in found.index.tags]
        profile = b"sRGB" if srgb else b"iCCP"
        first = [b"sRGB", b"pHYs"] if srgb else [b"pHYs"]
        assert names == [[], [profile, b"pHYs"], [profile], [profile], first]
    save(tmp_path / "plain", "a.png", RGB)
    assert gather(tmp_path / "plain", srgb=srgb)[0].index.tags == ()


def test_colors_are_converted_to_srgb_where_it_is_asked_for(tmp_path):
    """By hand: with gamma 1.0, and by the curve of sRGB, gray 55 is 128; alpha and density stay."""
    linear = np.dstack([np.full((5, 4, 3), 55, np.uint8), ALPHA])
    info = PngImagePlugin.PngInfo()
    info.add(b"gAMA", (100_000).to_bytes(4))
    save(tmp_path, "a.png", linear, pnginfo=info, dpi=(72, 72))
    save(tmp_path, "b.png", RGBA)
    for memory in (0, 1):  # held, and not held
        found, said = gather(tmp_path, srgb=True, memory=memory)
        assert said == []
        first, second = images_of(found)
        assert abs(first[..., :3].astype(int) - 128).max() <= 1
        np.testing.assert_array_equal(first[..., 3], ALPHA)
        np.testing.assert_array_equal(second, RGBA)
    gray, _ = gather(tmp_path, "gray", srgb=True)
    assert abs(images_of(gray)[0].astype(int) - 128).max() <= 1  # converted before it becomes gray
    (picture,) = found.source.part(0, 1).read("auto", max_pixels=LIMIT, srgb=True)
    assert [name for name, _ in picture.tags.chunks] == [b"sRGB", b"pHYs"]
    assert profile_of(picture.tags) == ""


# What is left out


def test_other_files_are_told(tmp_path):
    save(tmp_path, "a.png", RGB)
    (tmp_path / "notes.txt").write_text("mine")
    (tmp_path / "gone").symlink_to("nowhere")
    first, second = gather(tmp_path)[1]
    assert first == "left out 1 file that is no image: 1 .txt"
    assert second.startswith("left out 1 that cannot be used: gone (a link to nothing). Rename or copy")


@pytest.mark.parametrize(("allowed", "enough"), [("20%", True), ("19%", False), ("all", True), (1, True)])
def test_a_share_is_of_all_that_were_found(tmp_path, allowed, enough):
    for number in range(4):
        save(tmp_path, f"{number}.png", RGB)
    (tmp_path / "bad.png").write_bytes(b"no image")
    if enough:
        assert len(gather(tmp_path, max_skipped=allowed)[0].index) == 4
    else:
        with pytest.raises(SkippedError, match="1 of 5 images cannot be used, --max-skipped allows 19%"):
            gather(tmp_path, max_skipped=allowed)


def test_headers_are_read_no_further_than_the_limit(tmp_path, monkeypatch):
    """Of three batches of 256 files each begins with a bad one; the first is one too many."""
    png = io.BytesIO()
    Image.fromarray(RGB).save(png, "PNG")
    for number in range(600):
        (tmp_path / f"{number:03}.png").write_bytes(b"bad" if number % 256 == 0 else png.getvalue())
    seen, headers = [], FileSource.headers

    def counted(source, **options):
        seen.append(len(source))
        return headers(source, **options)

    monkeypatch.setattr(FileSource, "headers", counted)
    with pytest.raises(SkippedError, match=r"1 image cannot be used.*000\.png"):
        gather(tmp_path, memory=1)
    assert seen == [256]
