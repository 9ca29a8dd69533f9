#include "engine/request/shard.h"

#include <charconv>
#include <optional>
#include <string_view>

#include "engine/base/error.h"
#include "engine/base/text.h"

namespace wan {
namespace {

/// A whole number from 0 that is written with digits alone.
std::optional<int64_t> number_in(std::string_view digits) {
  int64_t value = 0;
  const char* const end = digits.data() + digits.size();
  const auto [at, error] = std::from_chars(digits.data(), end, value);
  if (digits.empty() || digits[0] == '-' || error != std::errc() || at != end) return std::nullopt;
  return value;
}

[[noreturn]] void refuse(const std::string& wanted, const std::string& text, const std::string& way_out) {
  throw InvalidRequest("shard", "must be " + wanted + ", got " + shown(text) + "; " + way_out);
}

}  // namespace

Shard read_shard(const std::string& text) {
  const size_t slash = text.find('/');
  const std::string form = "I/N, as 0/8 to 7/8 for eight shards";
  if (slash == std::string::npos) refuse(form, text, "I is the number of this shard, from 0, and N how many there are");
  const auto index = number_in(std::string_view(text).substr(0, slash)),
             count = number_in(std::string_view(text).substr(slash + 1));
  if (!count || !index || *count < 1 || *count > kMostShards)
    refuse(form, text, "both are whole numbers, and N is from 1 to " + std::to_string(kMostShards));
  if (*index < *count) return {*index, *count};
  const std::string last = std::to_string(*count - 1), of = "/" + std::to_string(*count);
  refuse("from 0" + of + " to " + last + of, text,
         "shards count from 0, as sbatch --array=0-" + last +
             " does, and N is how many shards there are, also where only some of them are run");
}

}  // namespace wan
