"""Unit tests of the exchanges of IKEv2."""
