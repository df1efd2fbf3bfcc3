"""The commands that work with the station and its store."""

from __future__ import annotations

import argparse
import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import cast

from spec.rmcp import BootOption, SpecialCommand
from sw.cli.output import CommandError, Exit, Json, Output, pairs, start_logging, table
from sw.cli.running import stop_signals
from sw.config import ConfigError, StationConfig, load_station, read_psk
from sw.config_values import parse_address
from sw.identity import parse_identity
from sw.ike.secret import Secret
from sw.ipsec import IpsecError
from sw.station.control import ControlError, ControlServer, ErrorKind, ask, power, zeroise
from sw.station.database import NoSuchHostError, StoreBusyError, StoreError, StoreLock
from sw.station.describe import describe_record
from sw.station.service import Station, require_certificates
from sw.station.store import Store, open_store

LOCK_WAIT_S = 5.0
_CODES = {
    ErrorKind.FAILED: Exit.FAILED,
    ErrorKind.USAGE: Exit.USAGE,
    ErrorKind.NO_ANSWER: Exit.NO_ANSWER,
    ErrorKind.REFUSED: Exit.REFUSED,
    ErrorKind.NO_STATION: Exit.UNAVAILABLE,
}


def command_error(error: Exception) -> CommandError:
    """What an error of the station's means to whoever typed the command."""
    match error:
        case ControlError():
            return CommandError(_CODES[error.kind], str(error), error.result)
        case ConfigError() | NoSuchHostError():
            return CommandError(Exit.USAGE, str(error))
        case StoreBusyError():
            return CommandError(Exit.UNAVAILABLE, str(error))
        case StoreError() | IpsecError():
            return CommandError(Exit.FAILED, str(error))
    raise TypeError(f"{type(error).__name__} is no error of a command") from error


KNOWN_ERRORS = (ControlError, ConfigError, StoreError, IpsecError)


# --- station ------------------------------------------------------------------------------------


def station_init(arguments: argparse.Namespace, output: Output) -> None:
    """Lay out store and key file."""
    config = load_station(arguments.config)
    with StoreLock(Path(config.store), LOCK_WAIT_S):
        open_store(Path(config.store), Path(config.key_file)).close()
    result = {"store": config.store, "key_file": config.key_file}
    output.result(result, [f"store {config.store} and its key {config.key_file} are there"])


def station_run(arguments: argparse.Namespace, output: Output) -> None:
    """Run until SIGTERM or SIGINT."""
    config = load_station(arguments.config)
    start_logging(arguments.log_level or config.log_level)
    asyncio.run(_station_run(config, output))


async def _station_run(config: StationConfig, output: Output) -> None:
    station = Station(config)
    control = ControlServer(station, Path(config.control_socket))
    try:
        await station.start()
        await control.start()
        ready = {"running": True, "control_socket": config.control_socket}
        with stop_signals() as stopped:
            told = f"station {config.identity} runs; stop it with SIGTERM or Ctrl-C"
            output.result(ready, [told])
            await stopped.wait()
    finally:
        await control.stop()
        await station.stop()


# --- hosts --------------------------------------------------------------------------------------


def _ask(config: StationConfig, request: Json, output: Output) -> object | None:
    """The running station's answer: hosts, or one object; None if none runs."""
    try:
        result = asyncio.run(ask(Path(config.control_socket), request, output.progress))
    except ControlError as error:
        if error.kind is ErrorKind.NO_STATION:
            return None
        raise
    hosts = result if request["op"] == "list" else [result]
    if not isinstance(hosts, list) or not all(isinstance(host, dict) for host in hosts):
        raise ControlError(
            ErrorKind.FAILED,
            f"what answers on {config.control_socket} is no station of this release",
        )
    return result


def _with_store(config: StationConfig, work: Callable[[Store], object]) -> object:
    """Work with the store itself, while no other process does."""
    path = Path(config.store)
    if not path.exists():
        raise StoreError(f"there is no store {path}; type: holdfast station init")
    with StoreLock(path, LOCK_WAIT_S):
        store = open_store(path, Path(config.key_file))
        try:
            return work(store)
        finally:
            store.close()


def _stored(store: Store, name: str) -> Json:
    host = store.host(name)
    return describe_record(host, store.sas(host.id)[0])


def host_add(arguments: argparse.Namespace, output: Output) -> None:
    """Take a host into the store."""
    config = load_station(arguments.config)
    try:
        address = parse_address(arguments.address)
        identity = arguments.identity or arguments.host
        parse_identity(identity)
    except ValueError as error:
        raise CommandError(Exit.USAGE, str(error)) from error
    if arguments.certificate:
        require_certificates(config, arguments.host)
    psk = Secret(b"") if arguments.certificate else read_psk(arguments.psk_file)
    proof: Json = (
        {"certificate": True}
        if arguments.certificate
        else {"psk_file": str(Path(arguments.psk_file).resolve())}
    )
    request: Json = {
        "op": "add",
        "host": arguments.host,
        "address": str(address),
        "identity": identity,
        **proof,
    }
    result = _ask(config, request, output)
    if result is None:

        def add(store: Store) -> Json:
            store.add_host(arguments.host, address, identity, psk)
            return _stored(store, arguments.host)

        path = Path(config.store)
        if not path.exists():
            with StoreLock(path, LOCK_WAIT_S):
                open_store(path, Path(config.key_file)).close()
        result = _with_store(config, add)
    output.result(result, [f"host {arguments.host} at {address} is in the store"])


def host_remove(arguments: argparse.Namespace, output: Output) -> None:
    """Forget a host and its SAs."""
    config = load_station(arguments.config)
    result = _ask(config, {"op": "remove", "host": arguments.host}, output)
    if result is None:
        _with_store(config, lambda store: store.remove_host(arguments.host))
        result = {"name": arguments.host, "removed": True}
    output.result(result, [f"host {arguments.host} and its SAs are forgotten"])


def host_list(arguments: argparse.Namespace, output: Output) -> None:
    """All hosts."""
    config = load_station(arguments.config)
    result = _ask(config, {"op": "list"}, output)
    if result is None:
        result = _with_store(
            config, lambda store: [_stored(store, name) for name in store.host_names()]
        )
    hosts = cast("list[Json]", result)
    rows = [
        [
            host.get("name"),
            host.get("address"),
            host.get("state"),
            _of(host, "sa", "spi_in_use"),
            _of(host, "sa", "proven"),
            _of(host, "refresh", "last"),
        ]
        for host in hosts
    ]
    head = ["NAME", "ADDRESS", "STATE", "SPI IN USE", "PROVEN", "REFRESHED"]
    output.result(hosts, table(head, rows) if rows else ["no host is in the store"])


def _of(host: Json, part: str, key: str) -> object:
    value = host.get(part)
    return value.get(key) if isinstance(value, dict) else None


def host_show(arguments: argparse.Namespace, output: Output) -> None:
    """One host in full."""
    config = load_station(arguments.config)
    result = _ask(config, {"op": "show", "host": arguments.host}, output)
    if result is None:
        result = _with_store(config, lambda store: _stored(store, arguments.host))
    host = cast("Json", result)
    lines: list[tuple[str, object]] = []
    for key, value in host.items():
        if isinstance(value, dict):
            lines += [(f"{key}.{name}", part) for name, part in value.items()]
        elif isinstance(value, list):
            lines.append((key, len(value)))
        else:
            lines.append((key, value))
    output.result(host, pairs(lines))


# --- alerts -------------------------------------------------------------------------------------


def alerts_list(arguments: argparse.Namespace, output: Output) -> None:
    """The alerts that the running station has heard."""
    config = load_station(arguments.config)
    request: Json = {"op": "alerts", "host": arguments.host}
    told = asyncio.run(ask(Path(config.control_socket), request, output.progress))
    try:
        if not isinstance(told, list):
            raise TypeError("no list of hosts")
        hosts = [(host, host["alerts"]) for host in cast("list[Json]", told)]
        rows = [
            [host["host"], *(alert.get(key) for key in _ALERT_KEYS)]
            for host, alerts in hosts
            for alert in cast("list[Json]", alerts)
        ]
        refused = {str(host["host"]): host["refused"] for host, _ in hosts}
    except (AttributeError, KeyError, TypeError) as error:
        raise ControlError(
            ErrorKind.FAILED,
            f"what answers on {config.control_socket} is no station of this release",
        ) from error
    head = ["HOST", "TIME", "ALERT", "STATE", "BEFORE", "CODE", "TIMES"]
    lines = table(head, rows) if rows else ["no alert was heard"]
    lines += [
        f"host {name}: {count} messages were no alerts" for name, count in refused.items() if count
    ]
    output.result(told, lines)


_ALERT_KEYS = ("time", "kind", "state", "before", "code", "times")


# --- power --------------------------------------------------------------------------------------


def power_host(arguments: argparse.Namespace, output: Output) -> None:
    """Reset a host, or switch it on or off."""
    name, action = arguments.host, arguments.action
    request: Json = {"op": "power", "host": name, "action": action}
    boot = _boot(arguments)
    if boot:
        request["boot"] = boot
    told = _command(
        arguments,
        request,
        lambda station: power(station, name, action, output.progress, boot or None),
        output,
    )
    output.result(
        told,
        [
            f"{action} of host {name} is acknowledged under SPI {told.get('spi')}, "
            f"after {told.get('packets')} packet(s)"
        ],
    )


BOOT_SOURCES = {
    "pxe": SpecialCommand.PXE,
    "disk": SpecialCommand.DISK,
    "safe-mode": SpecialCommand.SAFE_MODE,
    "diagnostic": SpecialCommand.DIAGNOSTIC,
    "cd": SpecialCommand.CD,
}
BOOT_OPTIONS = {str(option.name).lower().replace("_", "-"): option for option in BootOption}


def _boot(arguments: argparse.Namespace) -> Json:
    """What is asked of the host's firmware; empty if nothing is."""
    boot: Json = {}
    if getattr(arguments, "boot", None) is not None:
        boot["special_command"] = int(BOOT_SOURCES[arguments.boot])
    if getattr(arguments, "boot_parameter", None) is not None:
        boot["special_parameter"] = arguments.boot_parameter
    options = BootOption(0)
    for name in getattr(arguments, "boot_option", None) or ():
        options |= BOOT_OPTIONS[name]
    if options:
        boot["boot_options"] = int(options)
    if getattr(arguments, "boot_oem", None) is not None:
        boot["oem_parameters"] = arguments.boot_oem
    return boot


def host_zeroise(arguments: argparse.Namespace, output: Output) -> None:
    """Empty every bank of a host's NIC."""
    name = arguments.host
    if not arguments.yes:
        raise CommandError(
            Exit.USAGE,
            f"this empties all banks of the NIC of host {name}: no station reaches it any more "
            "until its OS negotiates anew; if that is meant, add --yes",
        )
    told = _command(
        arguments,
        {"op": "zeroise", "host": name},
        lambda station: zeroise(station, name, output.progress),
        output,
    )
    output.result(
        told,
        [
            f"the NIC of host {name} answered under SPI {told.get('spi')} that it empties all its "
            "banks; to forget the host as well, type: holdfast host remove " + name
        ],
    )


def _command(
    arguments: argparse.Namespace,
    request: Json,
    alone: Callable[[Station], Awaitable[Json]],
    output: Output,
) -> Json:
    """A command by the running station, or by one that is started for it `alone`."""
    config = load_station(arguments.config)
    result = _ask(config, request, output)
    if result is not None:
        return cast("Json", result)
    if not Path(config.store).exists():
        raise StoreError(f"there is no store {config.store}; type: holdfast station init")
    output.progress("no station runs: this command works with the store itself")
    start_logging(arguments.log_level or "warning")
    return asyncio.run(_command_alone(config, arguments.host, alone))


async def _command_alone(
    config: StationConfig, name: str, work: Callable[[Station], Awaitable[Json]]
) -> Json:
    """Without a running station: the store's lock makes sure that no number is used twice."""
    station = Station(config, exchanges=False, only=name)
    try:
        await station.start()
        return await work(station)
    finally:
        await station.stop()
