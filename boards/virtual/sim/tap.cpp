#include "tap.hpp"

#include <fcntl.h>
#include <linux/if.h>
#include <linux/if_tun.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>

#include "errors.hpp"

namespace board {

namespace {

// IEEE 802.3 3.2.7 and 3.2.8, without the FCS; four octets more for a VLAN tag.
constexpr size_t FRAME_MIN = 60, FRAME_MAX = 1518;
constexpr const char* TUN = "/dev/net/tun";

}  // namespace

Tap::Tap(int fd) : m_fd{fd} {
    const int flags = fcntl(fd, F_GETFL);
    if (flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) < 0)
        throw Trouble("file descriptor " + std::to_string(fd) + " cannot be used: " + reason());
}

Tap Tap::open_name(const std::string& name) {
    if (name.empty() || name.size() >= IFNAMSIZ)
        throw Trouble("'" + name + "' is no name for a network device: 1 to 15 characters, please");
    const int fd = open(TUN, O_RDWR | O_CLOEXEC);
    if (fd < 0) throw Trouble(std::string(TUN) + " cannot be opened: " + reason());
    ifreq request{};
    std::memcpy(request.ifr_name, name.data(), name.size());
    request.ifr_flags = IFF_TAP | IFF_NO_PI;
    if (ioctl(fd, TUNSETIFF, &request) < 0)
        throw Trouble("the TAP device '" + name + "' cannot be opened: " + reason());
    return Tap(fd);
}

Tap Tap::inherit(int fd) {
    ifreq request{};
    if (ioctl(fd, TUNGETIFF, &request) < 0 || (request.ifr_flags & IFF_TAP) == 0)
        throw Trouble("file descriptor " + std::to_string(fd) + " is no TAP device");
    if ((request.ifr_flags & IFF_NO_PI) == 0)
        throw Trouble("the TAP device '" + std::string(request.ifr_name) + "' lacks IFF_NO_PI");
    return Tap(fd);
}

std::optional<Frame> Tap::receive() {
    std::array<uint8_t, 65536> buffer;
    for (;;) {
        const ssize_t got = read(m_fd, buffer.data(), buffer.size());
        if (got < 0) {
            if (errno == EINTR) continue;
            // EIO: the link is down, so nothing comes.
            if (errno == EAGAIN || errno == EIO) return std::nullopt;
            throw Trouble("a TAP device cannot be read: " + reason());
        }
        if (static_cast<size_t>(got) > FRAME_MAX) {
            ++m_counts.oversize;
            continue;
        }
        ++m_counts.in;
        Frame frame(buffer.begin(), buffer.begin() + got);
        if (frame.size() < FRAME_MIN) frame.resize(FRAME_MIN);
        return frame;
    }
}

void Tap::send(const Frame& frame, bool good) {
    if (!good) {
        ++m_counts.out_error;
        return;
    }
    ssize_t put;
    do put = write(m_fd, frame.data(), frame.size());
    while (put < 0 && errno == EINTR);
    ++(put < 0 ? m_counts.out_lost : m_counts.out);
}

}  // namespace board
