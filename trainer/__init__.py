"""All that runs inside Transform and Trainer."""

from schema import onednn

onednn.turn_on()
