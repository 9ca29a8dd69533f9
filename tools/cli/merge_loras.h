// The LoRAs that `wan-infer convert --merge-lora` folds into a checkpoint.
#pragma once

#include <deque>
#include <filesystem>
#include <string>
#include <vector>

#include "engine/base/log.h"
#include "engine/base/note.h"
#include "engine/request/request.h"
#include "models/weights/checkpoint.h"
#include "models/weights/convert/convert.h"

namespace wan {

/// FILE[:SCALE], as --lora takes it. Throws InvalidRequest for more than one scale, for a scale of 0 or an expert,
/// and for a file that cannot be read or comes twice.
std::vector<Lora> read_merges(const std::vector<std::string>& words);

class MergedLoras {
 public:
  /// Opens each for the network that `base` (by official names, from `path`) holds. With `lax`, keys that it has no
  /// place for are left out. Notes that one is for the other expert by its name, or has no alpha. Throws ModelError
  /// as lora::File::open.
  MergedLoras(const std::vector<Lora>& loras, const Checkpoint& base, const std::filesystem::path& path, bool lax,
              Notes& notes);
  /// A line for each file: applied n of m, what is left out and why, the scale.
  void tell(const Log& log) const;
  std::vector<convert::Merge> merges() const;
  /// For the metadata of the file that is written: names, digests (engine/residency/identity.h) and scales, as JSON.
  std::string record() const;

 private:
  std::vector<Lora> loras_;
  std::deque<lora::File> files_;
  std::vector<std::string> digests_;
};

}  // namespace wan
