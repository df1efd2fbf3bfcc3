"""Unit tests of sw.nic."""
