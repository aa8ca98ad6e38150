"""The palette of one image: exact, like a fit of its pixels, and good."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image
from skimage import data
from sklearn.cluster import KMeans

from dkmeans import kernels
from dkmeans.clustering import palette
from dkmeans.clustering.loop import State, iterate
from dkmeans.clustering.starts import find_starts
from dkmeans.errors import ImageError
from dkmeans.features.histogram import Histogram
from dkmeans.features.space import FeatureSpace, hide
from dkmeans.kernels import reference

OPTIONS = {"seed": 0, "max_iter": 100, "tol": 1e-4}


@pytest.fixture(scope="module")
def pixels():
    return data.chelsea()[::2, ::2].reshape(-1, 3)


@pytest.mark.parametrize(("k", "n"), [(2, 4), (9, 4), (64, 1)])
def test_from_its_starts_it_is_the_fit_of_all_pixels(pixels, k, n):
    """The same loop as that of fit: the same bits, every pixel a row of its own; of the best start."""
    histogram = Histogram.of(pixels)
    found = palette.learn_palette(histogram, k, **OPTIONS)
    starts = find_starts(histogram.colors, histogram.counts, k, OPTIONS["seed"], len(pixels))[:n]
    fits = [iterate(kernels.load(pixels), State(start), max_iter=100, tol=1e-4) for start in starts]
    fit = min(fits, key=lambda fit: fit.inertia)
    np.testing.assert_array_equal(found.centers, fit.centers)
    assert (found.inertia, found.n_iter, found.converged) == (fit.inertia, len(fit.history), fit.converged)


def test_labels_are_the_nearest_centers(pixels):
    histogram = Histogram.of(pixels)
    found = palette.learn_palette(histogram, 12, **OPTIONS)
    np.testing.assert_array_equal(found.labels, reference.assign(histogram.colors, found.centers))
    gaps = pixels - found.centers[histogram.look_up(pixels, found.labels)].astype(float)
    assert found.inertia == pytest.approx((gaps**2).sum())


@pytest.mark.parametrize("k", [4, 16])
def test_it_is_as_good_as_many_starts_of_scikit_learn(pixels, k):
    pixels = pixels[::4]
    found = palette.learn_palette(Histogram.of(pixels), k, **OPTIONS)
    theirs = KMeans(k, n_init=10, random_state=0).fit(pixels.astype(float))
    assert found.inertia <= 1.012 * theirs.inertia_  # 0.05 dB


OTHERS = ("astronaut", "chelsea", "rocket")


@pytest.mark.parametrize("name", ["coffee", *(pytest.param(name, marks=pytest.mark.slow) for name in OTHERS)])
def test_it_is_never_below_the_kmeans_of_pillow(name):
    image = Image.fromarray(getattr(data, name)()[::2, ::2])
    pixels = np.asarray(image).reshape(-1, 3)
    histogram, options = Histogram.of(pixels), {**OPTIONS, "tol": 1e-5, "relaxation": 1.9, "min_gain": 2e-5}
    for k in (2, 3, 4, 6, 8, 12, 16):
        theirs = []
        for method in (Image.Quantize.MEDIANCUT, Image.Quantize.MAXCOVERAGE):
            made = image.quantize(k, method=method, kmeans=1, dither=Image.Dither.NONE).convert("RGB")
            theirs.append(((np.asarray(made).reshape(-1, 3) - pixels.astype(float)) ** 2).sum())
        assert palette.learn_palette(histogram, k, **options).inertia <= min(theirs)


def test_as_many_colors_as_there_are_lose_nothing():
    pixels = np.array([[3, 1, 2], [9, 9, 9], [3, 1, 2]], np.uint8)
    for k in (2, 3, 256):
        found = palette.learn_palette(Histogram.of(pixels), k, **OPTIONS)
        assert found.centers.tolist() == [[3, 1, 2], [9, 9, 9]]
        assert (found.inertia, found.labels.tolist()) == (0, [0, 1])


def test_another_seed_is_another_start(pixels):
    histogram = Histogram.of(pixels)
    one, same, other = (
        palette.learn_palette(histogram, 30, seed=seed, max_iter=3, tol=0).centers for seed in (0, 0, 1)
    )
    np.testing.assert_array_equal(one, same)
    assert not np.array_equal(one, other)


# Alpha, and colors that are kept


def drawn(seed=0, size=48):
    """A disc with a soft edge on a clear ground behind which colors hide, over a translucent wedge."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:size, :size] / size
    edge = np.clip((0.3 - np.hypot(x - 0.5, y - 0.5)) * 12, 0, 1)
    alpha = np.rint(255 * np.maximum(edge, np.where(x + y > 1.4, 0.4, 0)))
    image = np.dstack([x * 255, y * 255, 128 + rng.integers(-40, 40, x.shape), alpha])
    image[alpha == 0, :3] = rng.integers(0, 256, ((alpha == 0).sum(), 3))
    return image.astype(np.uint8)


def reduced(image, k, **options):
    """The image with `k` colors, and what was learned."""
    pixels = hide(image).reshape(-1, image.shape[2])
    histogram = Histogram.of(pixels)
    found = palette.learn_palette(histogram, k, **OPTIONS, **options)
    return found.palette[histogram.look_up(pixels, found.labels)].reshape(image.shape), found


def premultiplied(image):
    values = image.astype(float)
    return np.dstack([values[..., :-1] * values[..., -1:] / 255, values[..., -1:]])


@pytest.mark.parametrize("k", [2, 3, 8, 40])
@pytest.mark.parametrize("space", ["rgb", "linear", "oklab"])
@pytest.mark.parametrize("channels", [2, 4])
def test_clear_stays_clear_and_opaque_stays_opaque(k, space, channels):
    image = drawn()[..., -channels:]
    made, found = reduced(image, k, space=space)
    alpha = image[..., -1]
    assert (alpha == 0).any()
    assert (alpha == 255).any()
    assert not made[alpha == 0].any()
    assert (made[alpha == 255, -1] == 255).all()
    assert (found.palette[:, -1] == 0).sum() == 1
    assert len(found.palette) <= k


@pytest.mark.parametrize("k", [4, 16])
def test_hidden_colors_count_nothing(k):
    one, other = drawn(), drawn()
    other[other[..., 3] == 0, :3] = 7
    found = [reduced(image, k) for image in (one, other)]
    np.testing.assert_array_equal(found[0][0], found[1][0])
    np.testing.assert_array_equal(found[0][1].palette, found[1][1].palette)


def test_inertia_is_the_premultiplied_error():
    """But for the rounding of the palette."""
    image = drawn()
    made, found = reduced(image, 30)
    error = ((premultiplied(image) - premultiplied(made)) ** 2).sum()
    assert found.inertia == pytest.approx(error, rel=0.02)


def test_premultiplied_error_is_near_that_of_scikit_learn():
    """Whose k-means knows no constraint, and has the same number of visible colors."""
    image = drawn()
    made, _ = reduced(image, 13)
    points = premultiplied(image)[image[..., 3] > 0]
    theirs = KMeans(12, n_init=5, random_state=0).fit(points)
    assert ((premultiplied(image) - premultiplied(made)) ** 2).sum() <= 1.03 * theirs.inertia_


@pytest.mark.parametrize("space", ["rgb", "oklab"])
def test_opaque_images_are_those_without_alpha(pixels, space):
    plain = palette.learn_palette(Histogram.of(pixels), 9, **OPTIONS, space=space)
    opaque = np.insert(pixels, 3, 255, axis=1)
    found = palette.learn_palette(Histogram.of(opaque), 9, **OPTIONS, space=space)
    np.testing.assert_array_equal(found.centers, plain.centers)
    np.testing.assert_array_equal(found.palette, np.insert(plain.palette, 3, 255, axis=1))
    np.testing.assert_array_equal(found.labels, plain.labels)
    assert found.inertia == plain.inertia


@pytest.mark.parametrize("space", ["rgb", "linear", "oklab"])
def test_few_visible_colors_lose_nothing(space):
    """Even those that are nearly clear, however coarse the grid is there."""
    colors = np.array([[200, 3, 9, 1], [201, 3, 9, 1], [5, 6, 7, 255], [9, 9, 9, 0], [1, 2, 3, 0]], np.uint8)
    image = colors[np.random.default_rng(0).integers(0, 5, (9, 9))]
    made, found = reduced(image, 4, space=space)
    np.testing.assert_array_equal(made, hide(image))
    assert (found.inertia, len(found.palette)) == (0, 4)


def test_one_color_cannot_be_clear_and_visible():
    with pytest.raises(ImageError, match="expected at least 2"):
        reduced(drawn(), 1)
    opaque_and_translucent = drawn()
    opaque_and_translucent[..., 3] |= 1
    made, _ = reduced(opaque_and_translucent, 1)
    assert (made[..., 3] == 255).all()  # opaque stays opaque


@pytest.mark.parametrize("k", [3, 10, 60])
@pytest.mark.parametrize("space", ["rgb", "oklab"])
def test_kept_colors_are_colors_of_the_palette(pixels, k, space):
    keep = np.array([[255, 0, 255], [0, 255, 0], [255, 0, 255]], np.uint8)
    found = palette.learn_palette(Histogram.of(pixels), k, **OPTIONS, space=space, keep=keep)
    assert found.palette[:2].tolist() == [[255, 0, 255], [0, 255, 0]]
    assert len(found.palette) == k
    free = palette.learn_palette(Histogram.of(pixels), k - 2, **OPTIONS, space=space)
    assert found.inertia <= 1.05 * free.inertia  # the colors are far from all of the photo


def test_kept_colors_with_alpha():
    keep = np.array([[255, 0, 0, 255], [0, 0, 0, 0], [9, 200, 9, 128]], np.uint8)
    image = drawn()
    made, found = reduced(image, 8, keep=keep)
    assert found.palette[:3].tolist() == keep.tolist()
    assert (found.palette[:, 3] == 0).sum() == 1
    assert (made[image[..., 3] == 255, 3] == 255).all()
    assert not made[image[..., 3] == 0].any()
    with pytest.raises(ImageError, match="Use --k 4 or more"):
        reduced(image, 3, keep=keep[[0, 2, 2]] // 2)


def test_the_colors_and_those_kept_fit():
    image = np.array([[[1, 2, 3], [4, 5, 6]]], np.uint8)
    made, found = reduced(image, 3, keep=np.array([[4, 5, 6], [0, 0, 0]], np.uint8))
    np.testing.assert_array_equal(made, image)
    assert found.palette.tolist() == [[4, 5, 6], [0, 0, 0], [1, 2, 3]]


@pytest.mark.parametrize("space", ["linear", "oklab"])
def test_labels_are_the_nearest_centers_in_every_space(pixels, space):
    histogram = Histogram.of(pixels)
    found = palette.learn_palette(histogram, 12, **OPTIONS, space=space)
    features = FeatureSpace(np.dtype(np.uint8), 3, space=space)
    rows = features.to_rows(histogram.colors)
    np.testing.assert_array_equal(found.labels, reference.assign(rows, found.centers))
    theirs = KMeans(12, n_init=3, random_state=0).fit(rows / features.unit, sample_weight=histogram.counts)
    assert found.inertia <= 1.01 * theirs.inertia_


def test_a_given_palette_keeps_what_it_can():
    """Clear pixels take the clear color, opaque ones an opaque one though another is nearer."""
    colors = np.array([[0, 0, 0, 0], [100, 100, 100, 255], [100, 100, 100, 250]], np.uint8)
    space = FeatureSpace(np.dtype(np.uint8), 4)
    centers = np.array([[100, 100, 100, 250], [0, 0, 0, 0], [120, 100, 100, 255]], np.uint8)
    rows = space.to_rows(centers).astype(np.float32)
    found = palette.use_palette(Histogram(colors, np.array([5, 2, 3])), rows)
    assert found.labels.tolist() == [1, 2, 0]
    np.testing.assert_array_equal(found.palette, centers)
    assert found.inertia == 2 * 20**2
    without = palette.use_palette(Histogram(colors, np.array([5, 2, 3])), rows[:1])
    assert without.labels.tolist() == [0, 0, 0]


def test_without_translucent_pixels_all_other_colors_are_opaque():
    """As of icons without soft edges: k - 1 colors for the visible pixels, and none is lost."""
    image = drawn()
    image[..., 3] = np.where(image[..., 3] > 99, 255, 0)
    made, found = reduced(image, 9)
    np.testing.assert_array_equal(made[..., 3], image[..., 3])
    assert found.palette[:, 3].tolist() == [0, *[255] * 8]
    visible = image[image[..., 3] > 0][:, :3]
    alone = palette.learn_palette(Histogram.of(visible), 8, **OPTIONS)
    assert found.inertia <= 1.01 * alone.inertia
