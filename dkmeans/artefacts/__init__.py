"""Artefacts: what lies in storage, and who may write it."""
