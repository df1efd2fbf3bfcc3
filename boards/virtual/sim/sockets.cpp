#include "sockets.hpp"

#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cstring>

#include "errors.hpp"

namespace board {

namespace {

// A client that does not read its answers loses its connection at this many octets.
constexpr size_t OUT_MAX = 1 << 20;

sockaddr_un address(const std::string& path) {
    sockaddr_un result{};
    result.sun_family = AF_UNIX;
    if (path.empty() || path.size() >= sizeof result.sun_path)
        throw Trouble("'" + path + "' is no path for a socket: 1 to 107 octets, please");
    std::memcpy(result.sun_path, path.data(), path.size());
    return result;
}

bool answers(const sockaddr_un& where) {
    const int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    const bool taken = connect(fd, reinterpret_cast<const sockaddr*>(&where), sizeof where) == 0 ||
                       errno != ECONNREFUSED;
    close(fd);
    return taken;
}

}  // namespace

Server::Server(const std::string& path) : m_path{path} {
    const sockaddr_un where = address(path);
    m_listener = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (m_listener < 0) throw Trouble("no socket to be had: " + reason());
    const auto* bound = reinterpret_cast<const sockaddr*>(&where);
    int failed = bind(m_listener, bound, sizeof where);
    if (failed && errno == EADDRINUSE) {
        if (answers(where)) throw Trouble("'" + path + "' is in use already; another board?");
        unlink(path.c_str());
        failed = bind(m_listener, bound, sizeof where);
    }
    if (failed || listen(m_listener, 8))
        throw Trouble("no socket can be made at '" + path + "': " + reason());
}

Server::~Server() {
    for (Client& client : m_clients) close(client.fd);
    close(m_listener);
    unlink(m_path.c_str());
}

void Server::wanted(std::vector<pollfd>& polled) const {
    polled.push_back({m_listener, POLLIN, 0});
    for (const Client& client : m_clients) {
        const short events = client.out.empty() ? POLLIN : POLLIN | POLLOUT;
        polled.push_back({client.fd, events, 0});
    }
}

void Server::serve() {
    for (int fd; (fd = accept4(m_listener, nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0;) {
        m_clients.push_back({fd, {}, {}});
        greet(m_clients.back());
    }
    for (Client& client : m_clients) {
        read(client);
        if (!client.in.empty()) handle(client);
    }
    flush();
}

void Server::flush() {
    for (Client& client : m_clients) write(client);
    m_clients.remove_if([](const Client& client) {
        if (client.closed) close(client.fd);
        return client.closed;
    });
}

void Server::read(Client& client) {
    char buffer[4096];
    const ssize_t got = recv(client.fd, buffer, sizeof buffer, 0);
    if (got > 0) {
        client.in.append(buffer, static_cast<size_t>(got));
    } else if (got == 0 || (errno != EAGAIN && errno != EINTR)) {
        client.closed = true;
    }
}

void Server::write(Client& client) {
    if (client.out.empty()) return;
    const ssize_t put = send(client.fd, client.out.data(), client.out.size(), MSG_NOSIGNAL);
    if (put > 0) {
        client.out.erase(0, static_cast<size_t>(put));
    } else if (put < 0 && errno != EAGAIN && errno != EINTR) {
        client.closed = true;
    }
    if (client.out.size() > OUT_MAX) client.closed = true;
}

}  // namespace board
