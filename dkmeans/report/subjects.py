"""The subjects of sections of the page: images that a stage made, beside their originals and the codebook."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dkmeans.artefacts.codebook import Codebook, open_codebook
from dkmeans.artefacts.coded import CodedImages, CodedManifest
from dkmeans.artefacts.dataset import Dataset, open_dataset
from dkmeans.artefacts.folder import FolderManifest, ImageFolder
from dkmeans.artefacts.kinds import open_images
from dkmeans.artefacts.manifests import digest
from dkmeans.errors import InputError, MismatchError
from dkmeans.images.decode import COLORS, SkippedImage
from dkmeans.images.index import ImageIndex
from dkmeans.images.sources import Source, open_source

__all__ = ["SourceImages", "Subject", "open_subject"]


@dataclass(frozen=True)
class SourceImages:
    """The images of a source as quantize found them, decoded when they are asked for.

    Attributes
    ----------
    source : Source
        These images alone.
    index : ImageIndex
        Their names and sizes at that time.
    dtype : numpy dtype
    channels : int
    """

    source: Source
    index: ImageIndex
    dtype: np.dtype[Any]
    channels: int

    @property
    def url(self) -> str:
        """Where they lie."""
        return self.source.url

    def image(self, position: int) -> NDArray[Any]:
        """One image; shape (height, width, channels).

        Raises
        ------
        MismatchError
            If it cannot be decoded any more, or has another size or type now.
        """
        height, width = self.index.sizes(position, position + 1)[0].tolist()
        part = self.source.part(position, position + 1)
        (image,) = part.read(COLORS[self.channels], max_pixels=height * width)
        if isinstance(image, SkippedImage) or (*image.shape[:2], image.dtype) != (height, width, self.dtype):
            raise _changed(self.url, self.index.names[position])
        return image


@dataclass(frozen=True)
class Subject:
    """Images that a stage made, the originals, and the codebook that they were made by.

    Attributes
    ----------
    result : CodedImages or ImageFolder
    originals : Dataset or SourceImages
        In the order of the result.
    codebook : Codebook or None
        None for images of quantize, which keeps none.
    """

    result: CodedImages | ImageFolder
    originals: Dataset | SourceImages
    codebook: Codebook | None


def open_subject(url: str) -> Subject:
    """Open coded images, or a folder that quantize wrote, with what they were made from.

    Raises
    ------
    InputError
        If one of these is missing or unfinished, or the folder is one that nothing was measured for.
    MismatchError
        If the dataset, the codebook or the source is another one than the result was made from.
    """
    result = open_images(url)
    found = result.manifest
    if isinstance(found, FolderManifest) and found.mse is None:
        raise InputError(
            f"{result.url} holds the image files of {found.source}; expected coded images, or a folder that "
            f"quantize wrote. Give {found.source} instead."
        )
    if isinstance(found, CodedManifest) and found.dataset is not None and found.codebook is not None:
        return _of_dataset(result, open_dataset(found.dataset), open_codebook(found.codebook))
    return Subject(result, _open_originals(result), None)


def _of_dataset(result: CodedImages | ImageFolder, dataset: Dataset, codebook: Codebook) -> Subject:
    if digest([dataset.manifest.digest, codebook.manifest.centers_sha256]) != result.manifest.input_digest:
        raise MismatchError(
            f"{result.url} was made from another dataset or codebook than {dataset.url} and {codebook.url} "
            "now are. Make the result again with --overwrite."
        )
    return Subject(result, dataset, codebook)


def _open_originals(result: CodedImages | ImageFolder) -> SourceImages:
    """The source that quantize has read, without the images that it skipped."""
    found = result.manifest
    assert found.source is not None
    source = open_source(found.source)
    if source.fingerprint != found.input_digest:
        raise _changed(source.url, "it")
    if isinstance(result, CodedImages):
        assert result.manifest.space is not None
        dtype, channels = result.manifest.space.dtype, result.manifest.space.channels
    else:
        assert result.manifest.channels is not None
        dtype, channels = np.dtype(np.uint8), result.manifest.channels
    source = source.without(source.versions.keys() - set(result.index.names))
    return SourceImages(source, result.index, dtype, channels)


def _changed(url: str, what: str) -> MismatchError:
    return MismatchError(
        f"{url}: {what} has changed since quantize has read it, so there are no originals to compare with. "
        "Bring them back, or quantize them again with --overwrite."
    )
