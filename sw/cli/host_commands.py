"""The commands that work with the NIC of this machine."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
from dataclasses import asdict
from typing import cast

from spec.counters import Counter
from spec.sa import BANKS, BankState
from sw.agent.nic import open_transport
from sw.agent.service import Agent
from sw.cli.output import Json, Output, pairs, start_logging, table
from sw.cli.running import stop_signals
from sw.config import AgentConfig, load_agent
from sw.nic import NicDriver, SaStatus, SerialTransport, UnixSocketTransport


def agent_run(arguments: argparse.Namespace, output: Output) -> None:
    """Run until SIGTERM or SIGINT."""
    config = load_agent(arguments.config)
    start_logging(arguments.log_level or config.log_level)
    asyncio.run(_agent_run(config, output))


async def _agent_run(config: AgentConfig, output: Output) -> None:
    agent = Agent(config, lambda: open_transport(config))
    try:
        await agent.start()
        with stop_signals() as stopped:
            told = f"agent {config.identity} runs; stop it with SIGTERM or Ctrl-C"
            output.result({"running": True}, [told])
            await stopped.wait()
    finally:
        await agent.stop()


def nic_show(arguments: argparse.Namespace, output: Output) -> None:
    """What the NIC is, and how it stands."""
    if arguments.socket:
        transport: UnixSocketTransport | SerialTransport = UnixSocketTransport(arguments.socket)
    else:
        transport = SerialTransport(arguments.serial)
    with contextlib.closing(transport), NicDriver(transport) as driver:
        result = describe_nic(driver)
    parts = {key: value for key, value in result.items() if isinstance(value, dict)}
    lines = []
    for title in ("nic", "host", "policy", "store"):
        lines += [title, *(f"  {line}" for line in pairs(parts[title].items())), ""]
    banks = [[name, *_bank_row(bank)] for name, bank in parts["banks"].items()]
    head = ["BANK", "STATE", "SPI IN", "LIMIT", "RECEIVED", "SENT"]
    lines += ["banks", *(f"  {line}" for line in table(head, banks)), ""]
    events = [list(event.values()) for event in cast("list[Json]", result["events"])]
    head = ["NUMBER", "EVENT", "STATE", "BEFORE", "CODE"]
    lines += ["events", *(f"  {line}" for line in table(head, events)), ""]
    lines += ["counters", *(f"  {line}" for line in pairs(parts["counters"].items()))]
    output.result(result, lines)


def _bank_row(bank: Json) -> list[str]:
    """A bank's state, SPI, limit that is reached, and packets (octets) received and sent."""
    use = cast("dict[str, int] | None", bank["use"]) or {}
    passed = [
        f"{use[f'{way}_packets']} ({use[f'{way}_octets']})" if use else "-"
        for way in ("received", "sent")
    ]
    return [str(bank["state"]), str(bank["spi_in"]), str(bank["limit"] or "-"), *passed]


def _bank(driver: NicDriver, number: int, sas: SaStatus) -> Json:
    half = "ab"[number % BANKS]
    state: BankState = getattr(sas, f"bank_{half}")
    limit = next((kind for kind in ("hard", "soft") if getattr(sas, f"{kind}_{half}")), None)
    use = driver.bank_use(number) if state is not BankState.EMPTY else None
    return {
        "state": state.name,
        "spi_in": f"0x{getattr(sas, f'spi_in_{half}'):08x}",
        "limit": limit,
        "use": asdict(use) if use else None,
    }


def describe_nic(driver: NicDriver) -> Json:
    """A NIC as people and programs see it."""
    has, status = driver.capabilities(), driver.host_status()
    mac, address, address6 = driver.host_address()
    policy, counters = driver.policy, driver.counters()
    clear_port, store = driver.clear_port, driver.store_status()
    return {
        "nic": {
            "version": f"{has.version >> 16}.{has.version & 0xFFFF}",
            "suites": ", ".join(suite.name for suite in sorted(has.suites)),
            "contexts": has.contexts,
            "banks": has.banks,
            "window": has.window,
            "lanes": has.lanes,
            "packet_max": has.packet_max,
            "ack_ms": has.ack_ms,
            "grace_ms": has.grace_ms,
            "enterprise": driver.enterprise(),
        },
        "host": {
            "state": status.state.name,
            "mac": mac.hex(":"),
            "address": str(address),
            "address6": str(address6),
            "watchdog_expired": status.watchdog_expired,
            "reset_in": status.reset_in,
            "sleep_in": status.sleep_in,
            "off_in": status.off_in,
            "reset_out": status.reset_out,
            "power_out": status.power_out,
        },
        "policy": {
            "station_authorised": policy.station_authorised,
            "clear_off": policy.clear_off,
            "settings_locked": policy.settings_locked,
            "keeps_sa": policy.keeps_sa,
        },
        "store": {
            "present": store.present,
            "restoring": store.restoring,
            "failing": store.failing,
            "config": store.has_config,
            "config_due": store.config_due,
            "contexts": ", ".join(map(str, store.contexts)),
            "refused": store.refused,
            "failed": store.failed,
        },
        "clear_port": {"what": clear_port.what.name, "after_s": clear_port.after_s},
        "banks": {
            f"{context}{name}": _bank(driver, BANKS * context + half, sas)
            for context in range(has.contexts)
            for sas in [driver.sa_status(context)]
            for half, name in enumerate("AB")
        },
        "events": [
            {
                "number": event.number,
                "kind": event.kind.name,
                "state": event.state.name,
                "before": event.before.name,
                "code": event.code,
            }
            for event in driver.events()
        ],
        "counters": {counter.name: counters[counter] for counter in Counter},
    }
