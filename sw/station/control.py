"""How commands reach the running station: a Unix socket, one JSON object a line each way.

A request is `{"op": ..., ...}`. Answers with `"progress"` may come first; the last one has `"ok"`:
true with `"result"`, or false with `"error"`, a word of `ErrorKind`, and `"text"`.

SEC: STATION.CONTROL_SOCKET_MODE. The socket is of mode 0600 from the first moment: who may open it
may reset hosts.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import socket
import stat
from collections.abc import AsyncIterator, Callable
from enum import Enum
from ipaddress import IPv4Address
from pathlib import Path

from spec.rmcp import POWER_DATA
from sw.config import ConfigError, read_psk
from sw.ike.secret import Secret
from sw.rmcp import PowerCommand, PowerCycle, PowerData, PowerDown, PowerUp, Reset
from sw.station.database import NoSuchHostError, StoreError
from sw.station.describe import Json, spi_text
from sw.station.interfaces import PowerOutcome
from sw.station.service import Station

LOG = logging.getLogger("holdfast.station.control")
LINE_MAX = 1 << 20
BOOTING: dict[str, type[Reset | PowerUp | PowerCycle]] = {
    "reset": Reset,
    "on": PowerUp,
    "cycle": PowerCycle,
}
POWER_COMMANDS: dict[str, type[Reset | PowerUp | PowerDown | PowerCycle]] = {
    **BOOTING,
    "off": PowerDown,
}


BOOT_BITS = {
    name: POWER_DATA.width(name)
    for name in ("special_command", "special_parameter", "boot_options", "oem_parameters")
}
"""What may be asked of the host's firmware, each with its width."""


class ErrorKind(Enum):
    """Why a command came to nothing."""

    FAILED = "failed"
    USAGE = "usage"
    NO_ANSWER = "no_answer"
    REFUSED = "refused"
    NO_STATION = "no_station"


class ControlError(Exception):
    """A command came to nothing.

    Parameters
    ----------
    kind : ErrorKind
        Of which sort.
    text : str
        Why, and what to do, in words.
    result : dict or None
        What is known all the same.
    """

    def __init__(self, kind: ErrorKind, text: str, result: Json | None = None) -> None:
        super().__init__(text)
        self.kind = kind
        self.result = result


def power_command(action: str, boot: object = None) -> PowerCommand:
    """The message of `holdfast power ACTION`, with what the host is to boot; raises ControlError.

    `boot` is an object whose keys are among those of `BOOT_BITS`, or None.
    """
    kind = POWER_COMMANDS.get(action)
    if kind is None:
        raise ControlError(ErrorKind.USAGE, f"no such power command: {action}")
    if boot is None:
        return kind()
    if action not in BOOTING:
        raise ControlError(ErrorKind.USAGE, f"{action} boots nothing, so it has no boot options")
    if not isinstance(boot, dict) or not boot.keys() <= BOOT_BITS.keys():
        raise ControlError(ErrorKind.USAGE, f"boot options are among {', '.join(BOOT_BITS)}")
    for name, value in boot.items():
        if type(value) is not int or not 0 <= value < 1 << BOOT_BITS[name]:
            raise ControlError(ErrorKind.USAGE, f"{name} is no number of {BOOT_BITS[name]} bits")
    return BOOTING[action](PowerData(**boot))


def command_result(name: str, action: str, outcome: PowerOutcome) -> Json:
    """What is told of a command; raises ControlError unless the NIC acknowledged it."""
    result: Json = {
        "host": name,
        "command": action,
        "state": None if outcome.state is None else outcome.state.name,
        "spi": spi_text(outcome.spi),
        "acknowledged": outcome.acknowledged,
        "packets": outcome.sent,
    }
    if outcome.refused:
        raise ControlError(ErrorKind.REFUSED, f"refused: {outcome.refused}", result)
    if not outcome.acknowledged:
        raise ControlError(
            ErrorKind.NO_ANSWER,
            f"no answer from host {name} to {outcome.sent} packets; the command may have been "
            "carried out all the same, or be one that an administrator's SA alone may send: look "
            "at its state with: holdfast host show " + name,
            result,
        )
    return result


class ControlServer:
    """The socket of a running station.

    Parameters
    ----------
    station : Station
        What carries out the commands.
    path : Path
        Where the socket lies.
    """

    def __init__(self, station: Station, path: Path) -> None:
        self._station = station
        self._path = path
        self._server: asyncio.Server | None = None
        self._clients: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        """Listen; raises StoreError if that cannot be."""
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            if self._path.exists() and stat.S_ISSOCK(self._path.stat().st_mode):
                if await self._answers():
                    raise StoreError(
                        f"another station listens on the control socket {self._path}; stop it, or "
                        "name another with `control_socket`"
                    )
                self._path.unlink()
            self._server = await asyncio.start_unix_server(
                self._serve, sock=self._listener(), limit=LINE_MAX
            )
        except OSError as error:
            raise StoreError(
                f"cannot listen on the control socket {self._path}: {error.strerror or error}; "
                "name another with `control_socket`"
            ) from error

    async def _answers(self) -> bool:
        """Whether somebody listens already: a station that was killed leaves its socket."""
        try:
            _, writer = await asyncio.open_unix_connection(str(self._path))
        except ConnectionRefusedError:
            return False
        writer.close()
        return True

    def _listener(self) -> socket.socket:
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        before = os.umask(0o177)
        try:
            listener.bind(str(self._path))
        except OSError:
            listener.close()
            raise
        finally:
            os.umask(before)
        return listener

    async def stop(self) -> None:
        """Close, and remove the socket; whoever is connected is cut off."""
        if self._server is not None:
            self._server.close()
            self._path.unlink(missing_ok=True)
            self._server = None
        clients = list(self._clients)
        for client in clients:
            client.cancel()
        await asyncio.gather(*clients)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        def tell(message: Json) -> None:
            writer.write(json.dumps(message).encode() + b"\n")

        client = asyncio.current_task()
        if client is None or self._server is None:
            writer.close()
            return
        self._clients.add(client)
        try:
            while line := await reader.readline():
                tell(await self._answer(line, lambda text: tell({"progress": text})))
                await writer.drain()
        except ConnectionError as error:
            LOG.debug("control connection ended: %s", error)
        except ValueError:
            tell(_error(ErrorKind.USAGE, f"a request is one line of at most {LINE_MAX} octets"))
        except asyncio.CancelledError:
            LOG.debug("control connection cut off")  # asyncio would write a traceback for it
        finally:
            self._clients.discard(client)
            writer.close()

    async def _answer(self, line: bytes, progress: Callable[[str], None]) -> Json:
        try:
            request = json.loads(line)
            if not isinstance(request, dict):
                raise ControlError(ErrorKind.USAGE, "a request is a JSON object")
            return {"ok": True, "result": await self._carry_out(request, progress)}
        except ControlError as error:
            return _error(error.kind, str(error), error.result)
        except (NoSuchHostError, ConfigError) as error:
            return _error(ErrorKind.USAGE, str(error))
        except StoreError as error:
            return _error(ErrorKind.FAILED, str(error))
        except KeyError as error:
            return _error(ErrorKind.USAGE, f"bad request: it lacks {error}")
        except (RecursionError, TypeError, ValueError) as error:
            return _error(ErrorKind.USAGE, f"bad request: {error}")

    async def _carry_out(self, request: Json, progress: Callable[[str], None]) -> object:
        station = self._station
        match request.get("op"):
            case "list":
                return [station.describe(name) for name in station.names()]
            case "show":
                return station.describe(str(request["host"]))
            case "alerts":
                names = [str(request["host"])] if request.get("host") else station.names()
                return [station.alerts(name) for name in names]
            case "add":
                by_certificate = request.get("certificate") is True
                psk = Secret(b"") if by_certificate else read_psk(str(request["psk_file"]))
                return station.add_host(
                    str(request["host"]),
                    IPv4Address(str(request["address"])),
                    str(request["identity"]),
                    psk,
                )
            case "remove":
                station.remove_host(str(request["host"]))
                return {"name": request["host"], "removed": True}
            case "power":
                name, action = str(request["host"]), str(request["action"])
                return await power(station, name, action, progress, request.get("boot"))
            case "zeroise":
                return await zeroise(station, str(request["host"]), progress)
            case other:
                raise ControlError(ErrorKind.USAGE, f"no such operation: {other}")


async def power(
    station: Station,
    name: str,
    action: str,
    progress: Callable[[str], None],
    boot: object = None,
) -> Json:
    """Carry out `holdfast power`; raises ControlError unless it was acknowledged."""
    command = power_command(action, boot)
    await _told_where_it_goes(station, name, action, progress)
    return command_result(name, action, await station.power(name, command))


async def zeroise(station: Station, name: str, progress: Callable[[str], None]) -> Json:
    """Carry out `holdfast host zeroise`; raises ControlError unless the NIC answered."""
    await _told_where_it_goes(station, name, "zeroise", progress)
    return command_result(name, "zeroise", await station.zeroise(name))


async def _told_where_it_goes(
    station: Station, name: str, action: str, progress: Callable[[str], None]
) -> None:
    session = station.session(name)
    await station.first_answer(name, station.config.rmcp_sends * 5.0)
    state = session.shown_state
    order = session.machine.order
    if order:
        spi = spi_text(session.sas[order[0]].spi_out)
        progress(
            f"host {name} is {'silent' if state is None else state.name}; "
            f"{action} goes out under SPI {spi}"
        )


def _error(kind: ErrorKind, text: str, result: Json | None = None) -> Json:
    return {"ok": False, "error": kind.value, "text": text, "result": result}


async def ask(path: Path, request: Json, progress: Callable[[str], None]) -> object:
    """Ask the running station; raises ControlError, NO_STATION if there is none."""
    try:
        reader, writer = await asyncio.open_unix_connection(str(path), limit=LINE_MAX)
    except OSError as error:
        raise ControlError(
            ErrorKind.NO_STATION,
            f"no station answers on {path}: {error.strerror or error}; "
            "start one with: holdfast station run --config FILE",
        ) from error
    try:
        writer.write(json.dumps(request).encode() + b"\n")
        await writer.drain()
        async for answer in _answers(reader):
            if "progress" in answer:
                progress(str(answer["progress"]))
            elif answer.get("ok"):
                return answer.get("result")
            else:
                result = answer.get("result")
                raise ControlError(
                    ErrorKind(answer.get("error", "failed")),
                    str(answer.get("text", "the station gives no reason")),
                    result if isinstance(result, dict) else None,
                )
    except (OSError, ValueError, RecursionError) as error:
        raise ControlError(ErrorKind.FAILED, f"the station broke off: {error}") from error
    finally:
        writer.close()
    raise ControlError(ErrorKind.FAILED, "the station ended before it answered")


async def _answers(reader: asyncio.StreamReader) -> AsyncIterator[Json]:
    while line := await reader.readline():
        answer = json.loads(line)
        if not isinstance(answer, dict):
            raise ValueError("an answer is a JSON object")
        yield answer
