#include "engine/job/outputs.h"

#include <filesystem>
#include <nlohmann/json.hpp>

#include "engine/base/error.h"
#include "engine/job/work_folder.h"
#include "engine/media/metadata.h"

namespace wan {

namespace {

namespace fs = std::filesystem;

/// What a record says but for the attention, which follows from the card, the notes, which follow from the inputs, and
/// the content of URLs, which is not known before they are fetched.
nlohmann::json comparable(Record record, uint64_t seed, const InputIdentities& known) {
  record.request.seed = seed;
  record.attention.clear();
  record.notes.clear();
  std::erase_if(record.inputs, [&](const auto& input) { return !known.contains(input.first); });
  return nlohmann::json::parse(to_text(record));
}

}  // namespace

std::optional<uint64_t> finished_seed(const std::string& out, const Record& record) {
  try {
    const Record made = parse_record(read_metadata({out, "out"}), "out");
    const uint64_t seed = record.request.seed;
    if (record.request.seed_given && made.request.seed != seed) return std::nullopt;
    if (comparable(made, seed, record.inputs) != comparable(record, seed, record.inputs)) return std::nullopt;
    return made.request.seed;
  } catch (const InvalidRequest&) {
    return std::nullopt;
  }
}

std::string free_name(const std::string& out) {
  const fs::path path = out;
  for (int64_t number = 1;; ++number) {
    const std::string stem = path.stem().string() + (number == 1 ? "" : "-" + std::to_string(number));
    const fs::path name = path.parent_path() / (stem + path.extension().string());
    if (!fs::exists(name) && !fs::exists(WorkFolder::beside(name))) return name.string();
  }
}

}  // namespace wan
