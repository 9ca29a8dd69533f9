// A GGUF file: metadata, descriptions of tensors, their values, and the vocabulary of a text encoder.
#include "models/weights/format/gguf.h"

#include "models/text/tokenizer/embedded.h"
#include "tests/fuzz/answer.h"
#include "tests/fuzz/memory_file.h"
#include "tests/fuzz/targets.h"

namespace wan::fuzz {

void gguf(std::string_view bytes) {
  const MemoryFile file(bytes);
  answer([&] { read_gguf(MappedFile::open(file.path())); });
  answer([&] {
    const Checkpoint checkpoint = Checkpoint::open(file.path());
    read_values(checkpoint);
    text::embedded_tokenizer(checkpoint);
  });
}

}  // namespace wan::fuzz
