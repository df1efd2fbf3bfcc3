"""The side of the host: register bus, state monitor, pins."""
