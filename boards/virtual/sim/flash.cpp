#include "flash.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>

#include "errors.hpp"

#ifndef CYCLES_PER_MS
#error "CYCLES_PER_MS must say what the NIC was made for: clock_hz / 1000"
#endif

namespace board {

namespace {

// spec/store.py: FlashCommand, SECTOR_OCTETS and PAGE_OCTETS.
enum Command : uint8_t {
    PAGE_PROGRAM = 0x02,
    READ = 0x03,
    READ_STATUS = 0x05,
    WRITE_ENABLE = 0x06,
    SECTOR_ERASE = 0x20,
    READ_ID = 0x9F,
};
constexpr size_t SECTOR = 4096, PAGE = 256;
constexpr size_t OCTETS = 1 << 16;
constexpr std::array<uint8_t, 3> JEDEC_ID = {0xEF, 0x40, 0x10};
// A command and its address.
constexpr size_t HEADER = 4;
// As data sheets give them as typical.
constexpr uint64_t PROGRAM_CYCLES = CYCLES_PER_MS;
constexpr uint64_t ERASE_CYCLES = 45 * CYCLES_PER_MS;

}  // namespace

Flash::Flash(const std::string& path) {
    if (path.empty()) return;
    m_fd = open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    struct stat facts {};
    if (m_fd < 0 || fstat(m_fd, &facts)) throw Trouble("'" + path + "' cannot be opened: " + reason());
    m_miso = true;
    m_cells.assign(OCTETS, 0xFF);
    ssize_t done = static_cast<ssize_t>(OCTETS);
    if (facts.st_size == 0) {
        done = pwrite(m_fd, m_cells.data(), OCTETS, 0);
    } else if (facts.st_size == static_cast<off_t>(OCTETS)) {
        done = pread(m_fd, m_cells.data(), OCTETS, 0);
    } else {
        throw Trouble("'" + path + "' is no flash: it has not 65536 octets");
    }
    if (done != static_cast<ssize_t>(OCTETS))
        throw Trouble("'" + path + "' cannot be used: " + reason());
}

Flash::~Flash() {
    if (m_fd < 0) return;
    if (m_doing != IDLE) finish((m_doing == ERASE ? SECTOR : m_data.size()) / 2);
    close(m_fd);
}

void Flash::step(bool sck, bool cs_n, bool mosi, uint64_t cycle) {
    if (m_fd < 0) return;
    if (m_doing != IDLE && cycle >= m_until) finish(m_doing == ERASE ? SECTOR : m_data.size());
    if (cs_n) {
        if (!m_was_cs_n) execute(cycle);
        m_miso = true;
    } else if (m_was_cs_n) {
        m_in.clear();
        m_bits = 0;
        m_out = 0xFF;
    } else if (sck && !m_was_sck) {
        m_octet = static_cast<uint8_t>(m_octet << 1 | mosi);
        if (++m_bits == 8) {
            m_in.push_back(m_octet);
            m_bits = 0;
            m_out = answer();
        }
    } else if (!sck && m_was_sck) {
        m_miso = m_out >> (7 - m_bits) & 1;
    }
    m_was_sck = sck;
    m_was_cs_n = cs_n;
}

// The octet that goes out after those that came in.
uint8_t Flash::answer() const {
    const size_t count = m_in.size();
    if (m_in[0] == READ_STATUS) return static_cast<uint8_t>((m_doing != IDLE) | m_enabled << 1);
    if (m_doing != IDLE) throw Trouble("the flash was asked while it was busy");
    if (m_in[0] == READ_ID) return count <= JEDEC_ID.size() ? JEDEC_ID[count - 1] : 0xFF;
    if (m_in[0] != READ || count < HEADER) return 0xFF;
    const size_t address = static_cast<size_t>(m_in[1]) << 16 | m_in[2] << 8 | m_in[3];
    return m_cells[(address + count - HEADER) % OCTETS];
}

// Chip select rose: what was sent is done.
void Flash::execute(uint64_t cycle) {
    if (m_in.empty()) return;
    const uint8_t command = m_in[0];
    if (command == WRITE_ENABLE) m_enabled = true;
    if (command != PAGE_PROGRAM && command != SECTOR_ERASE) return;
    if (m_in.size() < HEADER || !m_enabled || m_doing != IDLE)
        throw Trouble("the flash was told to write in a way that no data sheet allows");
    m_enabled = false;
    m_address = (static_cast<size_t>(m_in[1]) << 16 | m_in[2] << 8 | m_in[3]) % OCTETS;
    m_data.assign(m_in.begin() + HEADER, m_in.end());
    if (command == PAGE_PROGRAM && m_address % PAGE + m_data.size() > PAGE)
        throw Trouble("the flash was told to program beyond the end of a page");
    m_doing = command == PAGE_PROGRAM ? PROGRAM : ERASE;
    m_until = cycle + (m_doing == PROGRAM ? PROGRAM_CYCLES : ERASE_CYCLES);
}

// The first `count` octets of what is under way are done, and it is over.
void Flash::finish(size_t count) {
    if (m_doing == ERASE) m_address -= m_address % SECTOR;
    for (size_t n = 0; n < count; ++n) {
        uint8_t& cell = m_cells[m_address + n];
        cell = m_doing == ERASE ? 0xFF : cell & m_data[n];
    }
    const ssize_t put = pwrite(m_fd, &m_cells[m_address], count, static_cast<off_t>(m_address));
    m_doing = IDLE;
    if (put != static_cast<ssize_t>(count)) throw Trouble("the flash cannot be written: " + reason());
}

}  // namespace board
