#include "models/weights/quantised/join_scales.h"

#include <c10/util/StringUtil.h>

#include <algorithm>
#include <set>

#include "models/files/error.h"
#include "models/weights/dtype.h"
#include "models/weights/quantised/layers.h"
#include "models/weights/quantised/modelopt.h"
#include "models/weights/quantised/nvfp4.h"
#include "models/weights/quantised/scales.h"

namespace wan {
namespace {

constexpr const char* kMetadata = "_quantization_metadata";

bool is_fp8(at::ScalarType dtype) {
  return dtype == at::kFloat8_e4m3fn || dtype == at::kFloat8_e5m2;
}

/// The elements in which weights of a format are stored.
at::ScalarType dtype_of(LayerFormat format) {
  switch (format) {
    case LayerFormat::E5M2:
      return at::kFloat8_e5m2;
    case LayerFormat::Int8:
      return at::kChar;
    case LayerFormat::NvFp4:
      return at::kByte;
    case LayerFormat::E4M3:
    case LayerFormat::MxFp8:
      return at::kFloat8_e4m3fn;
  }
  return at::kFloat;
}

class Joiner {
 public:
  Joiner(StoredTensors tensors, const CheckpointFacts& facts, const std::string& label)
      : facts_(facts), label_(label), tensors_(std::move(tensors)), found_(take_layers(tensors_, label_)) {}

  StoredTensors join() {
    take_marks();
    if (!found_.layers.empty() && !facts_.folder.empty()) modelopt_ = modelopt_ways(facts_.folder);
    for (const auto& [name, layer] : found_.layers) join(name, layer);
    for (const auto& [name, tensor] : tensors_) check_scaled(name, tensor);
    // Without a scaled layer the marker has no meaning: it stays a tensor, and no network has one of its name.
    if (found_.layers.empty() && found_.scaled_marker) tensors_.emplace(kScaledMarker, *found_.scaled_marker);
    return std::move(tensors_);
  }

 private:
  [[noreturn]] void refuse(const std::string& name, const std::string& what) const {
    throw ModelError(label_ + ": " + printable(name), what);
  }

  /// What markers and metadata say of layers.
  void take_marks() {
    for (auto& [name, layer] : found_.layers)
      if (const NamedTensor* marker = layer.find(Beside::Marker)) layer.mark = marker_of(*marker);
    for (const auto& file : facts_.metadata) {
      const auto text = file.find(kMetadata);
      if (text == file.end()) continue;
      for (const auto& [name, mark] : read_layer_marks(text->second, label_)) add_mark(own_name(name), mark);
    }
  }

  LayerMark marker_of(const NamedTensor& marker) const {
    const StoredTensor& tensor = marker.tensor;
    if (tensor.dtype != at::kByte || tensor.shape.size() != 1 || !is_row_major(tensor))
      refuse(marker.name, "must be a row of bytes (U8), is " + std::string(dtype_name(tensor.dtype)) + " of shape " +
                              c10::str(at::IntArrayRef(tensor.shape)) + "; download it again");
    return read_layer_mark(tensor.file->bytes().substr(tensor.offset, tensor.bytes()),
                           label_ + ": " + printable(marker.name));
  }

  /// The name of a layer in the metadata as tensors have it now.
  std::string own_name(const std::string& name) const {
    const bool prefixed = !facts_.prefix.empty() && name.starts_with(facts_.prefix);
    return prefixed ? name.substr(facts_.prefix.size()) : name;
  }

  void add_mark(const std::string& name, const LayerMark& mark) {
    if (!facts_.is_whole && !tensors_.contains(weight_of(name))) return;
    QuantisedLayer& layer = found_.layers[name];
    if (layer.mark && *layer.mark != mark)
      refuse(name, "must have one description, comfy_quant or another file has another one than " +
                       std::string(kMetadata) + "; do not use this file");
    layer.mark = mark;
  }

  void join(const std::string& name, const QuantisedLayer& layer) {
    const auto found = tensors_.find(weight_of(name));
    if (found == tensors_.end()) {
      const std::string what = layer.beside.empty() ? kMetadata : layer.beside.begin()->second.name;
      refuse(what, "must lie beside " + printable(weight_of(name)) + ", which is not there; download it again");
    }
    StoredTensor& weight = found->second;
    check_weight(found->first, weight, layer);
    check_marker(found->first, weight.dtype);
    check_activations(layer);
    if (weight.dtype == at::kByte)
      join_nvfp4(weight, {found->first, layer, modelopt_, was_processed(), label_});
    else
      join_scaled(found->first, weight, layer);
    weight.dtype = at::kFloat;
    weight.strides = row_major_strides(weight.shape);
  }

  void check_weight(const std::string& name, const StoredTensor& weight, const QuantisedLayer& layer) const {
    const std::string held(weight.coding ? weight.coding->name : dtype_name(weight.dtype));
    if (layer.mark && (weight.coding || weight.dtype != dtype_of(layer.mark->format)))
      refuse(name, "must be in " + std::string(dtype_name(dtype_of(layer.mark->format))) +
                       ", as its layer is said to be " + std::string(format_word(layer.mark->format)) + ", is in " +
                       held + "; download it again");
    if (weight.coding || !(is_fp8(weight.dtype) || weight.dtype == at::kChar || weight.dtype == at::kByte))
      refuse(name, "must be in codes, as there is " + printable(layer.beside.begin()->second.name) + ", is in " + held +
                       "; do not use this file");
    if (weight.shape.empty() || weight.elements() == 0 || !is_row_major(weight))
      refuse(name, "must be a matrix that lies row by row, has shape " + c10::str(at::IntArrayRef(weight.shape)) +
                       "; load it with torch.load and save it again, contiguous");
  }

  /// Scales of activations in codes change no weight; one for each input does (SmoothQuant, AWQ).
  void check_activations(const QuantisedLayer& layer) const {
    for (const Beside part : {Beside::InputScale, Beside::OutputScale})
      if (const NamedTensor* scale = layer.find(part); scale && scale->tensor.elements() != 1)
        refuse(scale->name, "must be a scale of one value, has shape " +
                                c10::str(at::IntArrayRef(scale->tensor.shape)) +
                                "; take a file of another quantisation");
  }

  /// Whether Model Optimizer wrote the file for a program that wants other layouts than its own.
  bool was_processed() const {
    return std::any_of(facts_.metadata.begin(), facts_.metadata.end(),
                       [](const auto& file) { return file.contains("quantization_config"); });
  }

  /// E4M3, E5M2 or int8, with scales in floats or those of MXFP8.
  void join_scaled(const std::string& name, StoredTensor& weight, const QuantisedLayer& layer) {
    check_beside(label_, name, layer, {Beside::Scale}, {Beside::InputScale, Beside::OutputScale, Beside::Marker});
    const ScaledMatrix matrix{name, weight.shape[0], weight.elements() / weight.shape[0]};
    const NamedTensor& scale = *layer.find(Beside::Scale);
    StoredScales scales;
    if (layer.mark && layer.mark->format == LayerFormat::MxFp8)
      scales = mxfp8_scales(weight, matrix, scale);
    else
      scales = float_scales(scale, matrix, label_);
    scales.rotation = layer.mark ? layer.mark->rotation : 0;
    if (scales.rotation && (weight.shape.size() != 2 || matrix.columns % scales.rotation != 0))
      refuse(name, "must have rows of whole groups of " + std::to_string(scales.rotation) +
                       " (convrot_groupsize), has rows of " + std::to_string(matrix.columns) +
                       "; do not use this file");
    weight.coding = &kernels::coding_of(weight.dtype == at::kChar          ? kernels::Code::Int8
                                        : weight.dtype == at::kFloat8_e5m2 ? kernels::Code::E5M2
                                                                           : kernels::Code::E4M3);
    weight.scales = std::make_shared<StoredScales>(std::move(scales));
  }

  StoredScales mxfp8_scales(const StoredTensor& weight, const ScaledMatrix& matrix, const NamedTensor& scale) const {
    constexpr int64_t kBlock = 32;
    if (weight.shape.size() != 2 || matrix.columns % kBlock != 0)
      refuse(matrix.name, "must be a matrix with rows of whole blocks of 32 (mxfp8), has shape " +
                              c10::str(at::IntArrayRef(weight.shape)) + "; do not use this file");
    return block_scales(scale, matrix, at::kFloat8_e8m0fnu, kBlock, StoredScales::Order::Tiles, label_);
  }

  /// scaled_fp8 has the dtype of the weights that are scaled; older ones have F32 for E4M3.
  void check_marker(const std::string& name, at::ScalarType dtype) const {
    if (!found_.scaled_marker) return;
    const at::ScalarType marker = found_.scaled_marker->dtype;
    const at::ScalarType want = is_fp8(marker) ? marker : at::kFloat8_e4m3fn;
    if (dtype != want)
      refuse(name, "must be in " + std::string(dtype_name(want)) + " as " + std::string(kScaledMarker) +
                       " says, is in " + std::string(dtype_name(dtype)) + "; do not use this file");
  }

  /// A weight beside which nothing lies.
  void check_scaled(const std::string& name, const StoredTensor& tensor) const {
    if (tensor.coding || !(name == "weight" || name.ends_with(".weight"))) return;
    const bool scaled = found_.scaled_marker || !found_.layers.empty();
    if (tensor.dtype == at::kChar || tensor.dtype == at::kByte)
      refuse(name, "must have a scale beside it, as it is in " + std::string(dtype_name(tensor.dtype)) +
                       ", has none; take a file of another quantisation");
    if (is_fp8(tensor.dtype) && tensor.shape.size() >= 2 && scaled)
      refuse(name, "must have a scale beside it, as the file's other weights have, has none; download it again");
  }

  const CheckpointFacts& facts_;
  const std::string& label_;
  StoredTensors tensors_;
  QuantisedLayers found_;
  std::set<std::string> modelopt_;
};

}  // namespace

StoredTensors join_scales(StoredTensors tensors, const CheckpointFacts& facts, const std::string& label) {
  return Joiner(std::move(tensors), facts, label).join();
}

}  // namespace wan
