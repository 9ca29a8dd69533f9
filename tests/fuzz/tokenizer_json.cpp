// A tokenizer.json, and a prompt through it.
#include "models/text/tokenizer/tokenizer_json.h"

#include "tests/fuzz/answer.h"
#include "tests/fuzz/memory_file.h"
#include "tests/fuzz/targets.h"

namespace wan::fuzz {

void tokenizer_json(std::string_view bytes) {
  const MemoryFile file(bytes);
  answer([&] { text::read_tokenizer_json(file.path()).encode("A red ball, \u00e9 \u4e00 1/2\n", 512); });
}

}  // namespace wan::fuzz
