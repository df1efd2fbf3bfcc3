"""Runs in the guest, as its first process's heir: does what the other side of the wire asks for.

Requests and answers are lines of JSON over TCP, on a wire that only the test has. It uses nothing
but the standard library, since it starts within the guest's boot.
"""

import json
import os
import socket
import socketserver
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

ECHO_PORT = 664


def run(argv: list[str], timeout: float) -> dict[str, Any]:
    """Runs a command to its end."""
    done = subprocess.run(
        argv, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=timeout, check=False
    )
    return {"code": done.returncode, "out": done.stdout, "err": done.stderr}


def start(argv: list[str], env: dict[str, str], log: str) -> dict[str, Any]:
    """Starts a daemon; its words go to the file `log`."""
    with Path(log).open("ab") as file:
        process = subprocess.Popen(
            argv, stdin=subprocess.DEVNULL, stdout=file, stderr=file, env={**os.environ, **env}
        )
    threading.Thread(target=process.wait, daemon=True).start()
    return {"pid": process.pid}


def ask(to: list[Any], port: int, data: str, timeout: float) -> dict[str, Any]:
    """Sends a datagram from `port`, and waits for an answer."""
    family = socket.AF_INET6 if ":" in to[0] else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as udp:
        udp.settimeout(timeout)
        udp.bind(("", port))
        try:
            udp.sendto(bytes.fromhex(data), (to[0], to[1]))
            return {"data": udp.recv(65535).hex()}
        except OSError as error:
            return {"data": None, "why": str(error)}


def converse(to: list[Any], port: int, data: str, count: int, timeout: float) -> dict[str, Any]:
    """Sends a datagram from `port`, and gathers `count` that come within the time."""
    family = socket.AF_INET6 if ":" in to[0] else socket.AF_INET
    found: list[str] = []
    with socket.socket(family, socket.SOCK_DGRAM) as udp:
        udp.bind(("", port))
        udp.connect((to[0], to[1]))
        udp.send(bytes.fromhex(data))
        end = time.monotonic() + timeout
        while len(found) < count and (left := end - time.monotonic()) > 0:
            udp.settimeout(left)
            try:
                found.append(udp.recv(65535).hex())
            except TimeoutError:
                break
    return {"data": found}


def write(path: str, text: str) -> dict[str, Any]:
    """Writes a file."""
    Path(path).write_text(text)
    return {}


REQUESTS: dict[str, Callable[..., dict[str, Any]]] = {
    "write": write,
    "run": run,
    "start": start,
    "ask": ask,
    "converse": converse,
}


class Handler(socketserver.StreamRequestHandler):
    """One connection: one request a line, one answer a line."""

    def handle(self) -> None:
        for line in self.rfile:
            words = json.loads(line)
            try:
                answer = REQUESTS[words.pop("do")](**words)
            except (OSError, subprocess.SubprocessError) as error:
                answer = {"error": f"{type(error).__name__}: {error}"}
            self.wfile.write(json.dumps(answer).encode() + b"\n")


class Server(socketserver.ThreadingTCPServer):
    """The listener."""

    allow_reuse_address = True
    daemon_threads = True


def echo(family: int) -> None:
    """Answers each datagram on the port of RMCP with its octets backwards."""
    udp = socket.socket(family, socket.SOCK_DGRAM)
    if family == socket.AF_INET6:
        udp.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
    udp.bind(("", ECHO_PORT))
    while True:
        try:
            data, peer = udp.recvfrom(65535)
            udp.sendto(data[::-1], peer)
        except OSError:
            # An answer that no SA is there for.
            continue


if __name__ == "__main__":
    for one in (socket.AF_INET, socket.AF_INET6):
        threading.Thread(target=echo, args=(one,), daemon=True).start()
    Server(("", int(sys.argv[1])), Handler).serve_forever()
