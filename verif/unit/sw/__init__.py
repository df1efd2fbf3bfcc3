"""Unit tests of the software."""
