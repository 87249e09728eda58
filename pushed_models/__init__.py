"""Pushed models: their versions, what they offer, and which of them is served."""

from common import onednn

onednn.turn_on()
