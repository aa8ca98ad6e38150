"""Segments of a photo by its colors in Lab, each painted with its mean color."""

import numpy as np
from skimage import color, data
from sklearn.cluster import KMeans

photo = data.chelsea()[::3, ::3]
lab = color.rgb2lab(photo)
kmeans = KMeans(n_clusters=4, max_iter=100, n_init=5, random_state=0)
segments = kmeans.fit_predict(lab.reshape(-1, 3)).reshape(photo.shape[:2])
result = color.label2rgb(segments, photo, kind="avg", bg_label=-1)
means = np.array([lab[segments == each].mean(axis=0) for each in range(4)])
assert np.allclose(means, kmeans.cluster_centers_, atol=0.5)
