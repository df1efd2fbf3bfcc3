"""Unit tests of sw.rmcp."""
