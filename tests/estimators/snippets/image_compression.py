"""A photo as a palette of 32 colors and one byte for each pixel."""

import numpy as np
from skimage import data
from skimage.metrics import peak_signal_noise_ratio
from sklearn.cluster import KMeans

photo = data.rocket()[::3, ::3]
kmeans = KMeans(n_clusters=32, init="k-means++", n_init=5, max_iter=200, random_state=7)
kmeans.fit(photo.reshape((-1, 3)))
palette = kmeans.cluster_centers_.astype(np.uint8)
codes = kmeans.labels_.astype(np.uint8).reshape(photo.shape[:2])
restored = palette[codes]
ratio = photo.nbytes / (palette.nbytes + codes.nbytes)
result = np.array([peak_signal_noise_ratio(photo, restored), ratio])
