// How long the dispatcher waits for what; tests have shorter ones.
#pragma once

#include <chrono>

namespace wan::serve {

struct WorkTimes {
  std::chrono::milliseconds ready = std::chrono::minutes(5);        // from a worker's start to its first message
  std::chrono::milliseconds cancel = std::chrono::minutes(1);       // until the worker of a cancelled job is killed
  std::chrono::milliseconds silent = std::chrono::minutes(2);       // of a worker that tells that it is alive
  std::chrono::milliseconds first_pause = std::chrono::seconds(1);  // before a worker that died is started again;
  std::chrono::milliseconds most_pause = std::chrono::minutes(1);   // each further death doubles it
  std::chrono::milliseconds broken = std::chrono::minutes(1);       // the same of one that never was ready
  std::chrono::milliseconds full_disk = std::chrono::seconds(30);   // until a job is begun after one had no room
  std::chrono::milliseconds suspects =
      std::chrono::minutes(1);  // from the start until one is begun (Batch::is_suspect)
  std::chrono::milliseconds look = std::chrono::milliseconds(500);  // between looks at deadlines
};

}  // namespace wan::serve
