"""Inbound IPsec: from a taken packet to a message that passed every check."""
