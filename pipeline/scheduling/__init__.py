"""Retraining on a schedule: what is due, what was done, and what is kept of it."""
