// What a conversion makes of each tensor of a checkpoint, and where that lies in the new file.
#pragma once

#include <c10/core/ScalarType.h>

#include <cstdint>
#include <string>
#include <vector>

#include "models/recognise.h"
#include "models/weights/checkpoint.h"
#include "models/weights/convert/convert.h"
#include "models/weights/convert/layout.h"
#include "models/weights/convert/target.h"

namespace wan::convert {

/// One tensor of the source and what becomes of it.
struct Planned {
  std::string name, group;  // group: of layers by which errors are told; empty where the tensor keeps its form
  at::ScalarType kept;      // its form then
};

/// All tensors of the source, in its order. Of `options`, `changes` counts.
std::vector<Planned> plan(const Checkpoint& source, Model model, Target target, const Options& options = {});

/// Throws unless some tensors of the network change to this form, and the others can be kept beside them: FormError
/// where another form would do, else ModelError.
void check_changes(const std::vector<Planned>& planned, const Checkpoint& source, Model model, Target target);

/// The file of them all: safetensors with the texts of `options`, or GGUF.
Layout layout_of(const std::vector<Planned>& planned, const Checkpoint& source, Model model, Target target,
                 const Options& options);

/// Values for each of a tensor's first axis; 0 of one without rows.
int64_t columns_of(const StoredTensor& tensor);

/// "blocks.0.ffn.0" of "blocks.0.ffn.0.weight": the names of its scales and marks begin with it.
std::string without_weight(const std::string& name);
/// How ComfyUI is told of a layer in rotated int8: JSON, in the tensor LAYER.comfy_quant.
std::string int8_mark(int64_t columns);
inline constexpr const char* kFp8Marker = "scaled_fp8";  // two values: scales are for storage, not for 8-bit products

}  // namespace wan::convert
