"""Tests of `sw.cli`."""
