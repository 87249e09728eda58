"""Pushed models: how they are found, loaded and asked."""

from common import onednn

onednn.turn_on()
