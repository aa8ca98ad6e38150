"""Handwritten digits in ten clusters, each named after the digit that is most frequent in it."""

import numpy as np
from sklearn.cluster import KMeans
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA
from sklearn.metrics import accuracy_score, homogeneity_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

digits = load_digits()
kmeans = KMeans(n_clusters=10, random_state=0, n_init=4)
clusters = kmeans.fit_predict(digits.data)
names = np.zeros_like(clusters)
for cluster in range(10):
    mask = clusters == cluster
    names[mask] = np.bincount(digits.target[mask]).argmax()
accuracy = accuracy_score(digits.target, names)
axes = PCA(n_components=10, random_state=0).fit(digits.data)
by_axes = KMeans(init=axes.components_, n_clusters=10, n_init=1)
chain = make_pipeline(StandardScaler(), by_axes).fit(digits.data)
result = np.array([accuracy, homogeneity_score(digits.target, chain[-1].labels_)])
