"""Where images come from: a folder or URL prefix, one image file, or a stack (IDX, .npy)."""

from __future__ import annotations

import sys
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

import numpy as np

from dkmeans.errors import DkmeansError, ImageError, InputError, StorageError
from dkmeans.images.decode import (
    Color,
    ImageHeader,
    IncompleteHeader,
    SkippedImage,
    convert_color,
    decode_tagged,
    read_header,
)
from dkmeans.images.formats import SUFFIXES
from dkmeans.images.listing import NOTHING, Ignored, begins_as_image, list_images, shown
from dkmeans.images.picture import Picture, in_srgb
from dkmeans.images.stacks import fingerprint, open_stack
from dkmeans.images.tags import to_srgb
from dkmeans.storage.store import Store, StoredObject, open_store

__all__ = ["FileSource", "SkippedImage", "Source", "estimate_pixels", "open_source", "sampled"]

_ACCEPTED = (
    f"a folder of images ({', '.join(suffix[1:] for suffix in SUFFIXES)}), one image, "
    "an IDX file (also .gz), or an .npy array"
)
_SAMPLED = 8
"""Images that an estimate looks at."""
_PREFIX = 64 * 2**10  # bytes read for a header; most fit, photographs with a preview in their EXIF do too


class Source(Protocol):
    """Images in a fixed order, as they lie in storage. Small, immutable and picklable."""

    @property
    def url(self) -> str:
        """Where the images lie."""

    @property
    def ignored(self) -> Ignored:
        """What lies in the folder besides its images."""

    @property
    def fingerprint(self) -> str:
        """SHA-256 (hex) over the relative keys and the sizes in bytes."""

    @property
    def versions(self) -> dict[str, str]:
        """Of each image, by its key and in order, its size and its ETag or time."""

    @property
    def encoded_bytes(self) -> int:
        """Bytes of the images as stored."""

    def __len__(self) -> int:
        """The number of images."""

    def part(self, start: int, stop: int) -> Source:
        """The images [start, stop)."""

    def without(self, keys: Collection[str]) -> Source:
        """This source without the images of these keys, in the same order."""

    def headers(
        self, *, max_pixels: int, files: Sequence[bytes | DkmeansError] | None = None
    ) -> list[ImageHeader | SkippedImage]:
        """Size, type and tags of each image, or why it cannot be read, in order; no pixel is decoded.

        `files` are those of the images, where they have been read (`FileSource.fetch`).

        Raises
        ------
        StorageError
            If storage fails; that is no fault of an image.
        """

    def read(
        self,
        color: Color,
        *,
        max_pixels: int,
        files: Sequence[bytes | DkmeansError] | None = None,
        srgb: bool = False,
    ) -> Iterator[Picture | SkippedImage]:
        """The images in order, one at a time.

        For "auto" each has the channels that its header tells. `files` are those of the images, where they
        have been read (`FileSource.fetch`). With `srgb` colors of other profiles are converted.

        Raises
        ------
        StorageError
            If storage fails; that is no fault of an image.
        """


@dataclass(frozen=True)
class FileSource:
    """Image files below `folder`, which is the parent of `url` if that is one file. See `Source`."""

    url: str
    folder: Store
    files: tuple[StoredObject, ...]
    ignored: Ignored = NOTHING

    def __len__(self) -> int:
        return len(self.files)

    def part(self, start: int, stop: int) -> FileSource:
        """The images [start, stop) of this source."""
        return replace(self, files=self.files[start:stop], ignored=NOTHING)

    def without(self, keys: Collection[str]) -> FileSource:
        """This source without the images of these keys."""
        return replace(self, files=tuple(file for file in self.files if file.key not in keys))

    @property
    def fingerprint(self) -> str:
        """SHA-256 (hex) over the keys and sizes in bytes."""
        return fingerprint((file.key, file.size) for file in self.files)

    @property
    def versions(self) -> dict[str, str]:
        """Size and ETag or time of each file, by its key."""
        return {file.key: f"{file.size} {file.version}" for file in self.files}

    @property
    def encoded_bytes(self) -> int:
        """Bytes of the files."""
        return sum(file.size for file in self.files)

    def fetch(self) -> list[bytes | DkmeansError]:
        """Read all files whole: the bytes of each, or why they cannot be read.

        Raises
        ------
        StorageError
            If storage fails; that is no fault of an image.
        """
        files = list(self.folder.get_many(self.files))
        for found in files:
            if isinstance(found, StorageError):
                raise found
        return files

    def file(self, position: int) -> bytes:
        """Read the file of one image, as it is.

        Raises
        ------
        InputError
            If it is gone, or has another size than when the folder was listed.
        StorageError
            If storage fails.
        """
        file = self.files[position]
        return self._whole(file, self.folder.get(file.key))

    def headers(
        self, *, max_pixels: int, files: Sequence[bytes | DkmeansError] | None = None
    ) -> list[ImageHeader | SkippedImage]:
        """Size, type and tags of each image from the beginning of its file, or the whole one where needed."""
        beginnings = self.folder.get_many(self.files, limit=_PREFIX) if files is None else iter(files)
        found = zip(self.files, beginnings, strict=True)
        return [self._header(file, beginning, max_pixels) for file, beginning in found]

    def read(
        self,
        color: Color,
        *,
        max_pixels: int,
        files: Sequence[bytes | DkmeansError] | None = None,
        srgb: bool = False,
    ) -> Iterator[Picture | SkippedImage]:
        """Each image, in order."""
        whole = self.folder.get_many(self.files) if files is None else iter(files)
        for file, data in zip(self.files, whole, strict=True):
            try:
                yield _picture(self._whole(file, data), file.key, color, max_pixels, srgb)
            except InputError as error:
                yield self._skipped(file, error)

    def _header(
        self, file: StoredObject, beginning: bytes | DkmeansError, max_pixels: int
    ) -> ImageHeader | SkippedImage:
        try:
            if isinstance(beginning, DkmeansError):
                raise beginning
            if len(beginning) == _PREFIX < file.size:
                try:
                    return read_header(beginning, file.key, max_pixels=max_pixels, whole=False)
                except IncompleteHeader:  # also where a profile is longer
                    beginning = self.folder.get(file.key)
            return read_header(self._whole(file, beginning), file.key, max_pixels=max_pixels)
        except InputError as error:  # an image that is bad, gone, or not ours to read
            return self._skipped(file, error)

    def _whole(self, file: StoredObject, data: bytes | DkmeansError) -> bytes:
        if isinstance(data, DkmeansError):
            raise data
        if len(data) != file.size:
            raise ImageError(
                f"{file.key}: {len(data)} bytes; expected {file.size}, as when the folder was listed. "
                "Do not change the images meanwhile."
            )
        return data

    def _skipped(self, file: StoredObject, error: InputError) -> SkippedImage:
        """The reason without the key, which stands beside it, and without the place on this machine."""
        reason = str(error).removeprefix(f"{self.folder.url_of(file.key)}: ")
        return SkippedImage(file.key, reason.removeprefix(f"{file.key}: "))


def _picture(data: bytes, key: str, color: Color, max_pixels: int, srgb: bool) -> Picture:
    pixels, tags = decode_tagged(data, key, "auto" if srgb else color, max_pixels=max_pixels)
    if not srgb:
        return Picture(pixels, tags)
    return Picture(np.ascontiguousarray(convert_color(to_srgb(pixels, tags), color)), in_srgb(tags))


def open_source(url: str) -> Source:
    """Find the images at a URL.

    A folder or prefix gives every image below it, in natural order of the relative keys (``2.png`` before
    ``10.png``): what has a suffix of images, and what begins as an image does. Hidden files, others, and
    links that leave the folder are `ignored`. An IDX file or an .npy array of shape (n, height, width) or
    (n, height, width, 1 | 3 | 4) gives n images with the keys ``00000``, ``00001``, ...

    Parameters
    ----------
    url : str
        A local path or a URL, see `dkmeans.storage.urls`.

    Returns
    -------
    Source

    Raises
    ------
    InputError
        If nothing is there, no image is in it, or the file is of another kind or damaged.
    StorageError
        If storage fails.
    """
    store = open_store(url)
    url = store.url
    folder, _, name = url.rpartition("/")
    if folder.endswith(":/"):  # s3://bucket: nothing above it; memory://name: the store itself
        folder, name = (f"{folder}/", name) if url.startswith("memory://") else ("", "")
    if name and (above := open_store(folder or "/")).exists(name):
        return _open_file(above, name)
    files, ignored = list_images(store)
    if not files and ignored == NOTHING and not (store.is_local and Path(url).is_dir()):
        raise InputError(f"{url}: missing, there is no such file or folder; expected {_ACCEPTED}. Check it.")
    if not files:
        raise InputError(_no_images(url, ignored))
    return FileSource(url, store, tuple(files), ignored)


def sampled(source: Source, n: int) -> Source:
    """At most `n` of the images of a source, spread evenly."""
    keys = list(source.versions)
    return source.without(set(keys) - set(keys[:: -(-len(keys) // n)]))


def estimate_pixels(source: Source) -> int:
    """Estimate the pixels of all images of a source from the headers of a few of them."""
    found = sampled(source, _SAMPLED).headers(max_pixels=sys.maxsize)
    sizes = [header.height * header.width for header in found if isinstance(header, ImageHeader)]
    return sum(sizes) * len(source) // max(1, len(sizes))


def _open_file(folder: Store, name: str) -> Source:
    if not name.lower().endswith(SUFFIXES):
        stack = open_stack(folder, name)
        if stack is not None:
            return stack
        if not begins_as_image(folder, name):
            raise InputError(f"{name}: a file of another kind; expected {_ACCEPTED}. Unpack or convert it.")
    return FileSource(folder.url_of(name), folder, (folder.look(name),))


def _no_images(url: str, ignored: Ignored) -> str:
    names = [*map(shown, ignored.files), *ignored.odd, *map(shown, ignored.made)]
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return (
        f"{url}: empty, no image in this folder; it holds {', '.join(names[:3]) or 'nothing'}{more}. "
        f"Expected {_ACCEPTED}. Give a stack (IDX, .npy) by its own path."
    )
