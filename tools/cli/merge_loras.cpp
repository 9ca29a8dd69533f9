#include "tools/cli/merge_loras.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <set>

#include "engine/base/error.h"
#include "engine/base/text.h"
#include "engine/request/files.h"
#include "engine/request/params.h"
#include "engine/residency/noise_level.h"
#include "models/files/error.h"

namespace wan {

namespace fs = std::filesystem;

namespace {

constexpr const char* kFlag = "merge_lora";

LoraToMerge read_merge(const std::string& word) {
  const size_t colon = word.rfind(':');
  if (colon == std::string::npos || fs::exists(word)) return {word};
  double scale = 0;
  const char *begin = word.data() + colon + 1, *end = word.data() + word.size();
  const auto [rest, error] = std::from_chars(begin, end, scale);
  if (error != std::errc() || rest != end) return {word};
  if (!std::isfinite(scale) || scale == 0)
    throw InvalidRequest(kFlag, "must have a scale that is finite and not 0, got " + shown(word));
  return {word.substr(0, colon), scale};
}

std::string level_text(std::optional<NoiseLevel> level) {
  return !level ? "" : *level == NoiseLevel::High ? "high" : "low";
}

ModelPart part_at(const fs::path& path) {
  return {path, path.filename().string(), ""};
}

/// "exempt 4 (image tokens of Wan 2.1, ...)".
std::string left_out(const lora::File& file) {
  std::string text;
  if (!file.exempt().empty())
    text += ", exempt " + std::to_string(file.exempt().size()) + " keys (" + file.exempt().begin()->second + ")";
  if (file.unknown().empty()) return text;
  text += ", unknown " + std::to_string(file.unknown().size()) + " keys (" + printable(file.unknown()[0]);
  return text + (file.unknown().size() > 1 ? ", ...)" : ")");
}

std::string line_of(const LoraToMerge& lora, const lora::File& file) {
  std::set<double> scales;
  std::set<std::string> modules;
  for (const auto& [key, reason] : file.exempt()) modules.insert(key);
  modules.insert(file.unknown().begin(), file.unknown().end());
  size_t without_alpha = 0;
  for (const lora::Difference& difference : file.differences()) {
    scales.insert(difference.kind == lora::Kind::Full ? 1 : difference.scale);
    without_alpha += difference.kind != lora::Kind::Full && !difference.alpha;
  }
  const size_t applied = file.differences().size();
  std::string text = shown_name(lora.file.string()) + ": applied " + std::to_string(applied) + " of " +
                     std::to_string(applied + modules.size()) + left_out(file) + ", scale " + number_text(lora.scale);
  std::string effective;
  for (double scale : scales) effective += (effective.empty() ? "" : ", ") + number_text(lora.scale * scale);
  if (!effective.empty()) text += ", effective " + effective;
  return text + (without_alpha > 0 ? ", no alpha in " + std::to_string(without_alpha) : "");
}

}  // namespace

std::vector<LoraToMerge> read_merges(const std::vector<std::string>& words) {
  std::vector<LoraToMerge> loras;
  for (const std::string& word : words) {
    LoraToMerge lora = read_merge(word);
    check_readable(kFlag, lora.file.string());
    std::error_code ignored;
    for (const LoraToMerge& other : loras)
      if (fs::equivalent(other.file, lora.file, ignored))
        throw InvalidRequest(kFlag, "must name each file once, has " + shown_path(lora.file.string()) +
                                        " twice; give it one scale");
    loras.push_back(std::move(lora));
  }
  return loras;
}

MergedLoras::MergedLoras(const std::vector<LoraToMerge>& loras, const Checkpoint& base, const fs::path& path, bool lax,
                         Notes& notes)
    : loras_(loras) {
  const std::string expert = level_text(noise_level(part_at(path)));
  for (const LoraToMerge& lora : loras_) {
    files_.push_back(lora::File::open(lora.file, base.tensors(), {.lax = lax}));
    lines_.push_back(line_of(lora, files_.back()));
    const std::string level = level_text(noise_level(part_at(lora.file)));
    if (!expert.empty() && !level.empty() && level != expert)
      notes.add({kFlag, shown_name(lora.file.string()) + " is for the " + level + "-noise expert by its name, and IN is the " +
                            expert + "-noise one",
                 "name the " + expert + "-noise LoRA"});
  }
}

std::vector<convert::Merge> MergedLoras::merges() const {
  std::vector<convert::Merge> merges;
  for (size_t i = 0; i < files_.size(); ++i) merges.push_back({&files_[i], loras_[i].scale});
  return merges;
}

std::string MergedLoras::record() const {
  nlohmann::ordered_json list = nlohmann::ordered_json::array();
  for (const LoraToMerge& lora : loras_) list.push_back({{"name", lora.file.filename().string()}, {"scale", lora.scale}});
  return list.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

}  // namespace wan
