"""A gray photo in four levels, from dark to bright."""

import numpy as np
from skimage import data
from sklearn.cluster import KMeans

coins = data.coins()[::2, ::2]
kmeans = KMeans(4, n_init=3, random_state=0)
kmeans.fit(coins.flatten().reshape(-1, 1))
levels = kmeans.cluster_centers_.flatten()
rank = np.argsort(np.argsort(levels))
steps = rank[kmeans.labels_].reshape(coins.shape)
posterized = np.sort(levels)[steps].astype(np.uint8)
result = np.sort(levels)
