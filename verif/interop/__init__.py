"""Holdfast against peers that nobody here wrote: strongSwan and the Linux kernel's ESP.

The kernel runs as a user program (User-Mode Linux) with strongSwan in it, on a TAP device; our
endpoint is at the other end of that wire. Each cell of the table negotiates for real, looks at the
state of both ends, and sends packets through the SAs in both directions.

On a second wire of the guest is the virtual board: the NIC's gateware, with our agent behind it.

- `packages`: fetches the peers from Debian, and unpacks them without installing anything;
- `guest`: the kernel as a process, and what runs in it;
- `lan`: the wire with the virtual board and its host;
- `strongswan`: its daemon, through its own interface (vici);
- `ours`: our endpoint, on the sockets that station and agent use;
- `cells`, with `cells_*` beside it: what is tried;
- `worker`: runs cells inside namespaces; `__main__` and the tests ask it.
"""
