"""Sweeps: an experiment with a table of members, and how the members compare."""
