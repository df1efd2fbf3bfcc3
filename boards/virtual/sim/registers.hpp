// The register bus on a socket (docs/virtual_board.md).
#pragma once

#include "nic.hpp"
#include "sockets.hpp"

namespace board {

class RegisterServer : public Server {
public:
    RegisterServer(const std::string& path, Nic& nic) : Server(path), m_nic{nic} {}

protected:
    void handle(Client& client) override;

private:
    Nic& m_nic;
};

}  // namespace board
