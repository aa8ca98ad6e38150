"""Measure the rates of this machine, from which plans are made."""
