"""Nets as tables of blocks; `builder.build` folds a table into a graph."""
