#include "models/files/config_json.h"

#include "models/files/error.h"
#include "models/files/json.h"

namespace wan {
namespace {

constexpr JsonLimits kLimits = {.bytes = 1 << 20, .depth = 16, .values = 10'000};

std::string short_text(const nlohmann::json& value) {
  return value.dump(-1, ' ', true, nlohmann::json::error_handler_t::replace).substr(0, 40);
}

bool is_size(const nlohmann::json& value, int64_t least, int64_t most) {
  // An unsigned value beyond int64 would wrap; it is out of range in any case.
  if (value.is_number_unsigned()) return value.get<uint64_t>() <= uint64_t(most) && value.get<int64_t>() >= least;
  return value.is_number_integer() && value.get<int64_t>() >= least && value.get<int64_t>() <= most;
}

std::string range(int64_t least, int64_t most) {
  return std::to_string(least) + " to " + std::to_string(most);
}

}  // namespace

ConfigJson ConfigJson::read(const std::filesystem::path& file) {
  return ConfigJson(read_json(*MappedFile::open(file), kLimits), file.string());
}

ConfigJson::ConfigJson(nlohmann::json json, std::string label) : json_(std::move(json)), label_(std::move(label)) {
  require(json_.is_object(), "must be a JSON object; take the file of the published model");
}

const nlohmann::json& ConfigJson::member(const char* key) const {
  static const nlohmann::json absent;
  auto found = json_.find(key);
  return found == json_.end() ? absent : *found;
}

void ConfigJson::wrong(const char* key, const std::string& wanted) const {
  throw ModelError(label_, std::string(key) + " must be " + wanted + ", got " + short_text(member(key)) +
                               "; take the file of the published model");
}

int64_t ConfigJson::size(const char* key, int64_t least, int64_t most) const {
  const nlohmann::json& value = member(key);
  if (!is_size(value, least, most)) wrong(key, "an integer from " + range(least, most));
  return value.get<int64_t>();
}

std::vector<int64_t> ConfigJson::sizes(const char* key, size_t longest, int64_t least, int64_t most) const {
  const nlohmann::json& list = member(key);
  bool right = list.is_array() && !list.empty() && list.size() <= longest;
  for (size_t i = 0; right && i < list.size(); ++i) right = is_size(list[i], least, most);
  if (!right) wrong(key, "1 to " + std::to_string(longest) + " integers from " + range(least, most));
  return list.get<std::vector<int64_t>>();
}

double ConfigJson::epsilon(const char* key) const {
  const nlohmann::json& value = member(key);
  if (!value.is_number() || !(value.get<double>() > 0 && value.get<double>() < 1))
    wrong(key, "a number between 0 and 1");
  return value.get<double>();
}

void ConfigJson::expect(const char* key, const nlohmann::json& want) const {
  if (member(key) != want) wrong(key, want.dump());
}

void ConfigJson::require(bool holds, std::string_view relation) const {
  if (!holds) throw ModelError(label_, std::string(relation));
}

}  // namespace wan
