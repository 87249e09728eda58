"""What every package needs: errors, the rules of a verdict, oneDNN, safe pickles."""

from common import onednn

onednn.turn_on()
