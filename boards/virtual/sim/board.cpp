#include "board.hpp"

#include <cstdio>

#include "errors.hpp"

namespace board {

namespace {

using std::chrono::duration;
using std::chrono::duration_cast;
using std::chrono::milliseconds;

// With nothing to do the board wakes up this often, and then runs all cycles of that time at once.
constexpr int TICK_MS = 10;
// After a frame, a write or a pin the NIC may be at work inside for this long: a packet of 1500 octets
// takes fewer cycles to arrive, be decrypted, answered and sent.
constexpr uint64_t SETTLE_CYCLES = 4096;
// While there is work the NIC may run ahead of wall time by this much. It waits afterwards, so timers
// keep wall time to within it.
constexpr int64_t AHEAD_CYCLES = 50 * CYCLES_PER_MS;
// Where the machine was too slow, or stood still, no more than this is made up for.
constexpr int64_t BEHIND_CYCLES = 250 * CYCLES_PER_MS;
// Cycles between two looks at the sockets.
constexpr int64_t SLICE_CYCLES = 1024;

double seconds(std::chrono::steady_clock::duration time) { return duration<double>(time).count(); }

}  // namespace

Board::Board(const Settings& settings, Tap wire, Tap host)
    : m_nic{settings.flash},
      m_taps{std::move(wire), std::move(host)},
      m_registers{settings.registers, m_nic},
      m_pins{settings.pins, m_nic, [this] { return m_nic.cycles() / CYCLES_PER_MS; },
             [this] { return stats(); }} {}

bool Board::busy() const {
    return m_nic.sending(WIRE) || m_nic.sending(HOST) || m_nic.quiet_cycles() < SETTLE_CYCLES;
}

int64_t Board::owed() {
    const auto passed = duration_cast<std::chrono::nanoseconds>(Clock::now() - m_epoch).count();
    const int64_t due = passed / 1000 * CYCLES_PER_MS / 1000;
    const int64_t result = due - static_cast<int64_t>(m_nic.cycles());
    if (result <= BEHIND_CYCLES) return result;
    const auto lost = milliseconds((result - BEHIND_CYCLES) / CYCLES_PER_MS);
    m_epoch += lost;
    m_lost_time += lost;
    return BEHIND_CYCLES;
}

void Board::run_cycles(int64_t count, bool busy) {
    const auto begin = Clock::now();
    const uint64_t first = m_nic.cycles();
    const auto end = first + static_cast<uint64_t>(count);
    while (m_nic.cycles() < end && !m_nic.attention()) {
        if (busy) {
            m_nic.cycle();
        } else {
            m_nic.quiet_cycle();
        }
    }
    const auto time = Clock::now() - begin;
    m_run_time += time;
    if (busy) {
        m_busy_time += time;
        m_busy_cycles += m_nic.cycles() - first;
    }
}

void Board::exchange_frames() {
    for (const Side side : {WIRE, HOST}) {
        for (auto& [frame, good] : m_nic.received(side)) m_taps[side].send(frame, good);
        if (m_nic.sending(side)) continue;
        if (auto frame = m_taps[side].receive()) m_nic.send(side, std::move(*frame));
    }
}

void Board::wait(int timeout) {
    std::vector<pollfd> polled;
    for (const Side side : {WIRE, HOST})
        if (!m_nic.sending(side)) polled.push_back({m_taps[side].fd(), POLLIN, 0});
    m_registers.wanted(polled);
    m_pins.wanted(polled);
    if (poll(polled.data(), polled.size(), timeout) < 0 && errno != EINTR)
        throw Trouble("waiting failed: " + reason());
}

void Board::run(const volatile std::sig_atomic_t& stop) {
    while (!stop) {
        m_registers.serve();
        m_pins.serve();
        exchange_frames();
        const bool working = busy();
        const int64_t behind = owed();
        if (behind > 0 || (working && behind > -AHEAD_CYCLES)) {
            run_cycles(working ? SLICE_CYCLES : std::min(behind, SLICE_CYCLES), working);
            m_pins.report();
            if (working || behind > SLICE_CYCLES) continue;
        }
        wait(working ? 1 : TICK_MS);
    }
    // What the NIC already gave is not kept back.
    for (const Side side : {WIRE, HOST})
        for (auto& [frame, good] : m_nic.received(side)) m_taps[side].send(frame, good);
}

std::string Board::stats() const {
    char text[1024];
    const auto& wire = m_taps[WIRE].counts();
    const auto& host = m_taps[HOST].counts();
    const auto whole = [](uint64_t n) { return static_cast<unsigned long long>(n); };
    std::snprintf(
        text, sizeof text,
        "{\"clock_hz\":%llu,\"cycles\":%llu,\"skipped_cycles\":%llu,\"seconds\":%.6f,\"lost_seconds\":%.6f,"
        "\"run_seconds\":%.6f,\"busy_cycles\":%llu,\"busy_seconds\":%.6f,\"busy_cycles_per_second\":%.0f,"
        "\"wire\":{\"in\":%llu,\"out\":%llu,\"out_error\":%llu,\"out_lost\":%llu,\"oversize\":%llu},"
        "\"host\":{\"in\":%llu,\"out\":%llu,\"out_error\":%llu,\"out_lost\":%llu,\"oversize\":%llu}}\n",
        whole(CYCLES_PER_MS * 1000), whole(m_nic.cycles()), whole(m_nic.skipped()),
        seconds(Clock::now() - m_start),
        seconds(m_lost_time), seconds(m_run_time), whole(m_busy_cycles), seconds(m_busy_time),
        m_busy_cycles ? static_cast<double>(m_busy_cycles) / seconds(m_busy_time) : 0.0,
        whole(wire.in), whole(wire.out), whole(wire.out_error), whole(wire.out_lost),
        whole(wire.oversize), whole(host.in), whole(host.out), whole(host.out_error),
        whole(host.out_lost), whole(host.oversize));
    return text;
}

}  // namespace board
