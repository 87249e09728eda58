"""The data contract as an artifact: pins feature types and class names for the run."""
