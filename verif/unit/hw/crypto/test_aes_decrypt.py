"""AES decryption under a stored key: the example of FIPS 197, appendix C.1 and C.3."""

from typing import Any

import pytest
from amaranth.sim import Simulator

from hw.crypto import KeyedAes

PLAIN = bytes.fromhex("00112233445566778899aabbccddeeff")
CIPHER = {
    16: bytes.fromhex("69c4e0d86a7b0430d8cdb78070b4c55a"),
    32: bytes.fromhex("8ea2b7ca516745bfeafc49904b496089"),
}


@pytest.mark.parametrize("key_octets", [16, 32])
def test_fips197_c_decrypts(key_octets: int) -> None:
    dut = KeyedAes(slots=2)
    aes256 = key_octets == 32
    key = bytes(range(key_octets))

    async def bench(ctx: Any) -> None:
        while ctx.get(dut.busy):
            await ctx.tick()
        for index in range(key_octets // 4):
            word = int.from_bytes(key[4 * index : 4 * index + 4], "big")
            ctx.set(dut.write, {"stb": 1, "slot": 0, "index": index, "data": word})
            await ctx.tick()
        ctx.set(dut.write.stb, 0)
        ctx.set(dut.expand, {"stb": 1, "slot": 0, "aes256": aes256, "decrypt": 1})
        await ctx.tick()
        ctx.set(dut.expand.stb, 0)
        while ctx.get(dut.busy):
            await ctx.tick()
        block = int.from_bytes(CIPHER[key_octets], "little")
        ctx.set(dut.request.payload, {"block": block, "aes256": aes256, "decrypt": 1})
        ctx.set(dut.request.valid, 1)
        while not ctx.get(dut.request.ready):
            await ctx.tick()
        await ctx.tick()
        ctx.set(dut.request.valid, 0)
        ctx.set(dut.result.ready, 1)
        while not ctx.get(dut.result.valid):
            await ctx.tick()
        assert ctx.get(dut.result.payload.block).to_bytes(16, "little") == PLAIN

    simulator = Simulator(dut)
    simulator.add_clock(1e-6)
    simulator.add_testbench(bench)
    simulator.run()
