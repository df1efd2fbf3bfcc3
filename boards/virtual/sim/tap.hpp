// One side of the NIC on a TAP device.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "nic.hpp"

namespace board {

struct TapCounts {
    uint64_t in = 0;         // frames from the device into the NIC
    uint64_t out = 0;        // frames from the NIC to the device
    uint64_t out_error = 0;  // ended in error by the NIC: not given to the device
    uint64_t out_lost = 0;   // the device did not take it: its link is down, or its queue full
    uint64_t oversize = 0;   // too long for Ethernet: not given to the NIC
};

class Tap {
public:
    // Opens the device called `name` in this network namespace, and makes it if there is none.
    static Tap open_name(const std::string& name);
    // Takes over an open TAP (IFF_TAP | IFF_NO_PI), which may lie in another namespace.
    static Tap inherit(int fd);

    int fd() const { return m_fd; }
    const TapCounts& counts() const { return m_counts; }
    // The next frame that waits in the device, padded as a MAC does; none if nothing waits.
    std::optional<Frame> receive();
    void send(const Frame& frame, bool good);

private:
    explicit Tap(int fd);
    int m_fd;
    TapCounts m_counts;
};

}  // namespace board
