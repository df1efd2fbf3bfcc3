"""Judge B: scapy's IPsec."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from scapy.layers.inet import IP, UDP
from scapy.layers.inet6 import ICMPv6ND_NA, ICMPv6NDOptDstLLAddr, IPv6
from scapy.layers.ipsec import AH, ESP, IPSecIntegrityError, SecurityAssociation
from scapy.layers.l2 import ARP, Ether

from verif.judges.sent import AH_ICV, CONTENT, ESP_ICV, HEADERS, Association, Sent, Verdict

AH_GMAC_REASON = "scapy has AES-GMAC in ESP, not in AH"

HOST_MAC, STATION_MAC = "02:00:00:00:00:02", "02:00:00:00:00:01"
HOST = {False: "10.99.0.2", True: "fd99::2"}
STATION = {False: "10.99.0.1", True: "fd99::1"}
ALL_NODES_MAC, ALL_NODES = "33:33:00:00:00:01", "ff02::1"
REFUSALS = (IPSecIntegrityError, IndexError, TypeError, ValueError)
"""How scapy refuses: a wrong ICV, no such layer, another SPI, a length that cannot be."""
CIPHERS = {"gcm": "AES-GCM", "cbc": "AES-CBC", "null": "NULL", "gmac": "AES-NULL-GMAC"}
HASHES = {"": None, "sha256": "SHA2-256-128", "sha1": "HMAC-SHA1-96"}


def esp_of(sa: Association, frame: Sent) -> Any:
    """Its ESP SA."""
    return SecurityAssociation(
        ESP,
        spi=sa.spi,
        crypt_algo=CIPHERS[sa.kind.cipher],
        crypt_key=bytes.fromhex(sa.key + sa.salt),
        auth_algo=HASHES[sa.kind.hash],
        auth_key=bytes.fromhex(sa.auth),
        tunnel_header=header(frame) if sa.tunnel else None,
        nat_t_header=UDP(sport=4500) if frame.form.encap else None,
        esn_en=sa.esn,
        esn=sa.high,
    )


def ah_of(sa: Association, frame: Sent) -> Any:
    """Its AH SA; for GMAC one that checks nothing."""
    both = sa.kind.both
    hash_ = "sha256" if both else sa.kind.hash
    return SecurityAssociation(
        AH,
        spi=sa.ah_spi if both else sa.spi,
        auth_algo=HASHES[hash_],
        auth_key=bytes.fromhex(sa.ah_auth if both else sa.auth),
        tunnel_header=header(frame) if sa.tunnel and not both else None,
        esn_en=sa.esn,
        esn=sa.high,
    )


def header(frame: Sent) -> Any:
    """Any IP header of the outer family."""
    return IPv6() if frame.form.v6 else IP()


def whole(octets: bytes, *, v6: bool) -> Any:
    """A packet, without what stands behind it."""
    packet = (IPv6 if v6 else IP)(octets)
    length = 40 + packet.plen if v6 else packet.len
    return (IPv6 if v6 else IP)(octets[:length])


def wrong_headers(packet: Any, *, v6: bool, zero_sum: bool = False) -> Iterator[str]:
    """Addresses, lengths and checksums of a packet that are not as scapy makes them.

    Parameters
    ----------
    packet : IP or IPv6
        From the host to the station.
    v6 : bool
        Its family.
    zero_sum : bool
        The UDP header right behind has no checksum (RFC 3948 2.1).
    """
    if (packet.src, packet.dst) != (HOST[v6], STATION[v6]):
        yield f"addresses {packet.src}, {packet.dst}"
    fresh = packet.copy()
    if v6:
        del fresh.plen
    else:
        del fresh.len
        del fresh.chksum
    if isinstance(fresh.payload, UDP):
        del fresh.payload.len
        if zero_sum:
            if fresh.payload.chksum:
                yield f"checksum {fresh.payload.chksum:#x} of the UDP around ESP"
        else:
            del fresh.payload.chksum
    if bytes(fresh) != bytes(packet):
        yield f"lengths or checksums: {bytes(packet).hex()}, not {bytes(fresh).hex()}"


def opened(frame: Sent, sa: Association, packet: Any) -> tuple[Any, set[str], list[str]]:
    """The packet inside, which ICVs scapy has checked, and what is wrong with the padding."""
    checked, faults = set(), []
    v6 = frame.form.v6
    if sa.kind.ah:
        outer = ah_of(sa, frame)
        packet = whole(bytes(outer.decrypt(packet)), v6=inside(frame, sa, esp=sa.kind.both))
        if outer.auth_algo.mac:
            checked.add(AH_ICV)
    if sa.kind.esp:
        main = esp_of(sa, frame)
        icv = main.crypt_algo.icv_size or main.auth_algo.icv_size
        esp = packet[ESP].copy()
        # First, because it checks the ICV; then once more, for the padding.
        inner = main.decrypt(packet)
        checked.add(ESP_ICV)
        plain = main.crypt_algo.decrypt(main, esp, main.crypt_key, icv, esn_en=sa.esn, esn=sa.high)
        if plain.padding != bytes(range(1, 1 + plain.padlen)):
            faults.append(f"padding {plain.padding.hex()}")
        v6 = inside(frame, sa, esp=False)
        packet = whole(bytes(inner), v6=v6)
    return packet, checked, faults


def inside(frame: Sent, sa: Association, *, esp: bool) -> bool:
    """Whether what an SA bears is IPv6; `esp`: it bears ESP, and the mode is that one's."""
    inner = frame.form.inner_v6
    return frame.form.v6 if inner is None or esp or not sa.tunnel else inner


def wrong_frame(frame: Sent, ether: Any) -> Iterator[str]:
    """MAC addresses and VLAN tags that are not those of an answer."""
    to = ALL_NODES_MAC if frame.form.probe else STATION_MAC
    if (ether.src, ether.dst) != (HOST_MAC, to):
        yield f"MAC addresses {ether.src}, {ether.dst}"
    tags = bytes.fromhex(frame.tags)
    if frame.octets[12 : 12 + len(tags)] != tags:
        yield f"VLAN tags {frame.octets[12 : 12 + len(tags)].hex()}"


def wrong_arp(arp: Any) -> Iterator[str]:
    """Fields of an ARP answer."""
    said = (arp.op, arp.hwsrc, arp.psrc, arp.hwdst, arp.pdst)
    if said != (2, HOST_MAC, HOST[False], STATION_MAC, STATION[False]):
        yield f"ARP {said}"


def wrong_neighbour(packet: Any, *, probe: bool) -> Iterator[str]:
    """Fields of a neighbour advertisement, whose length and checksum are as scapy makes them."""
    if ICMPv6ND_NA not in packet or ICMPv6NDOptDstLLAddr not in packet:
        yield "no advertisement"
        return
    to, says = ALL_NODES if probe else STATION[True], packet[ICMPv6ND_NA]
    if (packet.src, packet.dst, packet.hlim, packet.tc, packet.fl) != (HOST[True], to, 255, 0, 0):
        yield f"IPv6 {packet.src}, {packet.dst}, {packet.hlim}"
    if (says.R, says.S, says.O, says.res, says.tgt) != (0, int(not probe), 1, 0, HOST[True]):
        yield f"flags {says.R}, {says.S}, {says.O}, {says.res:#x}, target {says.tgt}"
    option = packet[ICMPv6NDOptDstLLAddr]
    if (option.len, option.lladdr, bytes(option.payload)) != (1, HOST_MAC, b""):
        yield f"option {bytes(option).hex()}"
    fresh = packet.copy()
    del fresh.plen
    del fresh[ICMPv6ND_NA].cksum
    if bytes(fresh) != bytes(packet):
        yield f"length or checksum: {bytes(packet).hex()}, not {bytes(fresh).hex()}"


def wrong_message(packet: Any, frame: Sent) -> Iterator[str]:
    """Ports and payload of the innermost packet."""
    if not isinstance(packet.payload, UDP):
        yield "no UDP inside"
        return
    datagram = packet.payload
    if (datagram.sport, datagram.dport) != (623 if frame.sa is None else 664, 40664):
        yield f"ports {datagram.sport}, {datagram.dport}"
    if bytes(datagram.payload).hex() != frame.message:
        yield f"message {bytes(datagram.payload).hex()}"


def verdict(frame: Sent) -> Verdict:
    """What scapy says of a frame."""
    form, sa, v6 = frame.form, frame.sa, frame.form.v6
    judged = {HEADERS, CONTENT}
    ether = Ether(frame.octets)
    faults = list(wrong_frame(frame, ether))
    if not frame.message and not v6:
        return Verdict(judged=frozenset(judged), faults=(*faults, *wrong_arp(ether[ARP])))
    try:
        packet = whole(bytes(ether[IPv6 if v6 else IP]), v6=v6)
        if frame.octets[14 + len(frame.tags) // 2 + len(packet) :].strip(b"\0"):
            faults.append("octets behind the packet")
        if not frame.message:
            faults += wrong_neighbour(packet, probe=form.probe)
            return Verdict(judged=frozenset(judged), faults=tuple(faults))
        faults += wrong_headers(packet, v6=v6, zero_sum=form.encap and not v6)
        if sa is not None:
            packet, checked, wrong = opened(frame, sa, packet)
            judged |= checked
            faults += [*wrong, *wrong_headers(packet, v6=inside(frame, sa, esp=False))]
        faults += wrong_message(packet, frame)
    except REFUSALS as error:
        faults.append(f"{type(error).__name__}: {error}")
    return Verdict(judged=frozenset(judged), faults=tuple(faults))
