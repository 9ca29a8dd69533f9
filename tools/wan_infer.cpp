// The front program: answers --help, --dry-run and every wrong flag without loading libtorch, which costs half a
// second; for real work it becomes wan-engine, its sibling, or wan-remote where a server does it. They read the same
// command line with the same code.
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <iostream>
#include <new>

#include "engine/base/error.h"
#include "tools/cli/command_line.h"
#include "tools/cli/dry_run.h"
#include "tools/cli/openmp.h"
#include "tools/cli/refusal.h"
#include "tools/cli/signals.h"

namespace {

/// The program `name` that lies beside this one. Returns only where it cannot be started.
int become(char** argv, const std::filesystem::path& folder, const char* name) {
  execv((folder / name).c_str(), argv);
  std::cerr << "wan-infer: [" << name << "] must lie beside this program: " << std::strerror(errno)
            << "; ./run build makes it\n";
  return 1;
}

/// Returns only where the program that does the work cannot be started, or where its environment is wrong: wan-remote for
/// the commands of a server, wan-inspect for what it can do, where it is there, else wan-engine.
int become_other(char** argv, const wan::Command& command) {
  const std::filesystem::path folder = std::filesystem::read_symlink("/proc/self/exe").parent_path();
  if (command.is_at_server()) {
    wan::hold_signals();
    if (const int came = wan::signal_that_came()) raise(came);
    return become(argv, folder, "wan-remote");
  }
  if (const std::string wrong = wan::wrong_openmp(); !wrong.empty()) {
    std::cerr << "wan-infer: " << wrong << "\n";
    return 2;
  }
  // OpenMP's threads spin while they wait for each other, which on a busy machine takes the very cores they wait for: a
  // render of two seconds took a hundred. It reads its environment when it is loaded, so this is the place.
  setenv("OMP_WAIT_POLICY", "passive", 0);
  const std::string inspect = folder / "wan-inspect";
  wan::hold_signals();  // libtorch takes half a second to be loaded; wan-engine gets what comes meanwhile
  if (const int came = wan::signal_that_came()) raise(came);
  if (command.name == "inspect" && !command.verify) execv(inspect.c_str(), argv);
  return become(argv, folder, "wan-engine");
}

}  // namespace

int main(int argc, char** argv) {
  wan::take_signals();
  try {
    const wan::Command command = wan::parse_command_line(argc, argv);
    const bool ends_here = command.dry_run && command.is_render() && !command.names_model();
    if (command.answer.empty() && !ends_here) return become_other(argv, command);
    std::cout << (!command.answer.empty()        ? command.answer
                  : command.log_format == "json" ? wan::dry_run_json(command.request)
                                                 : wan::dry_run_text(command.request));
    if (std::cout.flush()) return 0;
    return wan::stdout_closed() ? wan::kPipeClosed : 1;
  } catch (const wan::InvalidRequest& invalid) {
    if (wan::wants_json(argc, argv)) std::cout << wan::refused_json(invalid) << std::flush;
    for (const std::string& line : wan::refusal_lines(invalid, wan::command_word(argc, argv)))
      std::cerr << "wan-infer: " << line << "\n";
    return 2;
  } catch (const std::bad_alloc&) {
    std::cerr << "wan-infer: [memory] ran out while the command line was read\n";
    return 1;
  } catch (const std::exception& error) {
    std::cerr << "wan-infer: " << error.what() << "\n";
    return 1;
  }
}
