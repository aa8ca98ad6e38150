"""What a result is shown beside: its originals as they were, or of each why it is not there any more."""

from __future__ import annotations

import os

import numpy as np
import pytest
from PIL import Image

from dkmeans.config.stages import CompressConfig, DecodeConfig, FitConfig, IngestConfig, QuantizeConfig
from dkmeans.errors import InputError, MismatchError
from dkmeans.report.subjects import SourceImages, open_subject
from dkmeans.stages.compress import compress
from dkmeans.stages.decode import decode
from dkmeans.stages.fit import fit
from dkmeans.stages.ingest import ingest
from dkmeans.stages.quantize import quantize

pytestmark = pytest.mark.filterwarnings("ignore:skipped 1.bmp")


def images():
    rng = np.random.default_rng(0)
    return rng.integers(0, 256, (3, 9, 8, 3), dtype=np.uint8)


@pytest.fixture
def quantized(tmp_path, sync):
    """A folder, and an archive, of three images; a fourth file is none."""
    (tmp_path / "source").mkdir()
    for number, pixels in enumerate(images()):
        Image.fromarray(pixels).save(tmp_path / "source" / f"{2 * number}.bmp")
    (tmp_path / "source" / "1.bmp").write_bytes(b"no image")
    for to in ("png", "archive"):
        options = {"n_clusters": 4, "max_skipped": 1, "to": to}
        quantize(
            QuantizeConfig(source=str(tmp_path / "source"), destination=str(tmp_path / to), **options), sync
        )
    return tmp_path


@pytest.mark.parametrize("to", ["png", "archive"])
def test_originals_are_the_images_of_the_source_that_were_not_skipped(quantized, to):
    subject = open_subject(str(quantized / to))
    assert isinstance(subject.originals, SourceImages)
    assert subject.originals.index.names == ("0.bmp", "2.bmp", "4.bmp")
    for position, pixels in enumerate(images()):
        np.testing.assert_array_equal(subject.originals.image(position), pixels)


@pytest.mark.parametrize("color", ["gray", "rgb"])
def test_originals_of_a_stack(tmp_path, sync, color):
    stack = images() if color == "rgb" else images()[..., 0]
    np.save(tmp_path / "stack.npy", stack)
    options = {"n_clusters": 4, "to": "archive", "color": color}
    quantize(
        QuantizeConfig(source=str(tmp_path / "stack.npy"), destination=str(tmp_path / "out"), **options), sync
    )
    originals = open_subject(str(tmp_path / "out")).originals
    for position in range(3):
        np.testing.assert_array_equal(originals.image(position), stack[position].reshape(9, 8, -1))


@pytest.mark.parametrize("to", ["png", "archive"])
def test_an_image_that_is_gone_leaves_the_others(quantized, to):
    (quantized / "source" / "2.bmp").unlink()
    originals = open_subject(str(quantized / to)).originals
    with pytest.raises(MismatchError, match=r"2\.bmp is gone from .*source$"):
        originals.image(1)
    for position in (0, 2):
        np.testing.assert_array_equal(originals.image(position), images()[position])
    assert [originals.file_url(position) for position in range(3)] == [
        str(quantized / "source" / "0.bmp"),
        None,
        str(quantized / "source" / "4.bmp"),
    ]


def test_an_image_of_other_bytes_has_changed(quantized):
    with (quantized / "source" / "2.bmp").open("ab") as file:
        file.write(b"more")
    originals = open_subject(str(quantized / "png")).originals
    with pytest.raises(MismatchError, match=r"2\.bmp has changed"):
        originals.image(1)
    np.testing.assert_array_equal(originals.image(2), images()[2])


def test_a_stack_that_has_changed_has_no_original(tmp_path, sync):
    np.save(tmp_path / "stack.npy", images())
    options = {"source": str(tmp_path / "stack.npy"), "destination": str(tmp_path / "out"), "n_clusters": 4}
    quantize(QuantizeConfig(**options), sync)
    np.save(tmp_path / "stack.npy", images()[:2])
    with pytest.raises(MismatchError, match=r"stack\.npy has changed since quantize has read it"):
        open_subject(str(tmp_path / "out")).originals.image(0)


def test_an_image_that_has_changed_is_refused(quantized):
    """In a file of as many bytes, which is all that the fingerprint sees."""
    file = quantized / "source" / "2.bmp"
    before = file.stat().st_size
    Image.fromarray(np.zeros((3, 24, 3), np.uint8)).save(file)
    assert file.stat().st_size == before
    originals = open_subject(str(quantized / "png")).originals
    with pytest.raises(MismatchError, match=r"2\.bmp has changed"):
        originals.image(1)


def test_other_pixels_of_the_same_size_are_seen_by_their_time(quantized):
    file = quantized / "source" / "2.bmp"
    before = file.read_bytes()
    file.write_bytes(before[:-3] + bytes(byte ^ 1 for byte in before[-3:]))
    os.utime(file, (1, 1))
    with pytest.raises(MismatchError, match=r"2\.bmp has changed"):
        open_subject(str(quantized / "png")).originals.image(1)


def test_a_source_that_is_gone_is_named(quantized):
    (quantized / "source").rename(quantized / "elsewhere")
    originals = open_subject(str(quantized / "png")).originals
    assert originals.file_url(0) is None
    with pytest.raises(MismatchError, match="source: missing"):
        originals.image(0)


def test_a_folder_of_another_stage_names_what_to_give_instead(quantized, sync):
    data, book, result, files = (str(quantized / name) for name in ("data", "book", "result", "files"))
    ingest(IngestConfig(source=str(quantized / "source"), dataset=data, max_skipped=1), sync)
    fit(FitConfig(dataset=data, codebook=book, n_clusters=2, max_iter=2, tol=1), sync)
    compress(CompressConfig(dataset=data, codebook=book, result=result, images=files), sync)
    decode(DecodeConfig(archive=result, images=str(quantized / "decoded")), sync)
    for folder in ("files", "decoded"):
        with pytest.raises(InputError, match=f"{folder} holds the image files of .*Give .*result instead"):
            open_subject(str(quantized / folder))
    with pytest.raises(InputError, match="data is a dataset; expected coded images"):
        open_subject(data)


@pytest.mark.filterwarnings("ignore:.*16 bits")
def test_originals_of_sixteen_bits_are_rounded_as_the_files_were(tmp_path, sync):
    deep = np.arange(12, dtype=np.uint16).reshape(1, 3, 4) * 257 + 100
    np.save(tmp_path / "deep.npy", deep)
    options = {"source": str(tmp_path / "deep.npy"), "destination": str(tmp_path / "few"), "n_clusters": 12}
    quantize(QuantizeConfig(**options), sync)
    subject = open_subject(str(tmp_path / "few"))
    original, image = subject.originals.image(0), subject.result.image(0)
    assert original.dtype == np.uint8
    np.testing.assert_array_equal(original[..., 0], np.arange(12).reshape(3, 4))
    np.testing.assert_array_equal(image, original)
