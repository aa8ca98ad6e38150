"""A photo in 16 colors that are learned from a thousand of its pixels."""

import numpy as np
from skimage import data
from sklearn.cluster import KMeans
from sklearn.utils import shuffle

photo = np.array(data.coffee()[::3, ::3], dtype=np.float64) / 255
height, width, depth = photo.shape
pixels = photo.reshape(height * width, depth)
sample = shuffle(pixels, random_state=0, n_samples=1000)
kmeans = KMeans(n_clusters=16, random_state=0, n_init=4).fit(sample)
labels = kmeans.predict(pixels)
result = kmeans.cluster_centers_[labels].reshape(height, width, depth)
