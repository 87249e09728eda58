"""Retraining on a schedule: slots that are due, their runs and notifications."""
