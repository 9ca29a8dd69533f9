#include "models/weights/quantised/nvfp4.h"

#include <c10/util/StringUtil.h>

#include <algorithm>
#include <cmath>

#include "models/files/error.h"
#include "models/weights/quantised/scales.h"

namespace wan {
namespace {

constexpr int64_t kBlock = 16;  // values of a row that share a scale

[[noreturn]] void refuse(const JoinedLayer& joined, const std::string& what) {
  throw ModelError(joined.label + ": " + printable(joined.weight), what);
}

/// How one program lays out a weight.
struct Layout {
  kernels::Code code;
  StoredScales::Order order;
  double factor;
};

const char* word_of(Beside part) {
  switch (part) {
    case Beside::Scale:
      return "weight_scale";
    case Beside::TensorScale:
      return "weight_scale_2";
    case Beside::Alpha:
      return "alpha";
    case Beside::InputGlobalScale:
      return "input_global_scale";
    case Beside::InputAbsmax:
      return "input_absmax";
    case Beside::WeightGlobalScale:
      return "weight_global_scale";
    default:
      return "a scale";
  }
}

double value(const JoinedLayer& joined, Beside part) {
  return read_scale(*joined.layer.find(part), joined.label);
}

void check(const JoinedLayer& joined, std::initializer_list<Beside> needed,
           std::initializer_list<Beside> allowed = {}) {
  check_beside(joined.label, joined.weight, joined.layer, needed, allowed);
}

Layout comfy(const JoinedLayer& joined) {
  check(joined, {Beside::Scale, Beside::TensorScale}, {Beside::InputScale, Beside::OutputScale, Beside::Marker});
  if (joined.was_processed || !joined.modelopt.empty())
    refuse(joined,
           "must be described by ComfyUI or by Model Optimizer, which order four-bit weights differently, is by both; "
           "take a file of another quantisation");
  return {kernels::Code::E2M1Swapped, StoredScales::Order::Tiles, value(joined, Beside::TensorScale)};
}

Layout lightx2v(const JoinedLayer& joined) {
  if (joined.layer.find(Beside::Alpha) || joined.layer.find(Beside::InputGlobalScale)) {
    check(joined, {Beside::Scale, Beside::Alpha, Beside::InputGlobalScale});
    return {kernels::Code::E2M1, StoredScales::Order::Tiles,
            value(joined, Beside::Alpha) * value(joined, Beside::InputGlobalScale)};
  }
  check(joined, {Beside::Scale, Beside::InputAbsmax, Beside::WeightGlobalScale});
  return {kernels::Code::E2M1, StoredScales::Order::Tiles, 1 / value(joined, Beside::WeightGlobalScale)};
}

Layout modelopt(const JoinedLayer& joined) {
  check(joined, {Beside::Scale, Beside::TensorScale}, {Beside::InputScale, Beside::OutputScale});
  const bool told = joined.modelopt.contains("NVFP4") || joined.modelopt.contains("W4A16_NVFP4");
  if (!told || joined.was_processed)
    refuse(joined,
           "must be said to be nvfp4, in comfy_quant, in _quantization_metadata or in the hf_quant_config.json of its "
           "folder, is not; open the whole folder, or take a file of another quantisation");
  return {kernels::Code::E2M1, StoredScales::Order::Rows, value(joined, Beside::TensorScale)};
}

Layout layout_of(const JoinedLayer& joined) {
  if (joined.layer.mark) return comfy(joined);
  for (const Beside part : {Beside::Alpha, Beside::InputGlobalScale, Beside::InputAbsmax, Beside::WeightGlobalScale})
    if (joined.layer.find(part)) return lightx2v(joined);
  return modelopt(joined);
}

}  // namespace

void check_beside(const std::string& label, const std::string& weight, const QuantisedLayer& layer,
                  std::initializer_list<Beside> needed, std::initializer_list<Beside> allowed) {
  const auto in = [](std::initializer_list<Beside> list, Beside part) {
    return std::find(list.begin(), list.end(), part) != list.end();
  };
  for (const auto& [part, tensor] : layer.beside)
    if (!in(needed, part) && !in(allowed, part))
      throw ModelError(
          label + ": " + printable(tensor.name),
          "must not lie beside " + printable(weight) + ", whose other scales need none; do not use this file");
  for (const Beside part : needed)
    if (!layer.find(part))
      throw ModelError(label + ": " + printable(weight),
                       std::string("must have ") + word_of(part) + " beside it, has not; download it again");
}

void join_nvfp4(StoredTensor& weight, const JoinedLayer& joined) {
  if (weight.shape.size() != 2 || weight.shape[1] % (kBlock / 2) != 0)
    refuse(joined, "must be a matrix with rows of whole blocks of 8 bytes (NVFP4), has shape " +
                       c10::str(at::IntArrayRef(weight.shape)) + "; take a file of another quantisation");
  const Layout layout = layout_of(joined);
  const ScaledMatrix matrix{joined.weight, weight.shape[0], weight.shape[1] * 2};
  StoredScales scales =
      block_scales(*joined.layer.find(Beside::Scale), matrix, at::kFloat8_e4m3fn, kBlock, layout.order, joined.label);
  scales.factor = float(layout.factor);
  if (!std::isfinite(scales.factor) || scales.factor <= 0)
    refuse(joined, "must have scales whose product is above zero and finite, has not; do not use this file");
  weight.shape[1] = matrix.columns;
  weight.coding = &kernels::coding_of(layout.code);
  weight.scales = std::make_shared<StoredScales>(std::move(scales));
}

}  // namespace wan
