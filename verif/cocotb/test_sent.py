"""What the NIC sends, before judges that have no part in Holdfast."""

from collections import Counter
from dataclasses import replace
from pathlib import Path

from hw.nic import Nic
from spec.suites import SUITES, Cipher, Hash, Protocol, Suite, built_in
from verif.cocotb.runner import run
from verif.judges import by_scapy, gmac, tshark
from verif.judges.sent import (
    AH_ICV,
    CONTENT,
    ESP_ICV,
    HEADERS,
    PCAP,
    Association,
    Sent,
    load,
    write_pcap,
)
from verif.judges.table import faults, judge, not_judged, table
from verif.replay import CLOCK_HZ

ALL = built_in(hmac_sha_1=True)
IN_CLEAR = 15
"""Answers of ARP, to solicitations and probes, and of the clear port over IPv4 and IPv6, with 0 to
2 tags each."""
ESP_FORMS, AH_FORMS = 36, 18
"""Frames under each suite, without ESN and once more with it."""


def sent(suites: tuple[Suite, ...]) -> tuple[list[Sent], Path]:
    """Runs the bench: what the NIC sent, and the directory where it lies."""
    # The build of `make replay`: one compiled model serves both.
    nic = Nic(clock_hz=CLOCK_HZ, hmac_sha_1=True)
    parameters = {"suites": [int(suite) for suite in suites]}
    where = run(nic, "verif.cocotb.tb_sent", "nic", parameters=parameters)
    return load(where), where


def out_of_reach() -> Counter[tuple[str, str, str, str]]:
    """What no judge but another can judge: judge, suite, part, reason, and how many frames."""
    due: Counter[tuple[str, str, str, str]] = Counter()
    for suite in ALL:
        facts = SUITES[suite]
        has_esp, is_gmac = facts.protocol is not Protocol.AH, facts.cipher is Cipher.GMAC
        has_ah = facts.protocol is not Protocol.ESP
        half = AH_FORMS if has_ah else ESP_FORMS
        if has_ah:
            due["A", suite.name, AH_ICV, tshark.AH_REASON] = 2 * half
        if has_ah and is_gmac:
            due["B", suite.name, AH_ICV, by_scapy.AH_GMAC_REASON] = 2 * half
        if has_esp and is_gmac:
            due["A", suite.name, ESP_ICV, tshark.GMAC_REASON] = 2 * half
            due["A", suite.name, CONTENT, tshark.GMAC_REASON] = 2 * half
        elif has_esp:
            due["A", suite.name, ESP_ICV, tshark.ESN_REASON] = half
        parts = [HEADERS, CONTENT]
        if not is_gmac:
            parts += [ESP_ICV] * has_esp + [AH_ICV] * has_ah
        for part in parts:
            due["C", suite.name, part, gmac.REASON] = 2 * half
    for part in (HEADERS, CONTENT):
        due["C", "in clear", part, gmac.REASON] = 6
        due["C", "ARP", part, gmac.REASON] = 3
        due["C", "neighbour", part, gmac.REASON] = 6
    return due


def test_every_answer_is_right() -> None:
    frames, where = sent(ALL)
    judged = judge(frames, where)
    print(table(judged))
    halves = [AH_FORMS if "AH_" in suite.name else ESP_FORMS for suite in ALL]
    assert len(frames) == IN_CLEAR + 2 * sum(halves)
    assert {frame.sa.name for frame in frames if frame.sa} == {suite.name for suite in ALL}
    assert Hash.SHA_1 in {SUITES[suite].hash for suite in ALL}
    assert list(faults(judged)) == []
    assert not_judged(judged) == out_of_reach()


def flipped(frame: Sent) -> list[Sent]:
    """Copies of a frame, each with another octet changed, from the IP header on."""
    copies = []
    for at in range(14 + len(frame.tags) // 2, len(frame.octets)):
        octets = bytearray(frame.octets)
        octets[at] ^= 0x11
        copies.append(replace(frame, octets=bytes(octets)))
    return copies


def test_every_judge_refuses_a_changed_octet(tmp_path: Path) -> None:
    suites = (
        Suite.ESP_AES_GCM_16_128,
        Suite.AH_HMAC_SHA_256_128_ESP_AES_CBC_128_HMAC_SHA_256_128,
        Suite.AH_AES_GMAC_128,
    )
    frames, _ = sent(suites)
    gcm, both, ah = (
        next(f for f in frames if f.sa and f.sa.suite == suite and not f.form.v6)
        for suite in suites
    )
    copies = flipped(gcm)
    write_pcap(tmp_path / PCAP, [copy.octets for copy in copies])
    assert all(verdict.faults for verdict in tshark.judge(copies, tmp_path))
    assert all(by_scapy.verdict(copy).faults for copy in flipped(gcm) + flipped(both))
    # TOS, flags, offset, TTL and checksum may change on the way (RFC 4302 3.3.3.1.1).
    mutable = [1, 6, 7, 8, 10, 11]
    assert [at for at, copy in enumerate(flipped(ah)) if not gmac.verdict(copy).faults] == mutable
    asked = [frame for frame in frames if frame.sa is None and not frame.message and frame.form.v6]
    for frame in asked:
        copies = flipped(frame)
        write_pcap(tmp_path / PCAP, [copy.octets for copy in copies])
        said = enumerate(tshark.judge(copies, tmp_path))
        # Flow label and hop limit are in no checksum; scapy's judge looks at them.
        assert [at for at, verdict in said if not verdict.faults] == [1, 2, 3, 7]
        assert all(by_scapy.verdict(copy).faults for copy in copies)
    for frame in (gcm, both, ah, *asked):
        assert not by_scapy.verdict(frame).faults + gmac.verdict(frame).faults


def test_judge_c_agrees_with_a_published_vector() -> None:
    """ENCR_NULL_AUTH_AES_GMAC of draft-mcgrew-gcm-test-01: its IV is covered."""
    sa = Association(
        suite=Suite.ESP_NULL_AES_GMAC_128,
        name="",
        tunnel=True,
        v6=False,
        esn=False,
        spi=0x4321,
        ah_spi=0,
        high=0,
        key="4c80cdefbb5d10da906ac73c3613a634",
        salt="22433c64",
        auth="",
        ah_auth="",
    )
    esp = bytes.fromhex(
        "0000432100000007000000000000000045000030da3a00008001df3bc0a80005c0a800010800c6cd02000700"
        "6162636465666768696a6b6c6d6e6f707172737401020201f2a9a836e155106aa8dcd618e4099aaa"
    )
    assert gmac.esp_is_right(sa, esp)
    assert not gmac.esp_is_right(sa, esp[:-1] + b"\0")
