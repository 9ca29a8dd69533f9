// The ways in which one network's tensors are named in published files, and how each becomes the official one.
#pragma once

#include <span>
#include <string>
#include <string_view>

#include "models/names/pattern.h"
#include "models/weights/stored_tensor.h"

namespace wan::names {

/// One way of naming.
struct Naming {
  std::string_view mark;          // a path that only this naming has
  std::span<const Table> tables;  // to official names, applied one after the other
};

/// A name for what has another name, too.
struct Alias {
  std::string_view path, of;
};

/// How many axes a tensor has, by its official name: GGUF writers drop leading ones of size 1.
struct Rank {
  std::string_view name;
  size_t axes;
};

/// Everything about the names of one network. Its official naming is no row of `namings`.
struct Family {
  std::span<const Naming> namings;
  std::span<const std::string_view> dropped;  // paths, in any naming, of what is known to be no weight of the network
  std::span<const Alias> aliases;             // dropped where both are there, in one shape
  std::span<const Rank> ranks;
};

/// The transformers of all tasks.
extern const Family kTransformer;
/// The text encoder.
extern const Family kUmt5;
extern const Family kVae;
/// The audio encoder.
extern const Family kWav2Vec2;
/// The safety checkers: an image classifier, and CLIP with concepts.
extern const Family kVit, kSafetyChecker;

/// Tensors by their official names.
struct Official {
  StoredTensors tensors;
  std::string scaled;  // the first tensor of other axes than the official ones whose scales are for those; else empty
  std::string twice;   // the first official name that two tensors would have, of which one was kept; else empty
};

/// Translates by the first naming whose mark is there, drops what is no weight, and restores the axes that GGUF writers
/// leave out: leading ones, and the first axis of a convolution over time that was joined with the second. Names that
/// the network does not know stay.
Official official(StoredTensors tensors, const Family& family);

}  // namespace wan::names
