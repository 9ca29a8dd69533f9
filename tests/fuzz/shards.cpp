// An index of shards, beside two of them.
#include "models/weights/format/shards.h"

#include <ATen/ATen.h>

#include "models/files/scratch_folder.h"
#include "models/weights/format/safetensors.h"
#include "tests/fuzz/answer.h"
#include "tests/fuzz/memory_file.h"
#include "tests/fuzz/targets.h"

namespace wan::fuzz {
namespace {

/// Shards as the seeds name them.
struct Shards : ScratchFolder {
  Shards() {
    write_safetensors(path / "a.safetensors", {{"a.weight", at::ones({2, 2})}, {"a.bias", at::ones({2})}});
    write_safetensors(path / "b.safetensors", {{"b.weight", at::ones({3})}});
  }
};

}  // namespace

void shards(std::string_view bytes) {
  static const Shards folder;
  const std::filesystem::path index = folder.path / "model.safetensors.index.json";
  const MemoryFile file(bytes);
  file.put(index);
  answer([&] { shards_of(index); });
  answer([&] { read_sharded(index); });
}

}  // namespace wan::fuzz
