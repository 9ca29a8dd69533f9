// Which RIFE a checkpoint holds. Its file states no version: it is told from the names and shapes of its tensors.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "models/weights/checkpoint.h"

namespace wan::rife {

/// One for each architecture that is served; the name is that of its first release. 4.8 and 4.9 are 4.7; 4.14 to 4.20
/// and 4.24 are 4.13 (4.20 with other widths); 4.1 is 4.0, and 4.26 is 4.25: nothing in the files tells them apart.
enum class Version { V4_0, V4_6, V4_7, V4_13, V4_25, V4_26 = V4_25 };

/// "4.25 or 4.26": the releases that are one Version, for messages.
std::string releases(Version version);

/// What a network is built from: the rest follows from the version.
struct Architecture {
  Version version;
  std::vector<int64_t> widths;  // of block0, block1, ...
  int64_t head_width = 0;       // of the encoder's inner layers, where there is an encoder

  /// Channels of a frame's features; 0: there is no encoder.
  int64_t features() const;
  /// Channels that a block hands to the next one beside flow and mask.
  int64_t carried() const { return version == Version::V4_25 ? 8 : 0; }
  /// Whether a block ends in a pixel shuffle, so that its output has the size of its input and not half of it.
  bool shuffles() const { return version != Version::V4_0; }
  /// Whether a stage's mask is added to the one before it, or replaces it.
  bool adds_masks() const { return version == Version::V4_0 || version == Version::V4_6; }
  /// Channels of a block's last layer in the file, after the pixel shuffle.
  int64_t stored_outputs() const { return version == Version::V4_0 ? 5 : version == Version::V4_25 ? 13 : 6; }
  /// Those that are needed: flow [4], mask [1] and, before the last block, what is carried.
  int64_t outputs(size_t block) const { return 5 + (block + 1 < widths.size() ? carried() : 0); }
  /// Channels that a block sees: frames, features, time and, after the first one, mask, carried channels and flow.
  int64_t inputs(size_t block) const { return 7 + 2 * features() + (block == 0 ? 0 : 5 + carried()); }
  /// By how much frames are made smaller for a block: 8, 4, 2, 1 or, with five blocks, 16, ..., 1.
  int64_t scale(size_t block) const { return int64_t(1) << (widths.size() - 1 - block); }
};

/// What stands before the names of the network in its file, of a training with several processes: "module." or nothing.
/// Names without it are then not the network's.
std::string prefix(const StoredTensors& tensors);

/// The architecture of the network with these tensors, whatever else is there: what only training needs (`teacher`,
/// `block_tea`, `caltime`) and the refinement of 4.0 (`contextnet`, `unet`), which its authors leave out. Throws
/// ModelError about `label` for other networks; of a RIFE that is not served it says which one it is, and which are.
Architecture architecture_of(const StoredTensors& tensors, const std::string& label);
Version version_of(const StoredTensors& tensors, const std::string& label);
Version version_of(const Checkpoint& checkpoint);

}  // namespace wan::rife
