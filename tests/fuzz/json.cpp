// JSON within its limits.
#include "models/files/json.h"

#include "tests/fuzz/answer.h"
#include "tests/fuzz/memory_file.h"
#include "tests/fuzz/targets.h"

namespace wan::fuzz {

void json(std::string_view bytes) {
  for (bool unique : {false, true}) try {
      static_cast<void>(parse_json(bytes, {.unique_names = unique}).dump(-1, ' ', true));
    } catch (const BrokenJson&) {
    }
  const MemoryFile file(bytes);
  answer([&] { read_json<nlohmann::ordered_json>(*MappedFile::open(file.path())); });
}

}  // namespace wan::fuzz
