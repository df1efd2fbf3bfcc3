// The board: the NIC, its two TAP devices and its two sockets, kept in step with the wall clock.
#pragma once

#include <chrono>
#include <csignal>
#include <string>

#include "nic.hpp"
#include "pins.hpp"
#include "registers.hpp"
#include "tap.hpp"

namespace board {

struct Settings {
    std::string registers;
    std::string pins;
    std::string flash;  // empty: there is none
};

class Board {
public:
    Board(const Settings& settings, Tap wire, Tap host);
    // Runs until `stop` is set.
    void run(const volatile std::sig_atomic_t& stop);
    // One line of JSON: what the board did since it began.
    std::string stats() const;

private:
    using Clock = std::chrono::steady_clock;

    Nic m_nic;
    std::array<Tap, SIDES> m_taps;
    RegisterServer m_registers;
    PinServer m_pins;
    Clock::time_point m_start = Clock::now();
    // The wall time that cycle 0 stands for; it moves when lost time is written off.
    Clock::time_point m_epoch = m_start;
    Clock::duration m_busy_time{}, m_run_time{}, m_lost_time{};
    uint64_t m_busy_cycles = 0;

    bool busy() const;
    // Cycles that wall time is ahead of the NIC; negative while the NIC is ahead.
    int64_t owed();
    void run_cycles(int64_t count, bool busy);
    void exchange_frames();
    // Waits for an event, at most for `milliseconds`.
    void wait(int milliseconds);
};

}  // namespace board
