#include "nic.hpp"

#include <utility>

#include "VNic.h"
#include "VNic___024root.h"
#include "verilated.h"

#ifndef CYCLES_PER_MS
#error "CYCLES_PER_MS must say what the NIC was made for: clock_hz / 1000"
#endif

namespace board {

const std::array<const char*, OUTPUT_PINS> OUTPUT_NAMES = {"reset", "power"};
const std::array<const char*, INPUT_PINS> INPUT_NAMES = {
    "host_reset", "host_sleep", "host_off", "zeroise"};

namespace {

// hw/stream.py: one beat of a packet stream.
constexpr uint16_t FIRST = 1 << 8, LAST = 1 << 9, ERR = 1 << 10;
// Preamble, FCS and the gap between frames (IEEE 802.3 4.4.2), in octets and so in cycles.
constexpr unsigned FRAME_GAP = 8 + 4 + 12;
constexpr unsigned RESET_CYCLES = 8;
// hw/host/registers.py: READ_CYCLES.
constexpr unsigned READ_CYCLES = 3;
// Cycles that a quiet NIC gets in each millisecond.
constexpr unsigned QUIET_CYCLES = 16;

}  // namespace

Nic::Nic(const std::string& flash)
    : m_context{std::make_unique<VerilatedContext>()},
      m_top{std::make_unique<VNic>(m_context.get())},
      m_flash{flash} {
    m_top->rst = 1;
    for (unsigned n = 0; n < RESET_CYCLES; ++n) cycle();
    m_top->rst = 0;
    cycle();
    m_active_at = m_cycles;
}

Nic::~Nic() { m_top->final(); }

// What a source offers from the next cycle on.
uint16_t Nic::next_beat(Side side, bool moves) {
    Source& source = m_source[side];
    if (source.offered && moves && ++source.at == source.frame.size()) {
        source.active = false;
        source.gap = FRAME_GAP;
        m_attention = true;
    }
    if (source.gap) {
        --source.gap;
        source.offered = false;
        return 0;
    }
    source.offered = source.active;
    if (!source.active) return 0;
    m_active_at = m_cycles;
    uint16_t beat = source.frame[source.at];
    if (source.at == 0) beat |= FIRST;
    if (source.at + 1 == source.frame.size()) beat |= LAST;
    return beat;
}

void Nic::take_beat(Side side, uint16_t beat) {
    m_active_at = m_cycles;
    m_sink[side].push_back(beat & 0xFF);
    if (beat & LAST) {
        m_received[side].emplace_back(std::exchange(m_sink[side], {}), !(beat & ERR));
        m_attention = true;
    }
}

// All outputs are settled here, after the last rising edge.
void Nic::cycle() {
    if (m_top->wire_tx_valid) take_beat(WIRE, m_top->wire_tx_beat);
    if (m_top->host_tx_valid) take_beat(HOST, m_top->host_tx_beat);
    m_top->wire_rx_beat = next_beat(WIRE, m_top->wire_rx_ready);
    m_top->wire_rx_valid = m_source[WIRE].offered;
    m_top->host_rx_beat = next_beat(HOST, m_top->host_rx_ready);
    m_top->host_rx_valid = m_source[HOST].offered;
    m_top->flash_miso = m_flash.miso();
    m_top->clk = 0;
    m_top->eval();
    m_top->clk = 1;
    m_top->eval();
    ++m_cycles;
    m_flash.step(m_top->flash_sck, m_top->flash_cs_n, m_top->flash_mosi, m_cycles);
    if (!m_top->flash_cs_n) m_active_at = m_cycles;
    if (m_outputs[PIN_RESET] != m_top->pin_reset || m_outputs[PIN_POWER] != m_top->pin_power) {
        m_outputs = {m_top->pin_reset != 0, m_top->pin_power != 0};
        m_active_at = m_cycles;
        m_attention = true;
    }
}

void Nic::quiet_cycle() {
    cycle();
    if (!quiet_cycles()) {
        m_attention = true;
        return;
    }
    // Counts down to the tick (quiet.vlt).
    auto& counter = m_top->rootp->top__DOT__nic__DOT__cycle;
    if (counter > 1 && counter + QUIET_CYCLES <= CYCLES_PER_MS) {
        m_cycles += counter - 1;
        m_skipped += counter - 1;
        counter = 1;
    }
}

void Nic::send(Side side, Frame frame) {
    Source& source = m_source[side];
    source.frame = std::move(frame);
    source.at = 0;
    source.active = !source.frame.empty();
}

std::vector<std::pair<Frame, bool>> Nic::received(Side side) {
    return std::exchange(m_received[side], {});
}

uint32_t Nic::read(uint16_t addr) {
    m_top->bus_addr = addr;
    m_top->bus_r_stb = 1;
    cycle();
    m_top->bus_r_stb = 0;
    for (int n = 0; n < READ_CYCLES; ++n) {
        cycle();
    }
    return m_top->bus_r_data;
}

void Nic::write(uint16_t addr, uint32_t data) {
    m_top->bus_addr = addr;
    m_top->bus_w_data = data;
    m_top->bus_w_stb = 1;
    cycle();
    m_top->bus_w_stb = 0;
    cycle();
    m_active_at = m_cycles;
}

void Nic::set(InputPin pin, bool level) {
    m_inputs[pin] = level;
    m_top->pin_host_reset = m_inputs[PIN_HOST_RESET];
    m_top->pin_host_sleep = m_inputs[PIN_HOST_SLEEP];
    m_top->pin_host_off = m_inputs[PIN_HOST_OFF];
    m_top->pin_zeroise = m_inputs[PIN_ZEROISE];
    m_active_at = m_cycles;
}

bool Nic::attention() { return std::exchange(m_attention, false); }

}  // namespace board
