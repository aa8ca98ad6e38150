"""Files that hold many images of one size: IDX (the format of MNIST), plain or gzipped, and .npy."""

from __future__ import annotations

import gzip
import hashlib
import io
import math
import zlib
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from itertools import groupby
from typing import Any

import numpy as np

from dkmeans.errors import DkmeansError, InputError
from dkmeans.images.decode import COLORS, Color, ImageHeader, SkippedImage, convert_color
from dkmeans.images.listing import NOTHING, Ignored
from dkmeans.images.picture import Picture
from dkmeans.storage.store import Store

__all__ = ["StackSource", "fingerprint", "open_stack"]

_BLOCK = 8 * 2**20  # bytes of images that one request reads
_HEADER = 64 * 2**10  # bytes that hold any header; numpy itself refuses one above 10,000
_IDX_TYPES = (0x08, 0x09, 0x0B, 0x0C, 0x0D, 0x0E)


@dataclass(frozen=True)
class StackSource:
    """Some images of one stack. See `dkmeans.images.sources.Source`.

    `folder` and `name` are where the file lies, `offset` its bytes before the pixels (after gunzip),
    `shape` and `dtype` those of the whole stack, `indices` the images that belong to this source, `version`
    is that of the file.
    """

    folder: Store
    name: str
    size: int
    offset: int
    shape: tuple[int, int, int, int]
    dtype: str
    gzipped: bool
    indices: Sequence[int]
    ignored: Ignored = NOTHING
    version: str = ""

    @property
    def url(self) -> str:
        """The URL of the file."""
        return self.folder.url_of(self.name)

    def __len__(self) -> int:
        return len(self.indices)

    def part(self, start: int, stop: int) -> StackSource:
        """The images [start, stop) of this source."""
        return replace(self, indices=self.indices[start:stop])

    def without(self, keys: Collection[str]) -> StackSource:
        """This source without the images of these keys."""
        return replace(self, indices=tuple(i for i in self.indices if self._key(i) not in keys))

    @property
    def fingerprint(self) -> str:
        """SHA-256 (hex) of the name and size of the file and of the keys."""
        pixels = math.prod(self.shape[1:]) * np.dtype(self.dtype).itemsize
        images = ((self._key(index), pixels) for index in self.indices)
        return fingerprint([(self.name, self.size), *images])

    @property
    def versions(self) -> dict[str, str]:
        """Size and ETag or time of the file, by the key of each image: all change together."""
        return dict.fromkeys(map(self._key, self.indices), f"{self.size} {self.version}")

    @property
    def encoded_bytes(self) -> int:
        """Bytes as stored; the share of these images, for a part."""
        return self.size * len(self.indices) // self.shape[0]

    def headers(
        self, *, max_pixels: int, files: Sequence[bytes | DkmeansError] | None = None
    ) -> list[ImageHeader | SkippedImage]:
        """Key, size and type of each image, in order; all are skipped if they are too large."""
        _, height, width, channels = self.shape
        kind = np.dtype(self.dtype).name
        if height * width <= max_pixels:
            keys = map(self._key, self.indices)
            return [ImageHeader(key, height, width, kind, channels=channels) for key in keys]
        reason = f"{height} x {width} pixels; expected at most {max_pixels}. Raise max_pixels."
        return [SkippedImage(self._key(index), reason) for index in self.indices]

    def read(
        self,
        color: Color,
        *,
        max_pixels: int,
        files: Sequence[bytes | DkmeansError] | None = None,
        srgb: bool = False,
    ) -> Iterator[Picture | SkippedImage]:
        """Each image, in order; they have no profiles."""
        skipped = [image for image in self.headers(max_pixels=max_pixels) if isinstance(image, SkippedImage)]
        if skipped:
            yield from skipped
            return
        wanted = COLORS[self.shape[3]] if color == "auto" else color
        for data in self._frames():
            pixels = np.frombuffer(data, self.dtype).reshape(self.shape[1:])
            native = pixels.astype(pixels.dtype.newbyteorder("="))
            yield Picture(np.ascontiguousarray(convert_color(native, wanted)))

    def _key(self, index: int) -> str:
        return f"{index:0{max(5, len(str(self.shape[0] - 1)))}d}"

    def _frames(self) -> Iterator[bytes]:
        """The bytes of each image, read in blocks, so that small images are not one request each."""
        length = math.prod(self.shape[1:]) * np.dtype(self.dtype).itemsize
        fetch = self._fetcher()
        for _, group in groupby(self.indices, key=lambda index: index // max(1, _BLOCK // length)):
            members = list(group)
            first, count = members[0], members[-1] + 1 - members[0]
            with _unpacking(self.name):
                block = fetch(self.offset + first * length, count * length)
            if len(block) != count * length:
                raise InputError(f"{self.name}: shorter than when it was opened. Do not change it meanwhile.")
            for index in members:
                yield block[(index - first) * length : (index - first + 1) * length]

    def _fetcher(self) -> Callable[[int, int], bytes]:
        """A function (start, length) -> bytes; its calls ascend, so a gzip file is unpacked once."""
        if not self.gzipped:
            return partial(self.folder.get_range, self.name)
        stream = gzip.GzipFile(fileobj=io.BytesIO(self.folder.get(self.name)))

        def fetch(start: int, length: int) -> bytes:
            stream.seek(start)  # forward: unpacks and throws away
            return stream.read(length)

        return fetch


def fingerprint(entries: Iterable[tuple[str, int]]) -> str:
    """SHA-256 (hex) over keys and sizes in bytes; a key goes with its length, so none run together."""
    digest = hashlib.sha256()
    for key, size in entries:
        name = key.encode("utf-8", "surrogateescape")
        digest.update(b"%d:%b%d;" % (len(name), name, size))
    return digest.hexdigest()


def open_stack(folder: Store, name: str) -> StackSource | None:
    """Open the stack `name` in `folder`; None if the file is not a stack.

    Raises
    ------
    InputError
        If it is one that cannot be used: labels, another type or shape, a length that its header denies.
    """
    stored = folder.look(name)
    size = stored.size
    head = folder.get_range(name, 0, _HEADER)
    gzipped = head.startswith(b"\x1f\x8b")
    if gzipped:
        with _unpacking(name):
            head = zlib.decompressobj(wbits=31).decompress(head, 64)
    if head.startswith(b"\x93NUMPY") and not gzipped:
        offset, shape, dtype = _npy_header(name, head)
    elif _is_idx(name, head):
        offset, shape, dtype = _idx_header(name, head)
    else:
        return None
    promised = offset + math.prod(shape) * dtype.itemsize
    found = _unpacked_size(folder, name, promised) if gzipped else size
    if found != promised:
        more = "more than " if gzipped and found > promised else ""
        raise InputError(
            f"{name}: its header promises {promised} bytes for shape {shape}, it holds {more}"
            f"{promised if more else found}. Download or write the file again."
        )
    return StackSource(
        folder=folder,
        name=name,
        size=size,
        offset=offset,
        shape=(shape[0], shape[1], shape[2], shape[3] if len(shape) == 4 else 1),
        dtype=dtype.str,
        gzipped=gzipped,
        indices=range(shape[0]),
        version=stored.version,
    )


@contextmanager
def _unpacking(name: str) -> Iterator[None]:
    try:
        yield
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise InputError(f"{name}: damaged or truncated gzip file ({error}). Download it again.") from error


def _unpacked_size(folder: Store, name: str, limit: int) -> int:
    """Bytes that the gzip file unpacks to, at most `limit` + 1; nothing is kept."""
    stream = gzip.GzipFile(fileobj=io.BytesIO(folder.get(name)))
    total = 0
    with _unpacking(name):
        while block := stream.read(min(_BLOCK, limit + 1 - total)):
            total += len(block)
    return total


def _is_idx(name: str, head: bytes) -> bool:
    plain = name.lower().removesuffix(".gz")
    named = plain.endswith(("-ubyte", ".idx"))
    return named or (len(head) >= 4 and head[:2] == b"\0\0" and head[2] in _IDX_TYPES)


def _idx_header(name: str, head: bytes) -> tuple[int, tuple[int, ...], np.dtype[Any]]:
    """Bytes before the pixels, shape and type of an IDX file: 0, 0, type, axes, sizes (big-endian)."""
    expected = "expected unsigned bytes in 3 or 4 axes (0x00000803 or 0x00000804)"
    if len(head) >= 4 and head[:2] == b"\0\0" and head[3] == 1:
        raise InputError(f"{name}: an IDX file of labels, not of images; {expected}. Give the images.")
    if len(head) < 4 or head[:3] != b"\0\0\x08" or head[3] not in (3, 4) or len(head) < 4 + 4 * head[3]:
        raise InputError(f"{name}: its magic number is 0x{head[:4].hex()}; {expected}. Convert it.")
    shape = tuple(int(size) for size in np.frombuffer(head, ">u4", head[3], 4))
    return 4 + 4 * head[3], _check_layout(name, shape, np.dtype(np.uint8)), np.dtype(np.uint8)


def _npy_header(name: str, head: bytes) -> tuple[int, tuple[int, ...], np.dtype[Any]]:
    """Bytes before the pixels, shape and type of an .npy file. Nothing is unpickled."""
    file = io.BytesIO(head)
    try:
        if np.lib.format.read_magic(file) == (1, 0):
            shape, columns_first, dtype = np.lib.format.read_array_header_1_0(file)
        else:
            shape, columns_first, dtype = np.lib.format.read_array_header_2_0(file)
    except Exception as error:  # the header is a Python literal, so errors are of many types
        raise InputError(f"{name}: its .npy header cannot be read. Write it again with np.save.") from error
    if columns_first:
        raise InputError(
            f"{name}: stored in Fortran order; expected C order. Save np.ascontiguousarray(images) instead."
        )
    return file.tell(), _check_layout(name, shape, dtype), dtype


def _check_layout(name: str, shape: tuple[int, ...], dtype: np.dtype[Any]) -> tuple[int, ...]:
    if dtype.kind != "u" or dtype.itemsize > 2:
        raise InputError(
            f"{name}: images of type {dtype}; expected uint8 or uint16. "
            "Scale them to 0..255 or 0..65535 and convert them with .astype(np.uint8)."
        )
    if len(shape) not in (3, 4) or (len(shape) == 4 and shape[3] not in (1, 3, 4)) or min(shape) < 1:
        raise InputError(
            f"{name}: an array of shape {shape}; expected (n, height, width) or "
            "(n, height, width, 1 | 3 | 4), none of them 0. Reshape it."
        )
    return shape
