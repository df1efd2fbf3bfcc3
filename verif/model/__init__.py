"""The executable reference of the NIC, in plain Python.

It works on whole frames and milliseconds, not on cycles: what a frame causes is done when
`NicModel.wire_receive` returns. So buffers that fill up (DROP_HOST_FULL, DROP_OVERLOAD), a SAD that
is busy expanding keys (SadResult.PENDING) and the order of frames of both sides on the wire have no
place in it. It shares nothing with the gateware or the software but the facts in `spec`.
"""

from verif.model.events import Output, Pin, ToHost, ToWire
from verif.model.nic import NicModel

__all__ = ["NicModel", "Output", "Pin", "ToHost", "ToWire"]
