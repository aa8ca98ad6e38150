"""Icons and shadows with alpha, drawn from numbers alone: what a palette with alpha is judged by."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

__all__ = ["draw_all"]

SIZE = 160


def _grid() -> tuple[np.ndarray, np.ndarray]:
    y, x = np.mgrid[0:SIZE, 0:SIZE]
    return (x + 0.5) / SIZE, (y + 0.5) / SIZE


def _inside(distance: np.ndarray, softness: float = 1 / SIZE) -> np.ndarray:
    """Coverage of a shape from its signed distance, with an edge of about one pixel, or a soft one."""
    return np.clip(0.5 - distance / softness, 0, 1)


def _disc(x: float, y: float, r: float) -> np.ndarray:
    across, down = _grid()
    return np.hypot(across - x, down - y) - r


def _box(x: float, y: float, half_width: float, half_height: float, corner: float) -> np.ndarray:
    """Signed distance to a box with round corners."""
    across, down = _grid()
    dx, dy = np.abs(across - x) - half_width + corner, np.abs(down - y) - half_height + corner
    return np.hypot(np.maximum(dx, 0), np.maximum(dy, 0)) + np.minimum(np.maximum(dx, dy), 0) - corner


def _over(top: np.ndarray, bottom: np.ndarray) -> np.ndarray:
    """Lay one premultiplied picture over another."""
    return top + bottom * (1 - top[..., 3:])


def _layer(color: np.ndarray | tuple[float, ...], coverage: np.ndarray) -> np.ndarray:
    rgb = np.broadcast_to(np.asarray(color, float), (SIZE, SIZE, 3))
    return np.concatenate([rgb * coverage[..., None], coverage[..., None]], axis=2)


def _shade(first: tuple[float, ...], last: tuple[float, ...], t: np.ndarray) -> np.ndarray:
    """Colors from one to another."""
    t = np.clip(t, 0, 1)[..., None]
    return np.asarray(first) * (1 - t) + np.asarray(last) * t


def _badge(rng: np.random.Generator) -> np.ndarray:
    """A disc with a gradient and a ring, antialiased."""
    x, y = _grid()
    one, two, ring = rng.random(3), rng.random(3), rng.random(3)
    disc = _layer(_shade(one, two, x * 0.6 + y * 0.4), _inside(_disc(0.5, 0.5, 0.4)))
    return _over(_layer(ring, _inside(np.abs(_disc(0.5, 0.5, 0.34)) - 0.02)), disc)


def _glyphs(rng: np.random.Generator) -> np.ndarray:
    """Thin strokes as of letters, of one or two colors."""
    picture = _layer((0, 0, 0), np.zeros((SIZE, SIZE)))
    inks = rng.random((2, 3))
    for number in range(14):
        x, y, angle = *rng.uniform(0.15, 0.85, 2), rng.uniform(0, np.pi)
        across, down = _grid()
        along = (across - x) * np.cos(angle) + (down - y) * np.sin(angle)
        off = -(across - x) * np.sin(angle) + (down - y) * np.cos(angle)
        stroke = np.maximum(np.abs(along) - rng.uniform(0.05, 0.2), np.abs(off) - 0.012)
        picture = _over(_layer(inks[number % 2], _inside(stroke)), picture)
    return picture


def _shadow(rng: np.random.Generator) -> np.ndarray:
    """A card with round corners over its soft shadow."""
    _, y = _grid()
    soft = 0.6 * _inside(_box(0.52, 0.56, 0.32, 0.25, 0.08), rng.uniform(0.1, 0.3)) ** 1.5
    card = _layer(_shade(rng.random(3), rng.random(3), y), _inside(_box(0.5, 0.48, 0.32, 0.25, 0.06)))
    return _over(card, _layer((0, 0, 0), soft))


def _glow(rng: np.random.Generator) -> np.ndarray:
    """A gradient of color and one of alpha, across each other, with a hard small disc on it."""
    x, y = _grid()
    field = _layer(_shade(rng.random(3), rng.random(3), x), np.clip(1.1 - 1.2 * y, 0, 1))
    return _over(_layer(rng.random(3), _inside(_disc(*rng.uniform(0.3, 0.7, 2), 0.12))), field)


def _glass(rng: np.random.Generator) -> np.ndarray:
    """Translucent discs of several colors over each other."""
    picture = _layer((0, 0, 0), np.zeros((SIZE, SIZE)))
    for _ in range(5):
        x, y, r = *rng.uniform(0.25, 0.75, 2), rng.uniform(0.1, 0.25)
        cover = _inside(_disc(x, y, r), rng.choice([1 / SIZE, 0.15])) * rng.uniform(0.4, 1)
        picture = _over(_layer(rng.random(3), cover), picture)
    return picture


def draw_all(seed: int = 0) -> dict[str, np.ndarray]:
    """Draw 20 pictures of 160 x 160 pixels, RGBA of 8 bits; other colors hide in what is clear."""
    kinds: list[Callable[[np.random.Generator], np.ndarray]] = [_badge, _glyphs, _shadow, _glow, _glass]
    pictures = {}
    for kind in kinds:
        for number in range(4):
            rng = np.random.default_rng([seed, kinds.index(kind), number])
            drawn = kind(rng)
            alpha = np.rint(drawn[..., 3:] * 255)
            color = np.rint(drawn[..., :3] / np.maximum(drawn[..., 3:], 1e-9) * 255)
            hidden = rng.integers(0, 256, color.shape)
            color = np.where(alpha == 0, hidden, np.clip(color, 0, 255))
            name = f"{kind.__name__.removeprefix('_')}-{number}"
            pictures[name] = np.concatenate([color, alpha], axis=2).astype(np.uint8)
    return pictures
