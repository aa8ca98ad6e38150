"""Images as histograms of visual words, and the most similar pair of them."""

import numpy as np
from skimage import data
from skimage.color import rgb2gray
from skimage.feature import daisy
from sklearn.cluster import KMeans

photos = [data.camera() / 255, rgb2gray(data.astronaut()), rgb2gray(data.chelsea()), data.coins() / 255]
described = [daisy(photo[::2, ::2], step=12, radius=10, rings=2, histograms=4) for photo in photos]
words = [found.reshape(-1, found.shape[-1]).astype(np.float32) for found in described]
kmeans = KMeans(n_clusters=20, random_state=0, n_init=5)
kmeans.fit(np.vstack(words))
histograms = np.array([np.bincount(kmeans.predict(each), minlength=20) for each in words], dtype=float)
histograms /= np.linalg.norm(histograms, axis=1, keepdims=True)
similar = histograms @ histograms.T
np.fill_diagonal(similar, 0)
result = np.array(divmod(similar.argmax(), len(photos)))
