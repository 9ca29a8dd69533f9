// Checksums of model files: a list that a user names, one that lies in the folder, and the note of hf download.
#include "engine/residency/checksums.h"

#include "models/files/scratch_folder.h"
#include "tests/fuzz/answer.h"
#include "tests/fuzz/memory_file.h"
#include "tests/fuzz/targets.h"

namespace wan::fuzz {

void checksums(std::string_view bytes) {
  static const ScratchFolder folder;
  const std::filesystem::path notes = folder.path / ".cache" / "huggingface" / "download";
  std::filesystem::create_directories(notes);
  const MemoryFile file(bytes);
  file.put(folder.path / "SHA256SUMS");
  file.put(notes / "model.safetensors.metadata");
  answer([&] { read_checksums(file.path()); });
  answer([&] { find_checksums(folder.path, {"model.safetensors"}); });
  answer([&] { find_checksums(folder.path, {"SHA256SUMS", "model.safetensors"}); });
}

}  // namespace wan::fuzz
