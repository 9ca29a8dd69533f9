#include "tests/meaning/forms.h"

#include <ATen/ATen.h>

#include <cstring>
#include <fstream>
#include <map>
#include <nlohmann/json.hpp>
#include <string>

#include "models/weights/checkpoint.h"
#include "models/weights/convert/convert.h"
#include "models/weights/convert/layout.h"
#include "models/weights/dtype.h"
#include "models/weights/format/safetensors.h"
#include "tests/coded_checkpoint.h"

namespace wan::forms {

namespace fs = std::filesystem;

namespace {

void converted(const fs::path& expert, convert::Target target, const fs::path& to) {
  convert::convert(Checkpoint::open(expert), Model::TextExpert, target, to, "nano", {});
}

/// The tensors of a safetensors file as its header has them, without what the program's reader makes of their names.
std::map<std::string, at::Tensor> raw_tensors(const fs::path& file) {
  std::ifstream in(file, std::ios::binary);
  std::string bytes{std::istreambuf_iterator<char>(in), {}};
  uint64_t length = 0;
  std::memcpy(&length, bytes.data(), sizeof length);
  const nlohmann::json header = nlohmann::json::parse(bytes.substr(sizeof length, length));
  std::map<std::string, at::Tensor> tensors;
  for (const auto& [name, entry] : header.items()) {
    if (name == "__metadata__") continue;
    char* data = bytes.data() + sizeof length + length + entry["data_offsets"][0].get<uint64_t>();
    const at::ScalarType dtype = dtype_of_safetensors(entry["dtype"].get<std::string>()).value();
    tensors[name] = at::from_blob(data, entry["shape"].get<std::vector<int64_t>>(), dtype).clone();
  }
  return tensors;
}

/// How a tensor lies in the GGUF file, and its data.
std::pair<convert::Slot, at::Tensor> q4_k_slot(const std::string& name, const at::Tensor& values) {
  const bool matrix = name.starts_with("blocks.") && name.ends_with(".weight") && values.dim() == 2;
  at::Tensor data = matrix ? values.to(at::kHalf) : values.contiguous();
  std::string type(dtype_name(data.scalar_type()));
  if (matrix && values.size(1) % 256 == 0) {
    data = as_q4_k(values).codes;
    type = "Q4_K";
  }
  return {{name, type, values.sizes().vec(), data.nbytes()}, data};
}

}  // namespace

void fp16(const fs::path& expert, const fs::path& to) {
  const Checkpoint checkpoint = Checkpoint::open(expert);
  std::map<std::string, at::Tensor> tensors;
  for (const auto& [name, stored] : checkpoint.tensors()) tensors[name] = checkpoint.map(name).to(at::kHalf);
  write_safetensors(to, tensors);
}

void old_fp8(const fs::path& expert, const fs::path& to) {
  converted(expert, convert::Target::Fp8, to);
}

void int8(const fs::path& expert, const fs::path& to) {
  converted(expert, convert::Target::Int8, to);
}

void q8_0(const fs::path& expert, const fs::path& to) {
  converted(expert, convert::Target::Q8_0, to);
}

void new_fp8(const fs::path& expert, const fs::path& to) {
  old_fp8(expert, to);
  const std::string mark = R"({"format": "float8_e4m3fn"})", scale = ".scale_weight";
  std::map<std::string, at::Tensor> tensors;
  for (const auto& [name, tensor] : raw_tensors(to)) {
    if (name == "scaled_fp8") continue;
    const bool is_scale = name.ends_with(scale);
    const std::string layer = name.substr(0, name.size() - (is_scale ? scale.size() : 0));
    tensors[is_scale ? layer + ".weight_scale" : name] = tensor;
    if (is_scale) tensors[layer + ".comfy_quant"] = at::tensor(std::vector<uint8_t>(mark.begin(), mark.end()));
  }
  write_safetensors(to, tensors);
}

void q4_k(const fs::path& expert, const fs::path& to) {
  const Checkpoint checkpoint = Checkpoint::open(expert);
  std::vector<convert::Slot> slots;
  std::map<std::string, at::Tensor> data;
  for (const auto& [name, stored] : checkpoint.tensors()) {
    const auto [slot, bytes] = q4_k_slot(name, checkpoint.map(name));
    slots.push_back(slot);
    data[name] = bytes;
  }
  const convert::Layout layout = convert::gguf_layout(std::move(slots), "wan");
  std::string file = layout.header;
  file.resize(layout.size);
  for (const convert::Slot& slot : layout.slots)
    std::memcpy(file.data() + slot.offset, data.at(slot.name).const_data_ptr(), slot.bytes);
  std::ofstream(to, std::ios::binary) << file;
}

}  // namespace wan::forms
