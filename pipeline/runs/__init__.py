"""Runs and what they leave: folders, metadata store, parts, lineage, model cards."""
