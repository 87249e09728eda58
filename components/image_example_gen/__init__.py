"""Ingest: labelled images in an archive or a folder to TFRecords of Examples."""
