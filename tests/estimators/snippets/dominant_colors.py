"""The five main colors of a picture, the most frequent first, in hex."""

import numpy as np
from skimage import data
from sklearn.cluster import KMeans

picture = data.astronaut()[::8, ::8]
kmeans = KMeans(n_clusters=5, random_state=1, n_init=5)
kmeans.fit(picture.reshape(-1, 3))
_, counts = np.unique(kmeans.labels_, return_counts=True)
shares = counts / counts.sum()
order = np.argsort(-shares)
colors = kmeans.cluster_centers_[order].round().astype(int)
names = ["#" + "".join(f"{value:02x}" for value in color) for color in colors]
result = shares[order]
