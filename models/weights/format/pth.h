// Files that torch.save or torch.jit.save wrote: zip archives, and the older rows of pickles.
#pragma once

#include <memory>

#include "models/weights/format/format.h"

namespace wan {

extern const Format kPth;

/// Reads a `.pth` that holds a state dict: the zip archive of torch 1.6 and later, or the older row of pickles; and a
/// TorchScript archive, whose tensors have the paths of their attributes as names (`extract.convs.0.weight`). Knows the
/// opcodes and globals such a file needs, executes nothing and refuses the rest by name. Throws ModelError.
StoredTensors read_pth(const std::shared_ptr<const MappedFile>& file);

}  // namespace wan
