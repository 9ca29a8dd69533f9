// The program that does the work: what wan-infer becomes once the command line is understood.
#include <c10/core/AllocatorConfig.h>
#include <c10/core/InferenceMode.h>

#include <iostream>
#include <string_view>

#include "engine/job/single.h"
#include "engine/residency/device.h"
#include "engine/residency/verify.h"
#include "engine/sampling/attention_record.h"
#include "kernels/op/pieces.h"
#include "models/files/bus_error.h"
#include "tools/cli/batch_jobs.h"
#include "tools/cli/calibrate_command.h"
#include "tools/cli/command_line.h"
#include "tools/cli/compare_command.h"
#include "tools/cli/console.h"
#include "tools/cli/convert_command.h"
#include "tools/cli/environment.h"
#include "tools/cli/exit_code.h"
#include "tools/cli/finish_command.h"
#include "tools/cli/inspect_output.h"
#include "tools/cli/job_commands.h"
#include "tools/cli/signals.h"
#include "tools/cli/stored_commands.h"
#include "tools/cli/threads.h"
#include "tools/serve/worker.h"

namespace wan {
namespace {

/// The exit code: 3 where a file is another than its checksum says, is not there or cannot be read. Throws where none
/// was compared.
int run_verify(const Command& command, Console& console) {
  const Verification found = verify_files(command.input, command.checksums, console);
  if (command.log_format == "json")
    std::cout << to_json(found).dump(-1, ' ', false, nlohmann::json::error_handler_t::replace) << "\n";
  else
    std::cout << to_text(found);
  found.refuse_uncompared();
  return found.is_good() ? 0 : 3;
}

/// The exit code of a command that was carried out.
int run(const Command& command) {
  c10::InferenceMode inference;
  if (command.name == "show") return run_show(command), 0;
  if (command.name == "inspect" && !command.verify) return run_inspect(command);
  Console console(command.log_format == "json" ? Console::Format::Json : Console::Format::Text, command.name);
  set_threads(command.threads);
  if (command.name == "inspect") return run_verify(command, console);
  if (command.name == "convert") return run_convert(command, console), 0;
  if (command.name == "compare") return run_compare(command, console), 0;
  if (command.name == "batch" && (command.dry_run || command.report)) return run_batch_view(command);
  Contexts contexts(options_of_environment(), attention_file(attention_cache_path()));
  if (command.check) return run_check(command, contexts, console);
  if (command.calibrate) return run_calibrate(command, contexts, console), 0;
  if (command.plan) return run_plan(command, contexts), 0;
  if (command.dry_run) return run_dry(command, contexts), 0;
  if (command.name == "batch") return run_batch(command, contexts, console);
  if (command.name == "replay") return run_replay(command, contexts, console), 0;
  if (command.name == "decode") return run_decode(command, contexts, console), 0;
  if (command.name == "finish") return run_finish(command, contexts, console), 0;
  render(command.request, single_options(command, contexts), console.log(), console);
  return 0;
}

}  // namespace
}  // namespace wan

int main(int argc, char** argv) {
  // Of wan-serve alone: no command of the user, and it takes signals otherwise.
  const bool is_worker = argc > 1 && std::string_view(argv[1]) == "worker";
  if (!is_worker) wan::take_signals();
  wan::install_bus_handler();
  wan::kernels::fix_order_of_sums();
  if (const std::string settings = wan::allocator_settings(); !settings.empty())
    c10::CachingAllocator::setAllocatorSettings(settings);
  return is_worker ? wan::worker_main(argc, argv) : wan::exit_code(argc, argv, wan::run);
}
