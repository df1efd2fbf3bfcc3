// holdfast-virtual-board: the NIC's gateware as a process (docs/virtual_board.md).

#include <sys/prctl.h>

#include <cstdio>
#include <cstdlib>
#include <map>
#include <string>

#include "board.hpp"
#include "errors.hpp"

namespace {

volatile std::sig_atomic_t stop = 0;

void on_signal(int) { stop = 1; }

constexpr const char* USAGE =
    "usage: holdfast-virtual-board (--wire-tap NAME | --wire-fd N) (--host-tap NAME | --host-fd N)\n"
    "                              --registers SOCKET --pins SOCKET [--flash FILE]\n"
    "                              [--die-with-parent]\n";

board::Tap open_tap(const std::map<std::string, std::string>& options, const std::string& side) {
    const auto name = options.find(side + "-tap");
    const auto fd = options.find(side + "-fd");
    if ((name == options.end()) == (fd == options.end()))
        throw board::Trouble("say one of --" + side + "-tap NAME and --" + side + "-fd N");
    if (name != options.end()) return board::Tap::open_name(name->second);
    char* end = nullptr;
    const long number = std::strtol(fd->second.c_str(), &end, 10);
    if (fd->second.empty() || *end || number < 0 || number > 1 << 20)
        throw board::Trouble("'" + fd->second + "' is no file descriptor");
    return board::Tap::inherit(static_cast<int>(number));
}

std::map<std::string, std::string> parse(int argc, char** argv) {
    std::map<std::string, std::string> options;
    for (int n = 1; n < argc; ++n) {
        const std::string word = argv[n];
        if (word == "--die-with-parent") {
            options["die-with-parent"] = "1";
        } else if (word == "--wire-tap" || word == "--wire-fd" || word == "--host-tap" ||
                   word == "--host-fd" || word == "--registers" || word == "--pins" ||
                   word == "--flash") {
            if (n + 1 == argc) throw board::Trouble(word + " lacks its value");
            options[word.substr(2)] = argv[++n];
        } else {
            throw board::Trouble("'" + word + "' is no option of this program");
        }
    }
    for (const char* needed : {"registers", "pins"})
        if (!options.count(needed)) throw board::Trouble(std::string("--") + needed + " is missing");
    return options;
}

int run(int argc, char** argv) {
    const auto options = parse(argc, argv);
    if (options.count("die-with-parent")) prctl(PR_SET_PDEATHSIG, SIGTERM);
    struct sigaction action {};
    action.sa_handler = on_signal;
    for (const int number : {SIGTERM, SIGINT}) sigaction(number, &action, nullptr);
    board::Tap wire = open_tap(options, "wire");
    board::Tap host = open_tap(options, "host");
    const auto flash = options.find("flash");
    board::Board board({options.at("registers"), options.at("pins"),
                        flash == options.end() ? std::string() : flash->second},
                       wire, host);
    std::puts("{\"ready\":1}");
    std::fflush(stdout);
    board.run(stop);
    std::fputs(board.stats().c_str(), stdout);
    return EXIT_SUCCESS;
}

}  // namespace

int main(int argc, char** argv) {
    try {
        return run(argc, argv);
    } catch (const board::Trouble& trouble) {
        std::fprintf(stderr, "virtual board: %s\n", trouble.what());
        if (argc == 1) std::fputs(USAGE, stderr);
        return 2;
    }
}
