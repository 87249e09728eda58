"""Trainer whose steps and rate can be given when a run starts."""
