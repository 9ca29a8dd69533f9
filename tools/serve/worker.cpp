#include "tools/serve/worker.h"

#include <c10/core/InferenceMode.h>
#include <fcntl.h>
#include <sys/prctl.h>
#include <unistd.h>

#include <csignal>
#include <iostream>
#include <stdexcept>

#include "engine/base/error.h"
#include "engine/residency/failure.h"
#include "tools/cli/signals.h"
#include "tools/cli/threads.h"
#include "tools/serve/batch_worker.h"

namespace wan {
namespace {

struct Arguments {
  std::string device = "auto";
  int64_t threads = 0;
};

Arguments read_arguments(int argc, char** argv) {
  Arguments arguments;
  for (int i = 2; i < argc; i += 2) {
    const std::string name = argv[i];
    if (i + 1 >= argc || (name != "--device" && name != "--threads"))
      throw std::invalid_argument("usage: wan-engine worker --device DEVICE [--threads N]");
    if (name == "--device")
      arguments.device = argv[i + 1];
    else
      arguments.threads = std::stoll(argv[i + 1]);
  }
  return arguments;
}

/// The protocol's own way out. What anything prints to standard output from now on goes to standard error.
int take_output() {
  const int out = fcntl(STDOUT_FILENO, F_DUPFD_CLOEXEC, 3);
  if (out < 0 || dup2(STDERR_FILENO, STDOUT_FILENO) < 0)
    throw std::runtime_error("[stdout] must be open: the server is told over it");
  return out;
}

}  // namespace

int worker_main(int argc, char** argv) {
  // What the terminal of the server sends is for the server, which then says what is to be done.
  std::signal(SIGINT, SIG_IGN);
  std::signal(SIGHUP, SIG_IGN);
  take_signals();
  prctl(PR_SET_PDEATHSIG, SIGTERM);
  const auto complain = [](const std::string& text) { std::cerr << "wan-engine worker: " << text << std::endl; };
  try {
    const Arguments arguments = read_arguments(argc, argv);
    LineWriter out(take_output());
    c10::InferenceMode inference;
    set_threads(arguments.threads);
    return BatchWorker(arguments.device, out).run();
  } catch (const InvalidRequest& refused) {
    complain(refused.what());
    return 3;
  } catch (const std::invalid_argument& wrong) {  // EnvironmentError, too
    complain(wrong.what());
    return 2;
  } catch (const std::exception& error) {
    complain(text_of(error));
    return is_device_lost(error) ? kDeviceLost : 1;
  }
}

}  // namespace wan
