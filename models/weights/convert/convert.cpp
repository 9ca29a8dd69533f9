#include "models/weights/convert/convert.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>
#include <map>

#include "kernels/dequantise/coded_matrix.h"
#include "models/files/digest.h"
#include "models/files/error.h"
#include "models/weights/convert/layout.h"
#include "models/weights/convert/part_file.h"
#include "models/weights/convert/rows.h"
#include "models/weights/dtype.h"
#include "models/weights/encode.h"

namespace wan::convert {
namespace {

// Of rows that are worked on at once: 8 MB of float32, which the allocator keeps from tile to tile instead of asking
// the system anew.
constexpr int64_t kTileValues = 2 << 20;
// Of rows that LoRAs are merged into and that keep their form: so many that 16 cores have a piece each.
constexpr int64_t kMergedValues = 8 << 20;

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

/// One tensor of the source and what becomes of it.
struct Planned {
  std::string name, group;  // group: empty where it keeps its form
  at::ScalarType kept;      // its form then
};

at::ScalarType kept_dtype(const StoredTensor& tensor) {
  const bool codes = tensor.coding || c10::elementSize(tensor.dtype) == 1 || tensor.dtype == at::kDouble;
  if (!codes) return tensor.dtype;
  return tensor.shape.size() == 2 ? at::kBFloat16 : at::kFloat;
}

/// Values for each of its first axis.
int64_t columns_of(const StoredTensor& tensor) {
  return tensor.shape.at(0) > 0 ? tensor.elements() / tensor.shape[0] : 0;
}

/// What the tensor is coded in; empty for floats of 16 bits or more.
std::string coding_name(const StoredTensor& tensor) {
  if (tensor.coding) return std::string(tensor.coding->name);
  return c10::elementSize(tensor.dtype) == 1 ? std::string(dtype_name(tensor.dtype)) : "";
}

std::vector<Planned> plan(const Checkpoint& source, Model model, Target target, const Options& options = {}) {
  std::vector<Planned> planned;
  for (const auto& [name, tensor] : source.tensors()) {
    std::string group = group_of(name, tensor, model);
    if (!group.empty() && (!takes(target, columns_of(tensor)) || (options.changes && !options.changes(name))))
      group.clear();
    planned.push_back({name, group, kept_dtype(tensor)});
  }
  return planned;
}

std::string without_weight(const std::string& name) {
  return name.substr(0, name.size() - std::string_view(".weight").size());
}

/// How ComfyUI is told of a layer in rotated int8.
std::string int8_mark(int64_t columns) {
  nlohmann::ordered_json mark = {{"format", "int8_tensorwise"}};
  if (const int64_t order = rotation_of(columns)) mark.update({{"convrot", true}, {"convrot_groupsize", order}});
  return mark.dump();
}

constexpr const char* kFp8Marker = "scaled_fp8";  // two values: the scales are for storage, not for products in 8 bits

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

class Conversion {
 public:
  Conversion(const Checkpoint& source, Target target, PartFile& file, const Layout& layout,
             const std::vector<Merge>& merges)
      : source_(source), target_(target), file_(file), merges_(merges) {
    for (const Slot& slot : layout.slots) slots_[slot.name] = &slot;
  }

  /// Writes one tensor and what belongs to it; the sums of squares of its error and of its values.
  std::pair<double, double> write(const Planned& planned) {
    const StoredTensor& tensor = source_.tensors().at(planned.name);
    if (planned.group.empty()) {
      keep(planned);
      return {0, 0};
    }
    const Rows rows(source_, planned.name, merges_);
    const int64_t tile = std::max<int64_t>(kTileValues / columns_of(tensor), 1);
    const float largest = target_ == Target::Fp8 ? largest_of(rows, tensor.shape[0], tile) : 0;
    const std::string layer = without_weight(planned.name);
    if (target_ == Target::Fp8) put(layer + ".scale_weight", at::tensor(fp8_scale(largest)));
    if (target_ == Target::Int8) {
      const std::string mark = int8_mark(tensor.shape[1]);
      file_.write(mark.data(), mark.size(), slots_.at(layer + ".comfy_quant")->offset);
    }
    double error = 0, square = 0;
    for (int64_t first = 0; first < tensor.shape[0]; first += tile) {
      const at::Tensor values = rows.get(first, std::min(tile, tensor.shape[0] - first));
      const Coded coded = encode(target_, values, largest);
      put(planned.name, coded.codes, first * coded.codes.size(1) * int64_t(coded.codes.element_size()));
      if (coded.scale.defined()) put(layer + ".weight_scale", coded.scale, first * 4);
      error += (coded.values - values).square().sum(at::kDouble).item<double>();
      square += values.square().sum(at::kDouble).item<double>();
    }
    return {error, square};
  }

  void put(const std::string& slot, const at::Tensor& values, int64_t at = 0) {
    const at::Tensor bytes = values.contiguous();
    file_.write(bytes.const_data_ptr(), bytes.nbytes(), slots_.at(slot)->offset + uint64_t(at));
  }

 private:
  void keep(const Planned& planned) {
    const std::vector<int64_t>& shape = source_.tensors().at(planned.name).shape;
    if (!merges_.empty() && !shape.empty())
      if (const Rows rows(source_, planned.name, merges_); rows.merges()) return keep_merged(planned, rows, shape);
    if (const auto coded = source_.coded(planned.name)) return keep_coded(planned, *coded);
    const at::Tensor values = source_.map(planned.name).contiguous().flatten();
    for (int64_t first = 0; first < values.numel(); first += kTileValues) {
      const at::Tensor piece = values.narrow(0, first, std::min(kTileValues, values.numel() - first)).to(planned.kept);
      put(planned.name, piece, first * int64_t(piece.element_size()));
    }
  }

  void keep_merged(const Planned& planned, const Rows& rows, const std::vector<int64_t>& shape) {
    const int64_t columns = columns_of(source_.tensors().at(planned.name));
    const int64_t tile = std::max<int64_t>(kMergedValues / std::max<int64_t>(columns, 1), 1);
    for (int64_t first = 0; first < shape[0]; first += tile) {
      const at::Tensor piece = rows.get(first, std::min(tile, shape[0] - first), planned.kept);
      put(planned.name, piece, first * columns * int64_t(piece.element_size()));
    }
  }

  /// A matrix in codes, of which only a tile at a time is widened: a table of words has 4.2 GB in float32.
  void keep_coded(const Planned& planned, const kernels::CodedMatrix& matrix) {
    const int64_t tile = std::max<int64_t>(kTileValues / matrix.columns, 1);
    for (int64_t first = 0; first < matrix.rows(); first += tile) {
      const at::Tensor piece = kernels::widen(matrix, first, std::min(tile, matrix.rows() - first), planned.kept);
      put(planned.name, piece, first * matrix.columns * int64_t(piece.element_size()));
    }
  }

  static float largest_of(const Rows& rows, int64_t count, int64_t tile) {
    float largest = 0;
    for (int64_t first = 0; first < count; first += tile)
      largest = std::max(largest, rows.get(first, std::min(tile, count - first)).abs().max().item<float>());
    return largest;
  }

  const Checkpoint& source_;
  Target target_;
  PartFile& file_;
  const std::vector<Merge>& merges_;
  std::map<std::string, const Slot*> slots_;
};

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

/// Throws unless some tensors of the network change to this form, and the others can be kept beside them: FormError
/// where another form would do, else ModelError.
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

/// All tensors that `file` has not yet, then its place.
Result write_all(const Checkpoint& source, const std::vector<Planned>& planned, const Layout& layout, Target target,
                 PartFile& file, const Told& told, const Options& options) {
  file.write(layout.header.data(), layout.header.size(), 0);
  Conversion conversion(source, target, file, layout, options.merges);
  if (target == Target::Fp8) conversion.put(kFp8Marker, at::zeros({2}, at::kByte));
  Result result{.tensors = int64_t(planned.size()), .bytes = layout.size};
  result.resumed =
      std::count_if(planned.begin(), planned.end(), [&](const Planned& one) { return file.done(one.name); });
  if (result.resumed > 0 && told.resumed) told.resumed(result.resumed, result.tensors);
  std::map<std::string, std::pair<double, double>> sums;
  std::map<std::string, int64_t> counts;
  for (const Planned& one : planned) {
    if (!file.done(one.name)) {
      if (told.step) told.step(&one - planned.data(), result.tensors);
      const auto [error, square] = conversion.write(one);
      file.note(one.name, {{"error", error}, {"square", square}});
    }
    if (one.group.empty()) continue;
    const nlohmann::json& note = *file.done(one.name);
    sums[one.group].first += note.value("error", 0.0);
    sums[one.group].second += note.value("square", 0.0);
    ++counts[one.group];
  }
  if (told.step) told.step(result.tensors, result.tensors);
  if (options.check) options.check();
  file.finish();
  for (const auto& [group, sum] : sums)
    result.groups.push_back({group, counts.at(group), sum.second > 0 ? std::sqrt(sum.first / sum.second) : 0});
  return result;
}

}  // namespace

Result convert(const Checkpoint& source, Model model, Target target, const std::filesystem::path& out,
               const std::string& key, const Told& told, const Options& options) {
  const std::vector<Planned> planned = plan(source, model, target, options);
  if (options.merges.empty() || !options.changes) check_changes(planned, source, model, target);
  const Layout layout = layout_of(planned, source, model, target, options);
  check_space(out, layout.size);
  PartFile file(out, sha256({key, layout.header}), layout.size);
  if (options.is_there && options.is_there()) {
    file.discard();
    return {};
  }
  try {
    return write_all(source, planned, layout, target, file, told, options);
  } catch (const DiskFull&) {
    if (options.discard_when_full) file.discard();
    throw;
  } catch (const SourceRefused&) {  // the next run would end there, too
    file.discard();
    throw;
  }
}

std::map<std::string, int64_t> coded_already(const Checkpoint& source, Model model, Target target) {
  std::map<std::string, int64_t> counts;
  for (const Planned& one : plan(source, model, target)) {
    const std::string coding = one.group.empty() ? "" : coding_name(source.tensors().at(one.name));
    if (!coding.empty()) ++counts[coding];
  }
  return counts;
}

}  // namespace wan::convert
