// The verilated NIC, one clock cycle at a time: its four frame streams, its register bus, its pins.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "flash.hpp"

class VNic;
class VerilatedContext;

namespace board {

using Frame = std::vector<uint8_t>;

// Feeds one frame, an octet a cycle, into a stream of the NIC.
struct Source {
    Frame frame;
    size_t at = 0;
    unsigned gap = 0;      // cycles to wait before the next frame
    bool active = false;   // octets of `frame` remain
    bool offered = false;  // the NIC sees octet `at` in this cycle
};

// Pins the NIC drives, and pins it reads; the values index `names`.
enum OutputPin { PIN_RESET, PIN_POWER, OUTPUT_PINS };
enum InputPin { PIN_HOST_RESET, PIN_HOST_SLEEP, PIN_HOST_OFF, PIN_ZEROISE, INPUT_PINS };
extern const std::array<const char*, OUTPUT_PINS> OUTPUT_NAMES;
extern const std::array<const char*, INPUT_PINS> INPUT_NAMES;

enum Side { WIRE, HOST, SIDES };

class Nic {
public:
    // `flash` is the file of its flash; empty: there is none.
    explicit Nic(const std::string& flash);
    ~Nic();

    // One cycle of the clock.
    void cycle();
    // One cycle; then, if the NIC has had enough of them since its last millisecond tick for all that
    // follows from a tick alone, the rest of that millisecond is skipped. Only while all is quiet.
    void quiet_cycle();

    // True while the source of this side still holds octets of a frame.
    bool sending(Side side) const { return m_source[side].active; }
    // Starts a frame into the NIC; only while not `sending`.
    void send(Side side, Frame frame);
    // Frames that left the NIC on this side since the last call; `false` marks one that ended in error.
    std::vector<std::pair<Frame, bool>> received(Side side);

    // A bus access takes its cycles at once.
    uint32_t read(uint16_t addr);
    void write(uint16_t addr, uint32_t data);

    void set(InputPin pin, bool level);
    bool level(InputPin pin) const { return m_inputs[pin]; }
    bool level(OutputPin pin) const { return m_outputs[pin]; }
    // True once after a frame left the NIC or was taken by it whole, or an output pin changed.
    bool attention();

    // Cycles run and skipped: the NIC's own time.
    uint64_t cycles() const { return m_cycles; }
    uint64_t skipped() const { return m_skipped; }
    // Cycles since something last moved at a port: a frame's octet, a write, a pin, the flash.
    uint64_t quiet_cycles() const { return m_cycles - m_active_at; }

private:
    std::unique_ptr<VerilatedContext> m_context;
    std::unique_ptr<VNic> m_top;
    Flash m_flash;
    std::array<Source, SIDES> m_source;
    std::array<Frame, SIDES> m_sink;
    std::array<std::vector<std::pair<Frame, bool>>, SIDES> m_received;
    std::array<bool, INPUT_PINS> m_inputs{};
    std::array<bool, OUTPUT_PINS> m_outputs{};
    bool m_attention = false;
    uint64_t m_cycles = 0;
    uint64_t m_skipped = 0;
    uint64_t m_active_at = 0;

    uint16_t next_beat(Side side, bool moves);
    void take_beat(Side side, uint16_t beat);
};

}  // namespace board
