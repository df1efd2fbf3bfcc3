// The pins on a socket, a line of JSON an event (docs/virtual_board.md).
#pragma once

#include <functional>

#include "nic.hpp"
#include "sockets.hpp"

namespace board {

class PinServer : public Server {
public:
    // `milliseconds` tells the NIC's own time; `stats` makes the answer to {"stats": 1}.
    PinServer(const std::string& path, Nic& nic, std::function<uint64_t()> milliseconds,
              std::function<std::string()> stats)
        : Server(path),
          m_nic{nic},
          m_milliseconds{std::move(milliseconds)},
          m_stats{std::move(stats)} {}

    // Tells all clients of each output pin that changed since the last call.
    void report();

protected:
    void greet(Client& client) override;
    void handle(Client& client) override;

private:
    Nic& m_nic;
    std::function<uint64_t()> m_milliseconds;
    std::function<std::string()> m_stats;
    std::array<bool, OUTPUT_PINS> m_told{};

    std::string event(const char* pin, bool level) const;
    std::string answer(const std::string& line);
};

}  // namespace board
