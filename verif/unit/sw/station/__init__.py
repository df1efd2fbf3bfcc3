"""Tests of `sw.station`."""
