"""Pictures of a packet's way through the NIC, made from simulation: `python -m verif.waves`."""
