#include "registers.hpp"

namespace board {

namespace {

constexpr size_t REQUEST = 8;
constexpr uint16_t ADDRESS_MAX = 0xFFF;
enum Status : char { STATUS_OK = 0, STATUS_BAD = 1 };

uint32_t number(const char* octets, unsigned count) {
    uint32_t value = 0;
    for (unsigned n = 0; n < count; ++n) value = value << 8 | static_cast<uint8_t>(octets[n]);
    return value;
}

}  // namespace

void RegisterServer::handle(Client& client) {
    size_t at = 0;
    for (; client.in.size() - at >= REQUEST; at += REQUEST) {
        const char* request = client.in.data() + at;
        const char op = request[0];
        const auto addr = static_cast<uint16_t>(number(request + 2, 2));
        uint32_t data = number(request + 4, 4);
        const bool good = (op == 'R' || op == 'W') && request[1] == 0 && addr <= ADDRESS_MAX &&
                          addr % 4 == 0;
        if (good && op == 'R') {
            data = m_nic.read(addr);
        } else if (good) {
            m_nic.write(addr, data);
        }
        client.out += op;
        client.out += good ? STATUS_OK : STATUS_BAD;
        client.out.append(request + 2, 2);
        for (int shift = 24; shift >= 0; shift -= 8)
            client.out += static_cast<char>(data >> shift & 0xFF);
    }
    client.in.erase(0, at);
}

}  // namespace board
