// The plan of a request, on this machine or on a described one.
#pragma once

#include "engine/request/machine_words.h"
#include "engine/residency/contexts.h"
#include "engine/residency/device.h"
#include "engine/residency/plan.h"
#include "engine/residency/weight_cache.h"

namespace wan {

struct JobPlan {
  Machine machine;
  Workload workload;
  Plan plan;                          // with advice
  std::vector<CachePlan> cache = {};  // what is kept in --cache-dir
};

/// Of a request whose model's files are here; their headers alone are read. With `words.gpu` the placement is that of a
/// card, whether one is here or not. The seconds are those of dense attention; where steps have Skip-Softmax,
/// Machine::assumed says so. Throws InvalidRequest for bad words and where the job has no room, ModelError.
JobPlan job_plan(const Request& request, const MachineWords& words, Contexts* contexts = nullptr);

}  // namespace wan
