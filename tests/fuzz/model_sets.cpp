// A file of named sets, models.json.
#include "engine/residency/model_sets.h"

#include "tests/fuzz/answer.h"
#include "tests/fuzz/memory_file.h"
#include "tests/fuzz/targets.h"

namespace wan::fuzz {

void model_sets(std::string_view bytes) {
  const MemoryFile file(bytes);
  answer([&] { read_sets(file.path()); });
}

}  // namespace wan::fuzz
