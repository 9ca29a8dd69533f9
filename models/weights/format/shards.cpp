#include "models/weights/format/shards.h"

#include <nlohmann/json.hpp>
#include <set>
#include <string>

#include "models/files/error.h"
#include "models/files/foreign.h"
#include "models/weights/format/safetensors.h"

namespace wan {

namespace {

constexpr size_t kLargestIndex = 32'000'000;  // that of an A14B expert has 0.1 MB
constexpr size_t kMostTensors = 200'000;      // it names 1,095

/// Keeps the strings of `weight_map` and passes over everything else.
class WeightMap final : public nlohmann::json_sax<nlohmann::json> {
 public:
  explicit WeightMap(std::string label) : label_(std::move(label)) {}
  std::map<std::string, std::string> shard_of;

  bool key(string_t& text) override {
    if (depth_ == 1) in_map_ = text == "weight_map";
    if (depth_ == 2) tensor_ = text;
    return true;
  }
  bool string(string_t& text) override {
    if (!is_entry()) return scalar();
    if (shard_of.size() == kMostTensors)
      throw ModelError(label_, "must name at most 200,000 tensors, names more; do not use this file");
    check_bare(text);
    if (!shard_of.emplace(tensor_, text).second)
      throw ModelError(label_ + ": " + printable(tensor_), "occurs twice in the index; do not use this file");
    return true;
  }
  bool start_object(size_t) override { return begin(); }
  bool start_array(size_t) override { return begin(); }
  bool end_object() override { return end(); }
  bool end_array() override { return end(); }
  bool null() override { return scalar(); }
  bool boolean(bool) override { return scalar(); }
  bool number_integer(number_integer_t) override { return scalar(); }
  bool number_unsigned(number_unsigned_t) override { return scalar(); }
  bool number_float(number_float_t, const string_t&) override { return scalar(); }
  bool binary(binary_t&) override { return scalar(); }
  bool parse_error(size_t position, const std::string&, const nlohmann::json::exception&) override {
    throw ModelError(label_, "must be JSON, breaks at byte " + std::to_string(position) + "; download it again");
  }

 private:
  bool is_entry() const { return in_map_ && depth_ == 2; }
  bool begin() {
    if (is_entry()) scalar();
    ++depth_;
    return true;
  }
  bool end() {
    --depth_;
    return true;
  }
  /// Any value that is not the string of an entry.
  bool scalar() const {
    if (is_entry())
      throw ModelError(label_ + ": " + printable(tensor_),
                       "must be the name of a file, is something else; download it again");
    return true;
  }
  /// A bare name cannot lead out of the folder.
  void check_bare(const std::string& shard) const {
    const bool bare =
        shard.find_first_of(std::string("/\\\0", 3)) == std::string::npos && shard != "." && shard != "..";
    if (!bare || !shard.ends_with(".safetensors")) {
      throw ModelError(label_ + ": " + printable(tensor_),
                       "must lie in a .safetensors file of the same folder, lies in \"" + printable(shard) +
                           "\"; do not use this download");
    }
  }

  std::string label_;
  int64_t depth_ = 0;
  bool in_map_ = false;
  std::string tensor_;
};

/// The file of each tensor.
std::map<std::string, std::string> read_weight_map(const std::filesystem::path& index) {
  const auto file = MappedFile::open(index);
  refuse_foreign(file->bytes(), Content::Json, index.string());
  if (file->bytes().size() > kLargestIndex)
    throw ModelError(index.string(), "must be smaller than 32 MB, is larger; download it again");
  WeightMap map(index.string());
  nlohmann::json::sax_parse(file->bytes().begin(), file->bytes().end(), &map);
  if (map.shard_of.empty())
    throw ModelError(index.string(), "must have a weight_map of tensors to files, has none; download it again");
  return std::move(map.shard_of);
}

}  // namespace

ShardedTensors read_shards(const std::vector<std::filesystem::path>& shards) {
  ShardedTensors result;
  for (const std::filesystem::path& shard : shards) {
    result.files.push_back(MappedFile::open(shard));
    for (auto& [name, tensor] : read_safetensors(result.files.back())) {
      const auto [other, added] = result.tensors.emplace(name, std::move(tensor));
      if (!added)
        throw ModelError(shard.string() + ": " + printable(name),
                         "must lie in one file, lies in " + shown_name(other->second.file->path().string(), true) +
                             ", too; keep the files of one model");
    }
  }
  return result;
}

std::vector<std::filesystem::path> shards_of(const std::filesystem::path& index) {
  std::set<std::filesystem::path> shards;
  for (const auto& entry : read_weight_map(index)) shards.insert(index.parent_path() / entry.second);
  return {shards.begin(), shards.end()};
}

ShardedTensors read_sharded(const std::filesystem::path& index) {
  const std::map<std::string, std::string> shard_of = read_weight_map(index);
  std::set<std::string> shards;
  for (const auto& entry : shard_of) shards.insert(entry.second);
  ShardedTensors result;
  for (const std::string& shard : shards) {
    result.files.push_back(MappedFile::open(index.parent_path() / shard));
    for (auto& [name, tensor] : read_safetensors(result.files.back())) {
      const auto entry = shard_of.find(name);
      const std::string subject = result.files.back()->path().string() + ": " + printable(name);
      if (entry == shard_of.end()) throw ModelError(subject, "is not in the index; download the folder again");
      if (entry->second != shard)
        throw ModelError(subject,
                         "must lie in " + printable(entry->second) + " by the index; download the folder again");
      result.tensors.emplace(name, std::move(tensor));
    }
  }
  for (const auto& [name, shard] : shard_of) {
    if (!result.tensors.contains(name)) {
      throw ModelError((index.parent_path() / shard).string() + ": " + printable(name),
                       "is in the index and not in the file; download it again");
    }
  }
  return result;
}

}  // namespace wan
