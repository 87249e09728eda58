"""Finds, loads and serves pushed models, and asks model servers."""

from common import onednn

onednn.turn_on()
