#include "models/weights/format/gguf_metadata.h"

#include <bit>
#include <set>

#include "models/files/error.h"

namespace wan {

namespace {

constexpr uint64_t kLongestHeader = 100'000'000;  // that of an A14B expert has 0.1 MB, a vocabulary some ten
constexpr uint64_t kMostEntries = 100'000;        // of metadata; a Wan file has three
constexpr uint64_t kMostTensors = 200'000;        // an A14B expert has 1,095
constexpr uint64_t kLongestName = 1'000;
constexpr uint64_t kMostSizes = 8;
constexpr int kDeepest = 8;  // arrays in arrays
constexpr std::string_view kMagic = "GGUF";
constexpr std::string_view kOriginalShape = "comfy.gguf.orig_shape.", kTokenizer = "tokenizer.ggml.";

/// Bytes of a value whose length is fixed; 0 for strings and arrays.
uint64_t size_of(GgufType type) {
  constexpr uint64_t kSizes[] = {1, 1, 2, 2, 4, 4, 4, 1, 0, 0, 8, 8, 8};
  return kSizes[uint32_t(type)];
}

class Entries {
 public:
  explicit Entries(GgufReader& reader) : reader_(reader) {}

  GgufMetadata take() {
    check_version();
    metadata_.tensors = reader_.number<uint64_t>();
    const auto entries = reader_.number<uint64_t>();
    if (metadata_.tensors > kMostTensors)
      reader_.refuse("must have at most 200,000 tensors, says " + std::to_string(metadata_.tensors) +
                     "; do not use this file");
    if (entries > kMostEntries)
      reader_.refuse("must have at most 100,000 entries of metadata, says " + std::to_string(entries) +
                     "; do not use this file");
    for (uint64_t i = 0; i < entries; ++i) take_entry();
    return std::move(metadata_);
  }

 private:
  void check_version() {
    const auto version = reader_.number<uint32_t>(), swapped = __builtin_bswap32(version);
    if (version == 2 || version == 3) return;
    if (swapped > 0 && swapped <= 3)
      reader_.refuse("must be little-endian, is a big-endian GGUF file; take the other one");
    reader_.refuse("must be GGUF version 2 or 3, is version " + std::to_string(version) +
                   "; take another file of the model");
  }

  GgufType take_value_type(std::string_view key) {
    const auto type = reader_.number<uint32_t>();
    if (type > uint32_t(GgufType::Float64))
      reader_.refuse("must have metadata of known types, " + printable(key) + " has type " + std::to_string(type) +
                     "; download it again");
    return GgufType(type);
  }

  void take_entry() {
    const std::string_view key = reader_.name();
    if (!keys_.insert(key).second)
      reader_.refuse("has the metadata " + printable(key) + " twice; do not use this file");
    const GgufType type = take_value_type(key);
    if (key == "general.alignment") {
      if (type != GgufType::Uint32)
        reader_.refuse("must have a general.alignment in 32 bits, has another type; do not use this file");
      metadata_.alignment = reader_.number<uint32_t>();
      if (!std::has_single_bit(metadata_.alignment))
        reader_.refuse("must have a power of two for general.alignment, has " + std::to_string(metadata_.alignment) +
                       "; do not use this file");
    } else if (key == "split.count" && type == GgufType::Uint16) {
      if (const auto parts = reader_.number<uint16_t>(); parts > 1)
        reader_.refuse("must be a whole file, is one of " + std::to_string(parts) +
                       " parts; join them with llama-gguf-split --merge");
    } else if (key.starts_with(kOriginalShape) && type == GgufType::Array) {
      take_original_shape(key);
    } else if (key.starts_with(kTokenizer)) {
      const size_t begin = reader_.position();
      skip_value(key, type, 0);
      metadata_.tokenizer[key.substr(kTokenizer.size())] = {type, reader_.since(begin)};
    } else {
      skip_value(key, type, 0);
    }
  }

  void take_original_shape(std::string_view key) {
    const GgufType type = take_value_type(key);
    const auto count = reader_.number<uint64_t>();
    if (type != GgufType::Int32 || count > kMostSizes)
      reader_.refuse("must have a shape for " + printable(key) + ", has something else; do not use this file");
    std::vector<int64_t>& shape = metadata_.original_shapes[key.substr(kOriginalShape.size())];
    for (uint64_t i = 0; i < count; ++i) shape.push_back(reader_.number<int32_t>());
  }

  void skip_value(std::string_view key, GgufType type, int depth) {
    if (size_of(type) > 0) {
      reader_.skip(size_of(type));
    } else if (type == GgufType::String) {
      reader_.string();
    } else {
      skip_array(key, depth + 1);
    }
    reader_.check_length();
  }

  void skip_array(std::string_view key, int depth) {
    if (depth > kDeepest)
      reader_.refuse("must have arrays at most 8 deep, " + printable(key) + " has deeper ones; do not use this file");
    const GgufType type = take_value_type(key);
    const auto count = reader_.number<uint64_t>();
    const uint64_t size = size_of(type);
    if (count > reader_.left())  // no element is smaller than a byte; and so the product below does not overflow
      reader_.refuse("must hold its metadata, " + printable(key) + " says that it has " + std::to_string(count) +
                     " elements; download it again");
    if (size > 0)
      reader_.skip(count * size);
    else
      for (uint64_t i = 0; i < count; ++i) skip_value(key, type, depth);
  }

  GgufReader& reader_;
  std::set<std::string_view> keys_;
  GgufMetadata metadata_;
};

}  // namespace

void GgufReader::refuse(const std::string& what) const {
  throw ModelError(subject_, what);
}

void GgufReader::check_length() const {
  if (position() > kLongestHeader)
    refuse("must have a header of at most 100 MB, has a longer one; do not use this file");
}

std::string_view GgufReader::string() {
  const auto length = number<uint64_t>();
  const std::string_view text = take(length);
  check_length();
  return text;
}

std::string_view GgufReader::name() {
  const std::string_view name = string();
  if (name.size() > kLongestName)
    refuse("must have names of at most 1,000 bytes, has one of " + std::to_string(name.size()) +
           "; do not use this file");
  return name;
}

bool is_gguf(const MappedFile& file) {
  return file.bytes().starts_with(kMagic);
}

GgufMetadata read_gguf_metadata(const MappedFile& file) {
  GgufReader reader(file.bytes(), file.path().string());
  reader.skip(kMagic.size());
  return take_gguf_metadata(reader);
}

GgufMetadata take_gguf_metadata(GgufReader& reader) {
  return Entries(reader).take();
}

}  // namespace wan
