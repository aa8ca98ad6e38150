"""A dictionary of patches of a photo, normalized, learned in batches."""

import numpy as np
from skimage import data
from sklearn.cluster import MiniBatchKMeans
from sklearn.feature_extraction.image import extract_patches_2d

rng = np.random.RandomState(0)
kmeans = MiniBatchKMeans(n_clusters=25, random_state=rng, batch_size=256, n_init=3)
camera = data.camera()[::2, ::2] / 255.0
buffer = []
for _ in range(6):
    patches = extract_patches_2d(camera, (6, 6), max_patches=200, random_state=rng)
    buffer.append(patches.reshape(len(patches), -1))
    if len(buffer) == 2:
        batch = np.concatenate(buffer)
        batch -= batch.mean(axis=0)
        batch /= batch.std(axis=0)
        kmeans.partial_fit(batch)
        buffer = []
result = kmeans.cluster_centers_.reshape(-1, 6, 6)
