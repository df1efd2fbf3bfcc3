// What the board tells a person before it gives up.
#pragma once

#include <cerrno>
#include <cstring>
#include <stdexcept>
#include <string>

namespace board {

class Trouble : public std::runtime_error {
public:
    using std::runtime_error::runtime_error;
};

// The system's words for the last error.
inline std::string reason() { return std::strerror(errno); }

}  // namespace board
