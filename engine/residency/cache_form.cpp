#include "engine/residency/cache_form.h"

#include <string_view>

namespace wan {
namespace {

/// A linear of a block, as convert's groups are.
bool is_block_linear(const std::string& name, const StoredTensor& tensor) {
  return name.starts_with("blocks.") && name.ends_with(".weight") && tensor.shape.size() == 2;
}

/// The number behind "blocks.".
int64_t layer_of(const std::string& name) {
  int64_t layer = 0;
  for (size_t i = std::string_view("blocks.").size(); i < name.size() && name[i] >= '0' && name[i] <= '9'; ++i)
    layer = std::min<int64_t>(layer * 10 + (name[i] - '0'), 1 << 20);
  return layer;
}

/// What the networks take a block's linear as: query_role (models/wan/model.cpp) for the queries of text, Block for other
/// linears of transformers, Matmul for those of the text encoder.
Role role_of(Network network, const std::string& name, int64_t layers) {
  if (network == Network::TextEncoder) return Role::Matmul;
  const int64_t layer = layer_of(name);
  const bool end = layer == 0 || layer == layers - 1;
  return end && name.ends_with(".cross_attn.q.weight") ? Role::Matmul : Role::Block;
}

/// The tensor as a file in `dtype` would have it.
StoredTensor in_dtype(StoredTensor tensor, at::ScalarType dtype) {
  tensor.dtype = dtype;
  return tensor;
}

/// Whether the first thing that the place does with it is to round it to bfloat16, and does the same with what is rounded.
bool is_rounded(const Place& place, Role role, const StoredTensor& tensor) {
  const Form form = form_of(place, role, {planned_part(tensor)}, /*linear=*/true);
  const Form after = form_of(place, role, {planned_part(in_dtype(tensor, at::kBFloat16))}, /*linear=*/true);
  if (form.residence == Residence::Mapped || form.uploaded != at::kBFloat16 || form.codes != after.codes) return false;
  if (form.codes != Codes::None && form.codes != Codes::Int8) return false;
  // The rounded file's own tensor serves as the copy that was made of the other at each use.
  const bool mapped = after.residence == Residence::Mapped && form.codes == Codes::None;
  return mapped ? form.dtype == at::kBFloat16 : after == form;
}

/// Whether each product of a mapped weight would make int8 rows of it.
bool is_made_int8(const Place& place, Role role, const StoredTensor& tensor) {
  constexpr int64_t kLeastRotation = 16;  // that models/weights/encode.h has; convert has 4, too
  const Form form = form_of(place, role, {planned_part(tensor)}, /*linear=*/true);
  return place.device.is_cpu() && form.residence == Residence::MadeAtUse && form.codes == Codes::Int8Kept &&
         tensor.shape[1] % kLeastRotation == 0;
}

/// Whether convert writes a tensor that keeps its form as it is: what is in codes or float64 it rounds.
bool is_kept(const StoredTensor& tensor) {
  return !tensor.coding && c10::elementSize(tensor.dtype) > 1 && tensor.dtype != at::kDouble;
}

bool takes_blocks(Network network) {
  return network != Network::Vae && network != Network::AudioEncoder;
}

}  // namespace

CacheForm cache_form(Network network, const Checkpoint& source, const Place& place, bool merged) {
  CacheForm form;
  form.target = place.kept == Kept::Int8 && place.mapped ? convert::Target::Int8 : convert::Target::Bf16;
  if (merged) form.refusal = "a LoRA is added to its values before they are rounded";
  if (!takes_blocks(network)) form.refusal = "it has no linears in blocks";
  if (!form.refusal.empty()) return form;
  int64_t layers = 0;
  for (const auto& [name, tensor] : source.tensors())
    if (is_block_linear(name, tensor)) layers = std::max(layers, layer_of(name) + 1);
  for (const auto& [name, tensor] : source.tensors()) {
    uint64_t bytes = tensor.bytes();
    if (!is_kept(tensor)) {
      form.changed.clear();
      form.refusal = "it has tensors in codes or in float64";
      return form;
    }
    if (is_block_linear(name, tensor) && tensor.dtype == at::kFloat) {
      const Role role = role_of(network, name, layers);
      const bool int8 = form.target == convert::Target::Int8;
      if (int8 ? is_made_int8(place, role, tensor) : is_rounded(place, role, tensor)) {
        form.changed.insert(name);
        bytes = int8 ? bytes / 4 + uint64_t(tensor.shape[0]) * 4 : bytes / 2;
      }
    }
    form.bytes += bytes;
  }
  if (form.changed.empty())
    form.refusal = "its values are used as the file has them, not rounded to fewer bits first";
  else if (form.bytes > source.bytes() / 4 * 3)
    form.refusal = "so few of its values are rounded before they are used that a copy is not worth its room";
  return form;
}

}  // namespace wan
