// Where each tensor lies in a file that is to be written, and the header that says so.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

namespace wan::convert {

/// One tensor of the file.
struct Slot {
  std::string name;
  std::string type;  // as safetensors calls it ("F8_E4M3"), or as ggml does ("Q8_0")
  std::vector<int64_t> shape;
  uint64_t bytes;
  uint64_t offset = 0;  // from the start of the file
};

struct Layout {
  std::string header;  // with all that stands before the data
  std::vector<Slot> slots;
  uint64_t size;  // of the whole file
};

/// Wide elements first and then by name, as the format's own library writes it.
Layout safetensors_layout(std::vector<Slot> slots, const std::map<std::string, std::string>& metadata);
/// GGUF version 3 by name, as ComfyUI's converter writes a Wan transformer: architecture, quantisation version, file type.
/// Throws std::logic_error for types other than F32, F16, BF16, Q8_0 and Q4_K.
Layout gguf_layout(std::vector<Slot> slots, const std::string& architecture);

}  // namespace wan::convert
