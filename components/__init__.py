"""Our own TFX components, a folder each."""

from common import onednn

onednn.turn_on()
