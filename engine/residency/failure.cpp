#include "engine/residency/failure.h"

#include <c10/util/Exception.h>

#include <new>
#include <nlohmann/json.hpp>
#include <string_view>

namespace wan {
namespace {

constexpr const char* kOutOfMemory =
    "[memory] ran out; fewer frames, a smaller size or fewer other programs need less of it";

bool is_out_of_memory(const std::exception& error) {
  if (dynamic_cast<const std::bad_alloc*>(&error) || dynamic_cast<const c10::OutOfMemoryError*>(&error)) return true;
  // The allocator of the CPU has no type of its own for it.
  const auto* torch = dynamic_cast<const c10::Error*>(&error);
  return torch && std::string_view(torch->what_without_backtrace()).find("can't allocate memory") != std::string::npos;
}

}  // namespace

std::string text_of(const std::exception& error) {
  if (is_out_of_memory(error)) return kOutOfMemory;
  if (const auto* torch = dynamic_cast<const c10::Error*>(&error)) return torch->what_without_backtrace();
  if (dynamic_cast<const nlohmann::json::exception*>(&error))
    return "[json] holds something else than this program reads there; this is a bug, please report the command";
  return error.what();
}

}  // namespace wan
