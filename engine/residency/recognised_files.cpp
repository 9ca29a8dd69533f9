#include "engine/residency/recognised_files.h"

#include "models/files/error.h"
#include "models/weights/checkpoint.h"

namespace wan {

const RecognisedFile& RecognisedFiles::at(const std::filesystem::path& path) {
  const auto [found, added] = known_.try_emplace(path);
  RecognisedFile& file = found->second;
  if (!added) return file;
  try {
    const Checkpoint checkpoint = Checkpoint::open(path);
    file.network = recognise(checkpoint.tensors());
    file.left_out = checkpoint.left_out();
  } catch (const ModelError& error) {
    file.broken = error;
  }
  return file;
}

}  // namespace wan
