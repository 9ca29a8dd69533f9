// The LoRAs that `wan-infer convert --merge-lora` folds into a checkpoint.
#pragma once

#include <deque>
#include <filesystem>
#include <string>
#include <vector>

#include "engine/base/note.h"
#include "models/weights/checkpoint.h"
#include "models/weights/convert/convert.h"

namespace wan {

/// FILE[:SCALE], read from the right: what stands behind the last colon is a scale where it is a number.
struct LoraToMerge {
  std::filesystem::path file;
  double scale = 1;
};

/// Throws InvalidRequest for a scale that is not finite or 0, and for a file that cannot be read or is given twice.
std::vector<LoraToMerge> read_merges(const std::vector<std::string>& words);

class MergedLoras {
 public:
  /// Opens each for the network that `base` (by official names, from `path`) holds. With `lax`, keys that it has no place for are
  /// left out. Notes that one is for the other expert by its name. Throws ModelError as lora::File::open.
  MergedLoras(const std::vector<LoraToMerge>& loras, const Checkpoint& base, const std::filesystem::path& path, bool lax,
              Notes& notes);
  /// A line for each: applied n of m, what is left out and why, ranks and scales.
  const std::vector<std::string>& lines() const { return lines_; }
  std::vector<convert::Merge> merges() const;
  /// For the metadata of the file that is written: names and scales, as JSON.
  std::string record() const;

 private:
  std::vector<LoraToMerge> loras_;
  std::deque<lora::File> files_;
  std::vector<std::string> lines_;
};

}  // namespace wan
