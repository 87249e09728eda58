"""Runs: folders, metadata store, parts, lineage, retention and model cards."""
