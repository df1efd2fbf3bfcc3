"""What the host is there for: a service that answers each UDP datagram with the number of its boot.

`python -m boards.virtual.demo.os_app --serve BOOT` is the service, `--ask ADDRESS` its client,
which prints the answer, and fails if there is none.
"""

import json
import os
import socket
import sys

__all__ = ["PORT", "ask", "serve"]

PORT = 7777
ANSWER_SECONDS = 0.5


def serve(boot: int) -> None:
    """Answers for ever."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as service:
        service.bind(("", PORT))
        while True:
            _, peer = service.recvfrom(2048)
            answer = {"application": "up", "boot": boot, "pid": os.getpid()}
            service.sendto(json.dumps(answer).encode(), peer)


def ask(address: str) -> bool:
    """Asks once, and prints the answer; whether there was one."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.settimeout(ANSWER_SECONDS)
        client.connect((address, PORT))
        client.send(b"up?")
        try:
            print(client.recv(2048).decode())
        except OSError:
            return False
    return True


if __name__ == "__main__":
    if sys.argv[1] == "--serve":
        serve(int(sys.argv[2]))
    else:
        sys.exit(not ask(sys.argv[2]))
