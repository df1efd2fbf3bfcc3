"""Unit tests of sw.ipsec."""
