#include "models/weights/convert/planned.h"

#include <algorithm>
#include <map>
#include <nlohmann/json.hpp>
#include <string_view>
#include <utility>

#include "models/files/error.h"
#include "models/weights/dtype.h"
#include "models/weights/encode.h"

namespace wan::convert {
namespace {

bool is_transformer(Model model) {
  return model == Model::TextExpert || model == Model::ImageExpert || model == Model::Speech;
}

/// The layers by which errors are told: of a VAE its halves, "encoder", of others those of a block, "ffn". Empty for a
/// tensor that keeps its form.
std::string group_of(const std::string& name, const StoredTensor& tensor, Model model) {
  if (model == Model::Vae)
    return name.ends_with(".weight") && tensor.shape.size() >= 4 ? name.substr(0, name.find('.')) : "";
  if (!name.starts_with("blocks.") || !name.ends_with(".weight") || tensor.shape.size() != 2) return "";
  const size_t begin = name.find('.', 7);
  if (begin == std::string::npos) return "";
  const std::string group = name.substr(begin + 1, name.find('.', begin + 1) - begin - 1);
  const bool wanted = is_transformer(model) ? group == "self_attn" || group == "cross_attn" || group == "ffn"
                                            : model == Model::TextEncoder && (group == "attn" || group == "ffn");
  return wanted ? group : "";
}

at::ScalarType kept_dtype(const StoredTensor& tensor) {
  const bool codes = tensor.coding || c10::elementSize(tensor.dtype) == 1 || tensor.dtype == at::kDouble;
  if (!codes) return tensor.dtype;
  return tensor.shape.size() == 2 ? at::kBFloat16 : at::kFloat;
}

std::vector<Slot> slots_of(const Planned& planned, const StoredTensor& tensor, Target target) {
  const auto elements = uint64_t(tensor.elements());
  if (planned.group.empty())
    return {
        {planned.name, std::string(dtype_name(planned.kept)), tensor.shape, elements * c10::elementSize(planned.kept)}};
  const std::string layer = without_weight(planned.name);
  switch (target) {
    case Target::Bf16:
      return {{planned.name, "BF16", tensor.shape, elements * 2}};
    case Target::Fp8:
      return {{planned.name, "F8_E4M3", tensor.shape, elements}, {layer + ".scale_weight", "F32", {}, 4}};
    case Target::Int8: {
      const auto mark = int64_t(int8_mark(tensor.shape[1]).size());
      return {{planned.name, "I8", tensor.shape, elements},
              {layer + ".weight_scale", "F32", {tensor.shape[0], 1}, uint64_t(tensor.shape[0]) * 4},
              {layer + ".comfy_quant", "U8", {mark}, uint64_t(mark)}};
    }
    case Target::Q8_0:
      return {{planned.name, "Q8_0", tensor.shape, elements / 32 * 34}};
  }
  return {};
}

/// GGUF files from here hold floats beside Q8_0. Throws FormError for a tensor that stays in something else.
void check_kept(const std::vector<Planned>& planned) {
  for (const Planned& one : planned)
    if (one.group.empty() && one.kept != at::kFloat && one.kept != at::kHalf && one.kept != at::kBFloat16)
      throw FormError("must be bf16, fp8 or int8 where a tensor is in other than F32, F16 or BF16, as " +
                      printable(one.name) + " is in " + std::string(dtype_name(one.kept)));
}

bool any_changes(const std::vector<Planned>& planned) {
  return std::any_of(planned.begin(), planned.end(), [](const Planned& one) { return !one.group.empty(); });
}

}  // namespace

int64_t columns_of(const StoredTensor& tensor) {
  return tensor.shape.at(0) > 0 ? tensor.elements() / tensor.shape[0] : 0;
}

std::string without_weight(const std::string& name) {
  return name.substr(0, name.size() - std::string_view(".weight").size());
}

std::string int8_mark(int64_t columns) {
  nlohmann::ordered_json mark = {{"format", "int8_tensorwise"}};
  if (const int64_t order = rotation_of(columns)) mark.update({{"convrot", true}, {"convrot_groupsize", order}});
  return mark.dump();
}

std::vector<Planned> plan(const Checkpoint& source, Model model, Target target, const Options& options) {
  std::vector<Planned> planned;
  for (const auto& [name, tensor] : source.tensors()) {
    std::string group = group_of(name, tensor, model);
    if (!group.empty() && (!takes(target, columns_of(tensor)) || (options.changes && !options.changes(name))))
      group.clear();
    planned.push_back({name, group, kept_dtype(tensor)});
  }
  return planned;
}

void check_changes(const std::vector<Planned>& planned, const Checkpoint& source, Model model, Target target) {
  if (model == Model::Vae && target != Target::Bf16)
    throw FormError("must be bf16 for a VAE, whose convolutions take no other form");
  if (target == Target::Q8_0 && !any_changes(planned) && any_changes(plan(source, model, Target::Bf16)))
    throw FormError("must be bf16, fp8 or int8 where no linear of the blocks has rows of whole blocks of 32 values");
  if (!any_changes(planned))
    throw ModelError(source.label(),
                     model == Model::AudioEncoder
                         ? "must be a transformer, a text encoder or a VAE, is an audio encoder, which is used as it is"
                         : "must have linears in blocks, which change their form, has none; name another file");
  if (target == Target::Q8_0) check_kept(planned);
}

Layout layout_of(const std::vector<Planned>& planned, const Checkpoint& source, Model model, Target target,
                 const Options& options) {
  std::vector<Slot> slots;
  for (const Planned& one : planned)
    for (Slot& slot : slots_of(one, source.tensors().at(one.name), target)) slots.push_back(std::move(slot));
  if (target == Target::Fp8) slots.push_back({kFp8Marker, "F8_E4M3", {2}, 2});
  if (target == Target::Q8_0) return gguf_layout(std::move(slots), is_transformer(model) ? "wan" : "umt5");
  std::map<std::string, std::string> metadata = options.metadata;
  metadata["format"] = "pt";
  return safetensors_layout(std::move(slots), metadata);
}

}  // namespace wan::convert
