"""Tests of `sw.agent`."""
