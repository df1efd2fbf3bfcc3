// A serial NOR flash (JESD216; W25Q and compatible parts) whose cells lie in a file.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace board {

class Flash {
public:
    // Without a path there is no flash: its line reads as zeros. A file that is missing is made, blank.
    explicit Flash(const std::string& path);
    // Power is lost: of a program or erase that is under way the first half is done.
    ~Flash();
    Flash(const Flash&) = delete;
    Flash& operator=(const Flash&) = delete;

    // The pins after a rising edge of the NIC's clock; SPI mode 0.
    void step(bool sck, bool cs_n, bool mosi, uint64_t cycle);
    bool miso() const { return m_miso; }

private:
    int m_fd = -1;
    std::vector<uint8_t> m_cells;
    bool m_was_sck = false, m_was_cs_n = true, m_miso = false;
    std::vector<uint8_t> m_in;   // whole octets of this command
    unsigned m_bits = 0;         // and the bits of the next one
    uint8_t m_octet = 0, m_out = 0xFF;
    bool m_enabled = false;      // the write enable latch
    enum { IDLE, PROGRAM, ERASE } m_doing = IDLE;
    uint64_t m_until = 0;
    size_t m_address = 0;        // of what is under way, and its octets
    std::vector<uint8_t> m_data;

    uint8_t answer() const;
    void execute(uint64_t cycle);
    void finish(size_t count);
};

}  // namespace board
