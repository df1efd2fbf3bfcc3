"""What outlives a loss of power: records in a serial NOR flash, and numbers reserved there."""
