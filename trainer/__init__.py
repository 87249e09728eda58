"""All that runs inside Transform and Trainer."""

from common import onednn

onednn.turn_on()
