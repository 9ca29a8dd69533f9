// A safetensors file: length, header, metadata.
#include "models/weights/format/safetensors.h"

#include "tests/fuzz/answer.h"
#include "tests/fuzz/memory_file.h"
#include "tests/fuzz/targets.h"

namespace wan::fuzz {

void safetensors(std::string_view bytes) {
  const MemoryFile file(bytes);
  answer([&] { read_safetensors(MappedFile::open(file.path())); });
  answer([&] { read_safetensors_metadata(MappedFile::open(file.path())); });
}

}  // namespace wan::fuzz
