"""The agent: the program on the host's OS that answers IKE and loads SAs into the NIC."""
