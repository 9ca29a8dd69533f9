// A model's parts for tests that have its folder alone.
#pragma once

#include <filesystem>

#include "engine/residency/find_parts.h"

namespace wan {

inline ModelParts parts_of(const std::filesystem::path& model, Task task) {
  Request request;
  request.task = task;
  request.model = model.string();
  return find_parts(request);
}

}  // namespace wan
