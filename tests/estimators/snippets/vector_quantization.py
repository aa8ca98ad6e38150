"""A gray photo in blocks of 4 x 4, each replaced by one of 64 code words."""

import numpy as np
from skimage import data
from skimage.util import view_as_blocks
from sklearn.cluster import KMeans

gray = data.camera()[::2, ::2].astype("float32")
blocks = view_as_blocks(gray, (4, 4))
rows = blocks.reshape(-1, 16)
kmeans = KMeans(n_clusters=64, random_state=0, n_init=3, tol=1e-3).fit(rows)
codes = kmeans.predict(rows).reshape(blocks.shape[:2])
words = kmeans.cluster_centers_.reshape(-1, 4, 4)
restored = words[codes].swapaxes(1, 2).reshape(gray.shape)
result = np.array(np.square(restored - gray).mean())
