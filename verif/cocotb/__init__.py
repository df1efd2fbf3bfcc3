"""cocotb benches on Verilator: runner, shared drivers, one bench a block."""
