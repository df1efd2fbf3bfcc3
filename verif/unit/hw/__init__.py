"""Unit tests of the gateware."""
