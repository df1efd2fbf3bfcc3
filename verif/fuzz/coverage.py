"""Which recipe of the generator leads to which counter, for what chance did not reach."""

from __future__ import annotations

from collections.abc import Iterator

from spec.counters import Counter
from verif.fuzz.generator import Action, Generator

GCM, AH, BOTH = 1, 8, 11
"""Suites: ESP, AH, and AH around ESP."""
BUFFERS = (Counter.DROP_HOST_FULL, Counter.DROP_OVERLOAD)
"""Reached by no single frame: buffers fill up in a flood alone."""
RECIPES: dict[Counter, tuple[int, str]] = {
    Counter.FRAMES_IN: (GCM, "good"),
    Counter.PASSED: (GCM, "others"),
    Counter.DELIVERED: (GCM, "good"),
    Counter.DROP_FRAME: (GCM, "runt"),
    Counter.DROP_IP_HEADER: (GCM, "ip_header"),
    Counter.DROP_FRAGMENT: (GCM, "fragment"),
    Counter.DROP_UDP_LENGTH: (GCM, "udp_length"),
    Counter.DROP_CLEAR_PROTECTED: (GCM, "clear_secured"),
    Counter.DROP_CLEAR_POLICY: (GCM, "clear"),
    Counter.DROP_UNKNOWN_SPI: (GCM, "unknown_spi"),
    Counter.DROP_ESP_LENGTH: (GCM, "esp_length"),
    Counter.DROP_REPLAY_OLD: (GCM, "old"),
    Counter.DROP_REPLAY_DUPLICATE: (GCM, "replayed"),
    Counter.DROP_ICV: (GCM, "flipped"),
    Counter.DROP_PADDING: (GCM, "padding"),
    Counter.DROP_NEXT_HEADER: (GCM, "next_header"),
    Counter.DROP_SELECTOR: (GCM, "selector"),
    Counter.DROP_RMCP_MALFORMED: (GCM, "good"),
    Counter.DROP_RMCP_UNKNOWN: (GCM, "good"),
    Counter.DROP_IP_OPTION: (AH, "options"),
    Counter.DROP_AH_LENGTH: (AH, "ah_length"),
    Counter.DROP_PROTOCOL: (BOTH, "wrong_protocol"),
    Counter.DROP_DUMMY: (GCM, "dummy"),
    Counter.DROP_RMCP_ROLE: (GCM, "good"),
}
"""Suite of the SA, and name of the recipe. All counters but those of `BUFFERS`."""


def seek(counter: Counter, seed: int) -> Iterator[Action]:
    """Actions without end that lead to a counter, for a NIC in any state."""
    suite, recipe = RECIPES[counter]
    generator = Generator(seed, (suite,))
    if counter is Counter.DROP_RMCP_ROLE:
        generator.administrators = (False,)
    yield from generator.empty()
    yield from generator.load(suite)
    while True:
        for name in ("good", "jump", "good", recipe, recipe, recipe):
            yield generator.made(getattr(generator, name))
