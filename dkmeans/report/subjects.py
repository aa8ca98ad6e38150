"""The subjects of sections of the page: images that a stage made, beside their originals and the codebook."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dkmeans.artefacts.codebook import Codebook, open_codebook
from dkmeans.artefacts.coded import CodedImages, CodedManifest
from dkmeans.artefacts.dataset import Dataset, open_dataset
from dkmeans.artefacts.folder import FolderManifest, ImageFolder, open_folder
from dkmeans.artefacts.kinds import open_images
from dkmeans.artefacts.manifests import digest
from dkmeans.errors import InputError, MismatchError
from dkmeans.images.decode import COLORS, SkippedImage, eight_bits
from dkmeans.images.index import ImageIndex
from dkmeans.images.sources import FileSource, Source, open_source

__all__ = ["SourceImages", "Subject", "open_subject"]


@dataclass(frozen=True)
class SourceImages:
    """The images of a source as quantize found them, decoded when they are asked for.

    Attributes
    ----------
    url : str
        Where they lie, or lay.
    source : Source or str
        What lies there now, or why nothing can be read from it.
    index : ImageIndex
        Names and sizes of the images at that time.
    sizes : tuple of int
        Bytes of each at that time.
    versions : dict of str to str
        Size and time, or ETag, of each at that time by its name, where a folder has recorded it.
    dtype : numpy dtype
    channels : int
    """

    url: str
    source: Source | str
    index: ImageIndex
    sizes: tuple[int, ...]
    versions: dict[str, str]
    dtype: np.dtype[Any]
    channels: int

    @cached_property
    def _places(self) -> dict[str, int]:
        """The number of each file in the source, by its key."""
        files = self.source.files if isinstance(self.source, FileSource) else ()
        return {file.key: place for place, file in enumerate(files)}

    def image(self, position: int, channels: int | None = None) -> NDArray[Any]:
        """One image; shape (height, width, channels), with the channels of all if no others are asked for.

        Raises
        ------
        MismatchError
            If it is gone, cannot be decoded any more, or has changed since.
        """
        source, name = self.source, self.index.names[position]
        if isinstance(source, str):
            raise MismatchError(source)
        place = self._places.get(name) if isinstance(source, FileSource) else position
        if place is None:
            raise MismatchError(f"{name} is gone from {self.url}")
        part = source.part(place, place + 1)
        height, width = self.index.sizes(position, position + 1)[0].tolist()
        if isinstance(part, FileSource) and part.encoded_bytes != self.sizes[position]:
            raise _changed(name)
        if name in self.versions and part.versions[name] != self.versions[name]:
            raise _changed(name)
        (image,) = part.read(COLORS[channels or self.channels], max_pixels=height * width)
        if isinstance(image, SkippedImage) or image.pixels.shape[:2] != (height, width):
            raise _changed(name)
        pixels = eight_bits(image.pixels) if self.dtype == np.uint8 else image.pixels
        if pixels.dtype != self.dtype:
            raise _changed(name)
        return pixels

    def file_url(self, position: int) -> str | None:
        """The URL of the file of one image; None where it is gone, or lies in a stack."""
        source, name = self.source, self.index.names[position]
        return source.folder.url_of(name) if isinstance(source, FileSource) and name in self._places else None


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
    file : str or None
        URL of the file of the one image, where it lies elsewhere than in the folder.
    """

    result: CodedImages | ImageFolder
    originals: Dataset | SourceImages
    codebook: Codebook | None
    file: str | None = None

    @property
    def url(self) -> str:
        """Where the images lie."""
        return self.file or self.result.url

    @property
    def file_urls(self) -> list[str]:
        """URL of the file of each image; empty for coded images without files, or whose files are gone."""
        if self.file is not None:
            return [self.file]
        folder = self._folder
        return [] if folder is None else [folder.store.url_of(key) for key in folder.keys]

    @cached_property
    def _folder(self) -> ImageFolder | None:
        """The folder of the files."""
        if isinstance(self.result, ImageFolder):
            return self.result
        try:
            found = None if self.result.manifest.images is None else open_folder(self.result.manifest.images)
        except InputError:
            return None
        return found if found is None or len(found.keys) == len(self.result.index) else None


def open_subject(url: str) -> Subject:
    """Open coded images, or a folder that quantize wrote, with what they were made from.

    Of quantize the source may have changed, or be gone: each original is looked for when it is asked for.

    Raises
    ------
    InputError
        If one of these is missing or unfinished, or the folder is one that nothing was measured for.
    MismatchError
        If the dataset or the codebook is another one than the result was made from.
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
    if digest([*dataset.told, codebook.manifest.centers_sha256]) != result.manifest.input_digest:
        raise MismatchError(
            f"{result.url} was made from another dataset or codebook than {dataset.url} and {codebook.url} "
            "now are. Make the result again with --overwrite."
        )
    return Subject(result, dataset, codebook)


def _open_originals(result: CodedImages | ImageFolder) -> SourceImages:
    """The source that quantize has read, without the images that it skipped."""
    found = result.manifest
    assert found.source is not None
    if isinstance(result, CodedImages):
        assert result.manifest.space is not None
        dtype, channels = result.manifest.space.dtype, result.manifest.space.channels
    else:
        assert result.manifest.channels is not None
        dtype, channels = np.dtype(np.uint8), result.manifest.channels
    sizes = tuple(int(n_bytes) for n_bytes in result.measures["source_bytes"])
    source = _open_source(found.source, found.input_digest, set(result.index.names))
    records = result.records if isinstance(result, ImageFolder) else []
    versions = {each["name"]: each["source"] for each in records if "source" in each}
    return SourceImages(found.source, source, result.index, sizes, versions, dtype, channels)


def _open_source(url: str, fingerprint: str, names: set[str]) -> Source | str:
    """What lies at the URL now of these images, or why no original can be read from it."""
    try:
        source = open_source(url)
    except InputError as error:
        return str(error)
    if not isinstance(source, FileSource) and source.fingerprint != fingerprint:
        return str(_changed(url))
    return source.without(source.versions.keys() - names)


def _changed(what: str) -> MismatchError:
    return MismatchError(f"{what} has changed since quantize has read it")
