// The GGUF format of ggml, in versions 2 and 3: metadata, descriptions of tensors, the data.
#pragma once

#include <memory>

#include "models/weights/format/format.h"

namespace wan {

extern const Format kGguf;

/// Reads the header of a `.gguf` file. Tensors have the shapes of torch and the names of the file. What the metadata says
/// the model is does not count. Throws ModelError for other versions and byte orders, parts of a split file, a header
/// over 100 MB, types without a decoder, rows that are no whole blocks, impossible shapes, and data that overlap, are not
/// aligned or not in the file.
StoredTensors read_gguf(const std::shared_ptr<const MappedFile>& file);

}  // namespace wan
