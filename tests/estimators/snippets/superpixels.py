"""Superpixels: pixels grouped by color and place."""

import numpy as np
from skimage import data
from sklearn.cluster import KMeans

photo = data.astronaut()[::6, ::6] / 255.0
height, width, _ = photo.shape
y, x = np.mgrid[:height, :width]
features = np.dstack([photo, 0.5 * x / width, 0.5 * y / height]).reshape(-1, 5)
seeds = features.reshape(height, width, 5)[8::20, 8::20].reshape(-1, 5)
kmeans = KMeans(n_clusters=len(seeds), init=seeds, n_init=1, max_iter=50).fit(features)
superpixels = kmeans.labels_.reshape(height, width)
result = kmeans.cluster_centers_[superpixels][..., :3]
nearest = kmeans.transform(features).argmin(axis=1)
assert (nearest == kmeans.labels_).all()
