#include "engine/request/machine_words.h"

#include <optional>
#include <vector>

#include "engine/base/error.h"
#include "engine/base/text.h"
#include "engine/base/units.h"
#include "engine/request/known_cards.h"

namespace wan {

namespace {

constexpr uint64_t kLeastCard = 1'000'000'000, kMostMemory = 10'000'000'000'000;
constexpr uint64_t kLeastHost = 1'000'000'000;
constexpr double kLeastRate = 1e6, kMostRate = 10e12;

std::string card_names() {
  std::vector<std::string> names;
  for (const Card& card : known_cards()) names.push_back(card.name);
  return either(names);
}

void check_size(const char* field, const std::string& text, uint64_t least, std::vector<FieldError>& errors) {
  if (text.empty()) return;
  const std::optional<uint64_t> size = read_size(text);
  if (size && *size >= least && *size <= kMostMemory) return;
  errors.push_back({field,
                    "must be a size from " + gigabytes(least) + " to 10 TB, got " + shown(text) +
                        "; 24GB is 24 * 10^9 bytes, 24GiB is 24 * 2^30",
                    "value_error", "", text});
}

void check_rate(const char* field, const std::string& text, const char* example, std::vector<FieldError>& errors) {
  if (text.empty()) return;
  const std::optional<double> rate = read_rate(text);
  if (rate && *rate >= kLeastRate && *rate <= kMostRate) return;
  errors.push_back(
      {field, "must be a speed from 1MB/s to 10TB/s, got " + shown(text) + "; " + example, "value_error", "", text});
}

void check_gpu(const std::string& text, std::vector<FieldError>& errors) {
  if (text.empty() || card_named(text)) return;
  if (read_size(text)) return check_size("gpu", text, kLeastCard, errors);
  errors.push_back(
      {"gpu", "must be a size such as 24GB, or " + card_names() + ", got " + shown(text), "value_error", "", text});
}

}  // namespace

void check_words(const MachineWords& words) {
  std::vector<FieldError> errors;
  check_gpu(words.gpu, errors);
  check_size("host", words.host, kLeastHost, errors);
  check_rate("link", words.link, "25GB/s is what PCIe 4 with 16 lanes reaches", errors);
  check_rate("disk", words.disk, "3GB/s is what a disk on PCIe 3 reaches", errors);
  if (!errors.empty()) throw InvalidRequest(errors);
}

}  // namespace wan
