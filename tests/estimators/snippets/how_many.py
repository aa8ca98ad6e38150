"""Inertia and silhouette of two to eight colors, by which one chooses how many."""

import numpy as np
from skimage import data
from sklearn.cluster import KMeans
from sklearn.metrics import silhouette_score

pixels = data.coffee()[::12, ::12].reshape(-1, 3)
inertias, scores = [], []
for k in range(2, 9):
    kmeans = KMeans(n_clusters=k, random_state=42, n_init="auto").fit(pixels)
    inertias.append(kmeans.inertia_)
    scores.append(silhouette_score(pixels, kmeans.labels_, sample_size=400, random_state=0))
drops = np.diff(inertias)
result = np.array(inertias)
