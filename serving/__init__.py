"""Pushed models: how they are found, loaded and asked."""

from schema import onednn

onednn.turn_on()
