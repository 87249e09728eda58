"""Loads a candidate as a server would, and says whether it can be served."""
