"""What both Colorlight boards share: two B50612D PHYs, a 25 MHz oscillator, and the NIC between."""
