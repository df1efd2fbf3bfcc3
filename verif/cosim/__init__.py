"""The real software on the real gateware: whole systems, put together as they will be used."""
