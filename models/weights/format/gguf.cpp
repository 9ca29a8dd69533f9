// Source: docs/gguf.md of ggml; type numbers from gguf.h.
#include "models/weights/format/gguf.h"

#include <algorithm>
#include <stdexcept>
#include <tuple>

#include "models/files/error.h"
#include "models/files/foreign.h"
#include "models/files/utf8.h"
#include "models/weights/format/ggml_types.h"
#include "models/weights/format/gguf_metadata.h"

namespace wan {

namespace {

constexpr std::string_view kMagic = "GGUF";
constexpr uint32_t kMostDimensions = 8;

class Header {
 public:
  explicit Header(std::shared_ptr<const MappedFile> file)
      : file_(std::move(file)), label_(file_->path().string()), reader_(file_->bytes(), label_) {
    if (!file_->bytes().starts_with(kMagic)) {
      refuse_foreign(file_->bytes(), Content::Gguf, label_);
      throw ModelError(label_, "must be a GGUF file, does not begin with GGUF; download it again");
    }
    reader_.skip(kMagic.size());
    metadata_ = take_gguf_metadata(reader_);
    for (uint64_t i = 0; i < metadata_.tensors; ++i) take_tensor();
    const uint64_t size = reader_.position();
    data_begin_ = (size + metadata_.alignment - 1) / metadata_.alignment * metadata_.alignment;
  }

  /// Up to the data, or to the end of a file that has none.
  std::string_view bytes() const { return file_->bytes().substr(0, data_begin_); }

  StoredTensors tensors() {
    check_places();
    for (auto& [name, tensor] : tensors_) tensor.offset += data_begin_;
    return std::move(tensors_);
  }

 private:
  [[noreturn]] void refuse(std::string_view name, const std::string& what) const {
    throw ModelError(label_ + ": " + printable(name), what);
  }

  void take_tensor() {
    const std::string_view name = reader_.name();
    try {
      check_utf8(name);
    } catch (const std::invalid_argument& error) {
      reader_.refuse("must have names in UTF-8, " + printable(name) + " " + error.what() + "; do not use this file");
    }
    const auto dimensions = reader_.number<uint32_t>();
    if (dimensions > kMostDimensions)
      refuse(name, "must have at most 8 dimensions, has " + std::to_string(dimensions) + "; do not use this file");
    std::vector<int64_t> shape;  // the last of the file is the first of torch
    for (uint32_t i = 0; i < dimensions; ++i) shape.insert(shape.begin(), take_size(name));
    const auto type = reader_.number<uint32_t>();
    const auto offset = reader_.number<uint64_t>();
    reader_.check_length();
    StoredTensor tensor = of_type(name, type);
    tensor.shape = std::move(shape);
    check_size(name, tensor);
    restore_shape(name, tensor);
    tensor.strides = row_major_strides(tensor.shape);
    if (offset % metadata_.alignment != 0)
      refuse(name, "must begin at a multiple of " + std::to_string(metadata_.alignment) + " bytes, begins at " +
                       std::to_string(offset) + "; do not use this file");
    tensor.offset = offset;
    if (!tensors_.emplace(name, std::move(tensor)).second)
      refuse(name, "occurs twice in the header; do not use this file");
  }

  int64_t take_size(std::string_view name) {
    const auto size = reader_.number<uint64_t>();
    if (size == 0 || size > INT64_MAX)
      refuse(name, "must have sizes above zero, has " + std::to_string(size) + "; do not use this file");
    return int64_t(size);
  }

  StoredTensor of_type(std::string_view name, uint32_t type) const {
    const auto elements = ggml_elements(type);
    if (!elements) {
      const std::string_view known = unusable_ggml_type(type);
      refuse(name, "must be of a type that weights are kept in, is of type " + std::to_string(type) +
                       (known.empty() ? "" : " (" + std::string(known) + ")") +
                       "; take a file of another quantisation, as Q8_0 or Q4_K_M");
    }
    StoredTensor tensor{elements->plain.value_or(at::kFloat), {}, {}, file_};
    tensor.coding = elements->coding;
    return tensor;
  }

  /// Neither elements nor bytes overflow, in the file or widened, and rows are whole blocks.
  void check_size(std::string_view name, const StoredTensor& tensor) const {
    int64_t bytes = 8;  // of the widest element
    for (int64_t size : tensor.shape)
      if (__builtin_mul_overflow(bytes, size, &bytes)) refuse(name, "has an impossible shape; do not use this file");
    if (!tensor.coding) return;
    const int64_t row = tensor.shape.empty() ? 1 : tensor.shape.back();
    if (row % tensor.coding->elements != 0)
      refuse(name, "must have rows of whole blocks of " + std::to_string(tensor.coding->elements) + " elements (" +
                       std::string(tensor.coding->name) + "), has rows of " + std::to_string(row) +
                       "; do not use this file");
  }

  /// A tensor that was flattened to make its rows whole blocks.
  void restore_shape(std::string_view name, StoredTensor& tensor) const {
    const auto found = metadata_.original_shapes.find(name);
    if (found == metadata_.original_shapes.end()) return;
    int64_t product = 1;
    for (int64_t size : found->second)
      if (size < 1 || __builtin_mul_overflow(product, size, &product)) product = -1;
    if (product != tensor.elements())
      refuse(name, "must have as many elements as the shape that comfy.gguf.orig_shape gives it, has " +
                       std::to_string(tensor.elements()) + "; do not use this file");
    tensor.shape = found->second;
  }

  /// Against each other and against the file.
  void check_places() const {
    const uint64_t there = file_->bytes().size() - std::min<uint64_t>(data_begin_, file_->bytes().size());
    std::vector<std::tuple<uint64_t, uint64_t, const std::string*>> order;
    for (const auto& [name, tensor] : tensors_) order.emplace_back(tensor.offset, tensor.bytes(), &name);
    std::sort(order.begin(), order.end());
    uint64_t end = 0;
    const std::string* before = nullptr;
    for (const auto& [offset, bytes, name] : order) {
      if (offset < end)
        refuse(*name, "must begin behind " + printable(*before) + " (byte " + std::to_string(end) + "), begins at " +
                          std::to_string(offset) + "; do not use this file");
      if (offset > there || bytes > there - offset)
        refuse(*name, "must lie in the " + std::to_string(there) + " bytes of data that the file has, is " +
                          std::to_string(bytes) + " bytes at byte " + std::to_string(offset) +
                          ": the file is cut short; download it again");
      end = offset + bytes;
      before = name;
    }
  }

  std::shared_ptr<const MappedFile> file_;
  std::string label_;
  GgufReader reader_;
  GgufMetadata metadata_;
  uint64_t data_begin_ = 0;
  StoredTensors tensors_;  // at offsets from the data, until they are given
};

}  // namespace

StoredTensors read_gguf(const std::shared_ptr<const MappedFile>& file) {
  return Header(file).tensors();
}

const Format kGguf = {.has_extension = [](std::string_view extension) { return extension == ".gguf"; },
                      .has_content = [](std::string_view bytes) { return bytes.starts_with(kMagic); },
                      .read = read_gguf,
                      .header =
                          [](const std::shared_ptr<const MappedFile>& file) {
                            return std::vector<std::string_view>{Header(file).bytes()};
                          }};

}  // namespace wan
