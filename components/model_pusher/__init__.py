"""Atomic deployment of blessed models."""
