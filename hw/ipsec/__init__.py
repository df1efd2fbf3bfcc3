"""The SAD, the anti-replay window, ESP inbound."""
