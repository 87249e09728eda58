"""Beam: the engines, their arguments, and the processes that work for them."""
