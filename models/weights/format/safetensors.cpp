#include "models/weights/format/safetensors.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "models/files/bytes.h"
#include "models/files/error.h"
#include "models/files/foreign.h"
#include "models/weights/dtype.h"

namespace wan {

namespace {

constexpr uint64_t kFarthest = uint64_t{1} << 62;  // sums of places do not overflow
constexpr uint64_t kLongestHeader = 100'000'000;   // the limit of the format's own library
constexpr size_t kMostDimensions = 64;             // ATen's own limit
constexpr size_t kMostTensors = 200'000;           // an A14B expert has 1,095

/// Takes the header piece by piece. Not a document tree: hostile nesting ends at the first bracket that does not
/// belong, doubled names are seen, and nothing but the table of tensors is kept.
class Header final : public nlohmann::json_sax<nlohmann::json> {
 public:
  Header(std::shared_ptr<const MappedFile> file, uint64_t data_begin)
      : file_(std::move(file)), data_begin_(data_begin) {}

  StoredTensors tensors;
  std::map<std::string, std::string> metadata;

  bool start_object(size_t) override {
    if (place_ == Place::Before) {
      place_ = Place::Top;
    } else if (place_ == Place::Top) {
      place_ = name_ == "__metadata__" ? Place::Metadata : Place::Tensor;
      shape_.reset(), offsets_.reset(), dtype_.reset();
    } else {
      refuse_value("an object");
    }
    return true;
  }
  bool key(string_t& text) override {
    if (place_ == Place::Top) {
      name_ = text;
      if (tensors.contains(name_) || (name_ == "__metadata__" && has_metadata_))
        refuse("occurs twice in the header; do not use this file");
      has_metadata_ |= name_ == "__metadata__";
    } else {
      field_ = text;
      if (place_ == Place::Metadata && metadata.contains(field_))
        refuse("holds \"" + printable(field_) + "\" twice; do not use this file");
    }
    return true;
  }
  bool string(string_t& text) override {
    if (place_ == Place::Metadata) {
      metadata[field_] = text;
    } else if (place_ == Place::Tensor && field_ == "dtype" && !dtype_) {
      dtype_ = dtype_of_safetensors(text);
      if (!dtype_)
        refuse("must have a known dtype, has \"" + printable(text) +
               "\"; take the file in another form, as BF16 or F8_E4M3");
    } else {
      refuse_value("a string");
    }
    return true;
  }
  bool start_array(size_t) override {
    if (place_ == Place::Tensor && field_ == "shape" && !shape_) {
      shape_.emplace();
      place_ = Place::Shape;
    } else if (place_ == Place::Tensor && field_ == "data_offsets" && !offsets_) {
      offsets_.emplace();
      place_ = Place::Offsets;
    } else {
      refuse_value("an array");
    }
    return true;
  }
  bool end_array() override {
    place_ = Place::Tensor;
    return true;
  }
  bool number_unsigned(number_unsigned_t value) override {
    if (place_ == Place::Shape) {
      if (value > INT64_MAX || shape_->size() == kMostDimensions)
        refuse("has an impossible shape; do not use this file");
      shape_->push_back(static_cast<int64_t>(value));
    } else if (place_ == Place::Offsets && offsets_->size() < 2) {
      offsets_->push_back(value);
    } else {
      refuse_value("a number");
    }
    return true;
  }
  bool end_object() override {
    if (place_ == Place::Tensor) add_tensor();
    place_ = place_ == Place::Top ? Place::After : Place::Top;
    return true;
  }
  bool number_integer(number_integer_t) override { return refuse_value("a negative number"); }
  bool number_float(number_float_t, const string_t&) override { return refuse_value("a fraction"); }
  bool boolean(bool) override { return refuse_value("a boolean"); }
  bool null() override { return refuse_value("null"); }
  bool binary(binary_t&) override { return refuse_value("binary data"); }
  bool parse_error(size_t position, const std::string&, const nlohmann::json::exception&) override {
    throw ModelError(file_->path().string(), "must begin with a JSON header, which breaks at byte " +
                                                 std::to_string(8 + position) + "; download it again");
  }

  /// Places against each other and against the file: the data is covered once, without holes. Says how much of a cut
  /// file is there.
  void check_coverage() const {
    const uint64_t data_size = file_->bytes().size() - data_begin_;
    // By begin, then by end: an empty tensor lies at the border of its neighbours.
    std::vector<std::tuple<uint64_t, uint64_t, const std::string*>> order;
    for (const auto& [name, tensor] : tensors) order.emplace_back(tensor.offset, tensor.offset + tensor.bytes(), &name);
    std::sort(order.begin(), order.end());
    uint64_t end = data_begin_;
    for (const auto& [tensor_begin, tensor_end, name] : order) {
      if (tensor_begin != end) {
        throw ModelError(file_->path().string() + ": " + printable(*name),
                         "must begin where the tensor before it ends (byte " + std::to_string(end - data_begin_) +
                             "), begins at " + std::to_string(tensor_begin - data_begin_) + "; download it again");
      }
      end = tensor_end;
    }
    if (end - data_begin_ > data_size) {
      throw ModelError(file_->path().string(), "is cut short: " + std::to_string(file_->bytes().size()) + " of " +
                                                   std::to_string(end) + " bytes are there; download it again");
    }
    if (end - data_begin_ != data_size) {
      throw ModelError(file_->path().string(), "must hold " + std::to_string(end - data_begin_) +
                                                   " bytes of data, holds " + std::to_string(data_size) +
                                                   "; download it again");
    }
  }

 private:
  enum class Place { Before, Top, Metadata, Tensor, Shape, Offsets, After };

  [[noreturn]] void refuse(const std::string& what) const {
    throw ModelError(file_->path().string() + (name_.empty() ? "" : ": " + printable(name_)), what);
  }
  [[noreturn]] bool refuse_value(const std::string& what) const {
    const std::string again = "; download it again";
    refuse(place_ == Place::Before     ? "must have an object for a header, has " + what + again
           : place_ == Place::Top      ? "must be an object, is " + what + again
           : place_ == Place::Metadata ? "must be strings, \"" + printable(field_) + "\" is " + what + again
                                       : "must have one dtype, shape and pair of data_offsets, \"" + printable(field_) +
                                             "\" has " + what + again);
  }

  void add_tensor() {
    if (!dtype_ || !shape_ || !offsets_ || offsets_->size() != 2)
      refuse("must have dtype, shape and two data_offsets; download it again");
    const uint64_t begin = offsets_->at(0), end = offsets_->at(1);
    if (begin > end || end > kFarthest) {
      refuse("must lie behind the header, lies at " + std::to_string(begin) + " to " + std::to_string(end) +
             "; download it again");
    }
    if (tensors.size() == kMostTensors) refuse("is one of more than 200,000 tensors; do not use this file");
    // Without zeros, so that neither the size nor a stride overflows.
    int64_t spread = static_cast<int64_t>(c10::elementSize(*dtype_));
    for (int64_t extent : *shape_) {
      if (__builtin_mul_overflow(spread, std::max<int64_t>(extent, 1), &spread))
        refuse("has an impossible shape; do not use this file");
    }
    StoredTensor tensor{*dtype_, *shape_, row_major_strides(*shape_), file_, data_begin_ + begin};
    if (tensor.bytes() != end - begin) {
      refuse("must have " + std::to_string(tensor.bytes()) + " bytes by its shape, has " + std::to_string(end - begin) +
             "; download it again");
    }
    tensors.emplace(name_, std::move(tensor));
  }

  std::shared_ptr<const MappedFile> file_;
  uint64_t data_begin_;
  Place place_ = Place::Before;
  std::string name_, field_;
  bool has_metadata_ = false;
  std::optional<at::ScalarType> dtype_;
  std::optional<std::vector<int64_t>> shape_;
  std::optional<std::vector<uint64_t>> offsets_;
};

std::string_view safetensors_header(const MappedFile& file) {
  const std::string_view bytes = file.bytes();
  const std::string label = file.path().string();
  refuse_foreign(bytes, Content::Safetensors, label);
  if (bytes.size() < 8) {
    throw ModelError(
        label, "must be a safetensors file, has only " + std::to_string(bytes.size()) + " bytes; download it again");
  }
  const auto length = ByteReader(bytes, label).number<uint64_t>();
  if (length > kLongestHeader) {
    throw ModelError(label, "must be a safetensors file with a header of at most 100 MB, its first bytes say " +
                                std::to_string(length) + "; download it again, or name a safetensors file");
  }
  if (length > bytes.size() - 8) {
    throw ModelError(label, "is cut short: its header alone has " + std::to_string(length) + " bytes, " +
                                std::to_string(bytes.size() - 8) + " are there; download it again");
  }
  return bytes.substr(0, 8 + length);
}

Header read_header(const std::shared_ptr<const MappedFile>& file) {
  const std::string_view bytes = safetensors_header(*file);
  Header header(file, bytes.size());
  nlohmann::json::sax_parse(bytes.begin() + 8, bytes.end(), &header);
  header.check_coverage();
  return header;
}

}  // namespace

StoredTensors read_safetensors(const std::shared_ptr<const MappedFile>& file) {
  return read_header(file).tensors;
}

std::map<std::string, std::string> read_safetensors_metadata(const std::shared_ptr<const MappedFile>& file) {
  auto metadata = read_header(file).metadata;
  metadata.erase("sha256");  // of write_with_digest
  return metadata;
}

const Format kSafetensors = {
    .has_extension = [](std::string_view extension) { return extension == ".safetensors" || extension == ".sft"; },
    .has_content = is_safetensors,
    .read = read_safetensors,
    .header =
        [](const std::shared_ptr<const MappedFile>& file) {
          return std::vector<std::string_view>{safetensors_header(*file)};
        },
    .metadata = read_safetensors_metadata};

}  // namespace wan
