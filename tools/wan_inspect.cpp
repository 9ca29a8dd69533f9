// `wan-infer inspect` of what headers tell: linked without libtorch, whose start takes longer than the work.
#include "models/files/bus_error.h"
#include "tools/cli/exit_code.h"
#include "tools/cli/inspect_output.h"
#include "tools/cli/signals.h"

int main(int argc, char** argv) {
  wan::take_signals();
  wan::install_bus_handler();
  return wan::exit_code(argc, argv, [](const wan::Command& command) { return wan::run_inspect(command); });
}
