"""What is wrong with images and labels, found before anyone trains on them."""

from common import onednn

onednn.turn_on()
