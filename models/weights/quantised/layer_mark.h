// What ComfyUI writes about a quantised layer: the JSON of a tensor comfy_quant, or of the file's metadata.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>

namespace wan {

/// Ways in which a layer is quantised, by their words in that JSON.
enum class LayerFormat {
  E4M3,   // float8_e4m3fn
  E5M2,   // float8_e5m2
  Int8,   // int8_tensorwise
  MxFp8,  // mxfp8: E4M3 in blocks of 32, scales E8M0 in tiles
  NvFp4,  // nvfp4: E2M1 in blocks of 16, the first of two in the high four bits, scales E4M3 in tiles
};

/// The description of one layer, as far as it says what the weight is.
struct LayerMark {
  LayerFormat format;
  int64_t rotation = 0;  // convrot_groupsize (StoredScales::rotation): 0, or a power of 4

  bool operator==(const LayerMark&) const = default;
};

/// The word of a format: "float8_e4m3fn".
std::string_view format_word(LayerFormat format);

/// Reads the text of one `comfy_quant`: an object with `format`, and `convrot` and `convrot_groupsize` where the rows
/// were rotated. Other members do not change the weight. Throws ModelError about `subject`, also for formats and
/// rotations that are not known.
LayerMark read_layer_mark(std::string_view text, const std::string& subject);

/// Reads `_quantization_metadata`, {"layers": {NAME: description or format}}, by the names of the layers. Throws
/// ModelError about `subject`, and about the layer in it.
std::map<std::string, LayerMark> read_layer_marks(std::string_view text, const std::string& subject);

}  // namespace wan
