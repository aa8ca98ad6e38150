"""The images that studies run on where none are given: those that scikit-image and scikit-learn ship."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dkmeans.images.encode import encode_png
from dkmeans.storage.store import Store, open_store

__all__ = ["write_digits", "write_faces", "write_photos"]

_PHOTOS = ("astronaut", "chelsea", "coffee", "rocket")
_SIDE = 28
"""Pixels to which the 8 x 8 digits of scikit-learn are enlarged: those of MNIST."""
_TEST_SHARE = 10
"""One in so many digits is not learned from."""


def write_photos(url: str) -> None:
    """Write four photos of scikit-image as PNG files below `url`."""
    from skimage import data

    store = open_store(url)
    for name in _PHOTOS:
        _write(store, f"{name}.png", encode_png(getattr(data, name)()))


def write_digits(url: str) -> tuple[str, str]:
    """Write scikit-learn's handwritten digits, enlarged, as two stacks below `url`.

    Returns
    -------
    (str, str)
        URLs of those to learn from, and of those to try.
    """
    from skimage.transform import resize
    from sklearn.datasets import load_digits

    small = load_digits().images / 16  # (1797, 8, 8), values 0 to 16
    large = resize(small, (len(small), _SIDE, _SIDE), order=3, mode="constant", anti_aliasing=False)
    digits = np.rint(np.clip(large, 0, 1) * 255).astype(np.uint8)
    n_learned = len(digits) - len(digits) // _TEST_SHARE
    store = open_store(url)
    _write(store, "learn.npy", _npy(digits[:n_learned]))
    _write(store, "test.npy", _npy(digits[n_learned:]))
    return store.url_of("learn.npy"), store.url_of("test.npy")


def write_faces(url: str) -> None:
    """Write the faces of scikit-image below `url`: the first half of 200 images of 25 x 25 pixels."""
    from skimage import data
    from skimage.util import img_as_ubyte

    images, store = data.lfw_subset(), open_store(url)
    for number, image in enumerate(images[: len(images) // 2]):
        pixels = img_as_ubyte(image).reshape(*image.shape, 1)
        _write(store, f"{number:03}.png", encode_png(pixels))


def _write(store: Store, key: str, data: bytes) -> None:
    """Write an object that is not there yet: a new time would make it another image to a study resumed."""
    if store.get_or_none(key) != data:
        store.put(key, data)


def _npy(values: NDArray[Any]) -> bytes:
    file = io.BytesIO()
    np.save(file, values, allow_pickle=False)
    return file.getvalue()
