"""Pushed models: how they are found, loaded and asked."""
