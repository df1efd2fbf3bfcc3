#include "pins.hpp"

#include <cctype>
#include <map>
#include <optional>

namespace board {

namespace {

constexpr size_t LINE_MAX_OCTETS = 4096;

// Reads one flat JSON object whose values are plain strings, whole numbers, true or false.
class FlatObject {
public:
    static std::optional<std::map<std::string, std::string>> parse(const std::string& text) {
        FlatObject parser(text);
        std::map<std::string, std::string> members;
        if (!parser.take('{')) return std::nullopt;
        if (!parser.take('}')) {
            do {
                const auto key = parser.text();
                if (!key || !parser.take(':')) return std::nullopt;
                const auto value = parser.value();
                if (!value) return std::nullopt;
                members[*key] = *value;
            } while (parser.take(','));
            if (!parser.take('}')) return std::nullopt;
        }
        parser.skip();
        if (parser.m_at != text.size()) return std::nullopt;
        return members;
    }

private:
    explicit FlatObject(const std::string& text) : m_text{text} {}

    void skip() {
        while (m_at < m_text.size() && std::isspace(static_cast<unsigned char>(m_text[m_at])))
            ++m_at;
    }
    bool take(char wanted) {
        skip();
        if (m_at >= m_text.size() || m_text[m_at] != wanted) return false;
        ++m_at;
        return true;
    }
    // No name of this interface needs an escape.
    std::optional<std::string> text() {
        if (!take('"')) return std::nullopt;
        const size_t end = m_text.find_first_of("\"\\", m_at);
        if (end == std::string::npos || m_text[end] == '\\') return std::nullopt;
        const std::string result = m_text.substr(m_at, end - m_at);
        m_at = end + 1;
        return result;
    }
    std::optional<std::string> value() {
        skip();
        if (m_at < m_text.size() && m_text[m_at] == '"') return text();
        const size_t start = m_at;
        while (m_at < m_text.size() && std::isalnum(static_cast<unsigned char>(m_text[m_at])))
            ++m_at;
        const std::string word = m_text.substr(start, m_at - start);
        if (word == "true") return "1";
        if (word == "false") return "0";
        if (word.empty() || word.find_first_not_of("0123456789") != std::string::npos)
            return std::nullopt;
        return word;
    }

    const std::string& m_text;
    size_t m_at = 0;
};

std::string trouble(const std::string& words) { return "{\"error\":\"" + words + "\"}\n"; }

}  // namespace

std::string PinServer::event(const char* pin, bool level) const {
    return std::string("{\"pin\":\"") + pin + "\",\"level\":" + (level ? "1" : "0") +
           ",\"ms\":" + std::to_string(m_milliseconds()) + "}\n";
}

void PinServer::report() {
    for (int pin = 0; pin < OUTPUT_PINS; ++pin) {
        const bool level = m_nic.level(static_cast<OutputPin>(pin));
        if (level == m_told[pin]) continue;
        m_told[pin] = level;
        for (Client& client : m_clients) client.out += event(OUTPUT_NAMES[pin], level);
    }
    flush();
}

void PinServer::greet(Client& client) {
    for (int pin = 0; pin < OUTPUT_PINS; ++pin) client.out += event(OUTPUT_NAMES[pin], m_told[pin]);
}

void PinServer::handle(Client& client) {
    for (size_t end; (end = client.in.find('\n')) != std::string::npos;) {
        client.out += answer(client.in.substr(0, end));
        client.in.erase(0, end + 1);
    }
    if (client.in.size() > LINE_MAX_OCTETS) client.closed = true;
}

std::string PinServer::answer(const std::string& line) {
    const auto members = FlatObject::parse(line);
    if (!members) return trouble("not a flat JSON object of strings and whole numbers");
    if (members->size() == 1 && members->count("stats")) return m_stats();
    if (members->size() != 2 || !members->count("pin") || !members->count("level"))
        return trouble("say {\\\"pin\\\":NAME,\\\"level\\\":0 or 1} or {\\\"stats\\\":1}");
    const std::string& level = members->at("level");
    if (level != "0" && level != "1") return trouble("level must be 0 or 1");
    for (int pin = 0; pin < INPUT_PINS; ++pin) {
        if (members->at("pin") != INPUT_NAMES[pin]) continue;
        m_nic.set(static_cast<InputPin>(pin), level == "1");
        return std::string("{\"set\":\"") + INPUT_NAMES[pin] + "\",\"level\":" + level +
               ",\"ms\":" + std::to_string(m_milliseconds()) + "}\n";
    }
    return trouble("no such input pin; there are host_reset, host_sleep, host_off and zeroise");
}

}  // namespace board
