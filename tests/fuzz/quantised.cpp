// Codes with scales beside them, in the layouts of all programs: joined, and widened.
#include "tests/fuzz/answer.h"
#include "tests/fuzz/memory_file.h"
#include "tests/fuzz/targets.h"

namespace wan::fuzz {

void quantised(std::string_view bytes) {
  const MemoryFile file(bytes);
  answer([&] { read_values(Checkpoint::open(file.path())); });
}

}  // namespace wan::fuzz
