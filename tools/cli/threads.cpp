#include "tools/cli/threads.h"

#include <ATen/Parallel.h>

#include <algorithm>
#include <atomic>
#include <string>
#include <system_error>
#include <thread>
#include <vector>

#include "engine/base/error.h"

namespace wan {

void set_threads(int64_t asked) {
  const int64_t wanted = asked > 0 ? asked : at::get_num_threads();
  std::atomic<bool> end{false};
  std::vector<std::thread> tried;
  tried.reserve(size_t(wanted));
  int64_t made = 1;
  try {
    for (; made < wanted; ++made) tried.emplace_back([&] { end.wait(false); });
  } catch (const std::system_error&) {
  }
  end = true;
  end.notify_all();
  for (std::thread& thread : tried) thread.join();
  if (made < wanted)
    throw InvalidRequest("threads", "must be as many as can be made, got " + std::to_string(wanted) +
                                        ", and the system makes " + std::to_string(made) +
                                        " (limits of processes or "
                                        "memory, ulimit); --threads " +
                                        std::to_string(std::max<int64_t>(made / 2, 1)) + " takes fewer");
  if (asked > 0) at::set_num_threads(int(asked));
}

}  // namespace wan
