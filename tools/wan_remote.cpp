// What wan-infer becomes for the commands of a server: it has libcurl, whose libraries take longer to load than wan-infer
// itself, and no tensors.
#include <csignal>
#include <cstdlib>
#include <exception>
#include <filesystem>
#include <iostream>
#include <new>

#include "engine/base/error.h"
#include "models/files/error.h"
#include "tools/cli/command_line.h"
#include "tools/cli/console.h"
#include "tools/cli/refusal.h"
#include "tools/cli/signals.h"
#include "tools/remote/batch.h"
#include "tools/remote/commands.h"

namespace wan::remote {
namespace {

/// The exit code of a command that was carried out.
int run(const Command& command) {
  if (!command.server.authorities.empty()) setenv("SSL_CERT_FILE", command.server.authorities.c_str(), 1);
  Console console(command.log_format == "json" ? Console::Format::Json : Console::Format::Text, command.name);
  if (command.submit) return run_submit(command, console);
  if (command.name == "batch") return run_batch(command, console);
  if (command.name == "status") return run_status(command, console);
  if (command.name == "watch") return run_watch(command, console);
  if (command.name == "cancel") return run_cancel(command, console);
  return run_logs(command, console);
}

int exit_code(int argc, char** argv) {
  const auto complain = [](const std::string& text) { std::cerr << "wan-infer: " << text << "\n"; };
  try {
    const Command command = parse_command_line(argc, argv);
    if (!command.is_at_server()) {
      complain("[wan-remote] is for the commands of a server alone; start wan-infer");
      return 2;
    }
    const int code = run(command);
    if (std::cout.flush()) return code;
    if (stdout_closed()) return kPipeClosed;
    complain("[stdout] cannot be written; the result is incomplete");
  } catch (const InvalidRequest& invalid) {
    for (const std::string& line : refusal_lines(invalid, command_word(argc, argv))) complain(line);
    return 2;
  } catch (const Cancelled& stopped) {
    const int signal = signal_that_came() ? signal_that_came() : SIGINT;
    complain("[stop] " + signal_text(signal) + "; " + stopped.what());
    return 128 + signal;
  } catch (const std::bad_alloc&) {
    complain("[memory] ran out");
  } catch (const std::filesystem::filesystem_error& error) {
    complain("[" + shown_name(error.path1().string()) + "] " + error.code().message());
  } catch (const std::exception& error) {
    if (stdout_closed()) return kPipeClosed;
    complain(error.what());
  }
  return 1;
}

}  // namespace
}  // namespace wan::remote

int main(int argc, char** argv) {
  wan::take_signals();
  return wan::remote::exit_code(argc, argv);
}
