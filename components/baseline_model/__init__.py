"""The model that a candidate must not fall behind."""
