"""The management station: the loop of the seed's figure 4 for each host, its store, its control."""
