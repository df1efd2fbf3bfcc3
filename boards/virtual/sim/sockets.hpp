// Unix stream sockets with several clients at once, none of which can make the board wait.
#pragma once

#include <list>
#include <string>
#include <vector>

#include <poll.h>

namespace board {

struct Client {
    int fd;
    std::string in;
    std::string out;
    bool closed = false;
};

class Server {
public:
    // Listens on `path`. A socket left there by a board that is gone is replaced.
    explicit Server(const std::string& path);
    virtual ~Server();
    Server(const Server&) = delete;
    Server& operator=(const Server&) = delete;

    // Adds what this server waits for.
    void wanted(std::vector<pollfd>& polled) const;
    // Accepts, reads, handles and writes whatever can be done without waiting.
    void serve();

protected:
    std::list<Client> m_clients;

    // A client has come.
    virtual void greet(Client&) {}
    // Takes whole requests from the front of `client.in`, adds the answers to `client.out`.
    virtual void handle(Client& client) = 0;
    // Sends what can be sent now of every client's answers.
    void flush();

private:
    std::string m_path;
    int m_listener;
    void read(Client& client);
    void write(Client& client);
};

}  // namespace board
