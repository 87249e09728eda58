"""Batch inference on Beam: files in, a table out, resumable after a kill."""
