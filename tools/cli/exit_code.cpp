#include "tools/cli/exit_code.h"

#include <csignal>
#include <filesystem>
#include <iostream>
#include <sstream>
#include <string>
#include <vector>

#include "engine/base/error.h"
#include "engine/request/safety.h"
#include "engine/residency/failure.h"
#include "models/files/error.h"
#include "tools/cli/environment.h"
#include "tools/cli/refusal.h"
#include "tools/cli/signals.h"

namespace wan {
namespace {

constexpr int kRefused = 5;  // by a safety check

std::vector<std::string> lines_of(const std::string& text) {
  std::vector<std::string> lines;
  std::istringstream in(text);
  for (std::string line; std::getline(in, line);) lines.push_back(line);
  return lines;
}

}  // namespace

int exit_code(int argc, char** argv, int (*run)(const Command&)) {
  auto complain = [](const std::string& text) { std::cerr << "wan-infer: " << text << "\n"; };
  try {
    const int code = run(parse_command_line(argc, argv));
    if (std::cout.flush()) return code;
    if (stdout_closed()) return kPipeClosed;
    complain("[stdout] cannot be written; the result is incomplete");
    return 1;
  } catch (const InvalidRequest& invalid) {
    if (wants_json(argc, argv)) std::cout << refused_json(invalid) << std::flush;
    for (const std::string& line : refusal_lines(invalid, command_word(argc, argv))) complain(line);
    return 2;
  } catch (const OtherFiles& others) {
    for (const std::string& line : others.lines) complain(line);
    return 3;
  } catch (const EnvironmentError& error) {
    complain(error.what());
    return 2;
  } catch (const ModelError& error) {
    for (const std::string& line : lines_of(error.what())) complain(line);
    return 3;
  } catch (const SafetyRefusal& refused) {
    const InvalidRequest told(refused.field, refused.wrong + (refused.way.empty() ? "" : "; " + refused.way));
    for (const std::string& line : refusal_lines(told, command_word(argc, argv))) complain(line);
    return kRefused;
  } catch (const Cancelled& stopped) {
    const int signal = signal_that_came() ? signal_that_came() : SIGINT;
    complain("[stop] " + signal_text(signal) + "; " + stopped.what());
    return 128 + signal;
  } catch (const std::filesystem::filesystem_error& error) {
    complain("[" + shown_name(error.path1().string()) + "] " + error.code().message());
  } catch (const std::exception& error) {
    complain(text_of(error));
  }
  return 1;
}

}  // namespace wan
