#include "models/weights/convert/convert.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>
#include <map>

#include "kernels/dequantise/coded_matrix.h"
#include "models/files/digest.h"
#include "models/weights/convert/layout.h"
#include "models/weights/convert/part_file.h"
#include "models/weights/convert/planned.h"
#include "models/weights/convert/rows.h"
#include "models/weights/dtype.h"

namespace wan::convert {
namespace {

// Of rows that are worked on at once: 8 MB of float32, which the allocator keeps from tile to tile instead of asking
// the system anew.
constexpr int64_t kTileValues = 2 << 20;
// Of rows that LoRAs are merged into and that keep their form: so many that 16 cores have a piece each.
constexpr int64_t kMergedValues = 8 << 20;

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

/// What the tensor is coded in; empty for floats of 16 bits or more.
std::string coding_name(const StoredTensor& tensor) {
  if (tensor.coding) return std::string(tensor.coding->name);
  return c10::elementSize(tensor.dtype) == 1 ? std::string(dtype_name(tensor.dtype)) : "";
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
