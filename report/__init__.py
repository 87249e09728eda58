"""The page about a run: one HTML file that needs nothing else."""

from report.building import build

__all__ = ["build"]
