"""Estimators of scikit-learn's kind over the engine: arrays in, centers and labels out."""
