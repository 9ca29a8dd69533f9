#include "engine/residency/loras.h"

#include <algorithm>
#include <filesystem>
#include <set>

#include "engine/base/error.h"
#include "engine/base/text.h"
#include "engine/request/params.h"
#include "engine/residency/noise_level.h"
#include "engine/residency/open_network.h"
#include "models/files/error.h"

namespace wan {

namespace {

namespace fs = std::filesystem;

constexpr const char* kField = "loras";

/// The transformers that a LoRA is for.
std::vector<Network> networks_for(const Lora& lora, Task task) {
  if (task == Task::S2V) return {Network::Speech};
  if (lora.transformer == "both") return {Network::HighNoise, Network::LowNoise};
  if (lora.transformer == "high") return {Network::HighNoise};
  if (lora.transformer == "low") return {Network::LowNoise};
  const std::optional<NoiseLevel> level = noise_level({lora.path, fs::path(lora.path).filename().string(), ""});
  if (!level)
    throw InvalidRequest(kField, "must be for an expert, and the name of " + shown_path(lora.path) +
                                     " says neither high nor low; FILE@high, FILE@low or FILE@both says it");
  return {*level == NoiseLevel::High ? Network::HighNoise : Network::LowNoise};
}

/// Whether the name of a file is that of the other expert.
bool is_of_other(const Lora& lora, Network network) {
  if (lora.transformer.empty() || lora.transformer == "both") return false;
  const auto level = noise_level({lora.path, fs::path(lora.path).filename().string(), ""});
  return level && level_of(network) && level != level_of(network);
}

std::string scales_text(const std::vector<double>& scales) {
  std::string text;
  for (const double scale : scales) text += (text.empty() ? "" : ",") + number_text(scale);
  return text;
}

/// What multiplies the products of factors at a scale, of a file without them whole differences: "0.125", or "0.125 to 1"
/// where modules differ.
std::string effective_text(const lora::File& file, double strength) {
  const auto is_whole = [](const lora::Difference& difference) { return difference.kind == lora::Kind::Full; };
  const std::vector<lora::Difference>& all = file.differences();
  const bool no_factors = std::all_of(all.begin(), all.end(), is_whole);
  double least = 0, most = 0;
  bool any = false;
  for (const lora::Difference& difference : all) {
    if (is_whole(difference) && !no_factors) continue;
    least = any ? std::min(least, difference.scale) : difference.scale;
    most = any ? std::max(most, difference.scale) : difference.scale;
    any = true;
  }
  const std::string first = number_text(strength * least), last = number_text(strength * most);
  return first == last ? first : first + " to " + last;
}

/// "12 (why), 3 (why)" of keys that are left out; "0" for none.
std::string exempt_text(const std::map<std::string, std::string>& exempt) {
  std::map<std::string, size_t> reasons;
  for (const auto& [key, reason] : exempt) ++reasons[reason];
  std::string text;
  for (const auto& [reason, count] : reasons)
    text += (text.empty() ? "" : ", ") + std::to_string(count) + " (" + reason + ")";
  return text.empty() ? "0" : text;
}

std::string unknown_text(const std::vector<std::string>& unknown) {
  constexpr size_t kShown = 3;
  std::string text = std::to_string(unknown.size());
  for (size_t i = 0; i < std::min(unknown.size(), kShown); ++i) text += (i ? ", " : " (") + shown_text(unknown[i]);
  return unknown.empty() ? text : text + (unknown.size() > kShown ? ", ...)" : ")");
}

/// Whether a low-rank difference of the file has no alpha.
bool lacks_alpha(const lora::File& file) {
  return std::any_of(file.differences().begin(), file.differences().end(), [](const lora::Difference& difference) {
    return difference.kind == lora::Kind::LowRank && !difference.alpha;
  });
}

}  // namespace

Log::Fields lora_fields(const lora::File& file, const std::string& name, const std::string& network,
                        const std::vector<double>& scales) {
  return {{"file", shown_text(name)},
          {"network", network},
          {"applied", std::to_string(file.differences().size()) + " of " + std::to_string(file.named())},
          {"exempt", exempt_text(file.exempt())},
          {"unknown", unknown_text(file.unknown())},
          {"scale", scales_text(scales)},
          {"effective", effective_text(file, scales[0])},
          {"dialect", file.dialect()}};
}

Loras::Loras(const Request& request, const ModelParts& parts) {
  for (const Lora& lora : request.loras) add(lora, networks_for(lora, request.task), parts, request.lora_lax);
}

void Loras::add(const Lora& lora, const std::vector<Network>& networks, const ModelParts& parts, bool lax) {
  std::error_code ignored;
  for (const Network network : networks) {
    std::vector<Use>& uses = uses_[network];
    for (const Use& other : uses)
      if (fs::equivalent(other.file->label(), lora.path, ignored))
        throw InvalidRequest(kField, "must name each file once for a transformer, and " + shown_path(lora.path) +
                                         " comes twice for the " + name(network) + "; add its scales up");
    const Checkpoint transformer = open_network(network, parts);
    auto file = std::make_shared<const lora::File>(lora::File::open(lora.path, transformer.tensors(), {.lax = lax}));
    uses.push_back({std::move(file), fs::path(lora.path).filename().string(), lora.scales, is_of_other(lora, network)});
  }
}

StepAdapters Loras::in_steps(const Schedule& schedule) const {
  if (empty()) return {};
  return [uses = uses_, &schedule](const Step& step) {
    const bool speech = uses.contains(Network::Speech);
    const auto own = [&](const Step& other) { return speech || other.high == step.high; };
    const auto count = size_t(std::count_if(schedule.begin(), schedule.end(), own));
    const auto before = size_t(std::count_if(
        schedule.begin(), schedule.end(), [&](const Step& other) { return own(other) && other.index < step.index; }));
    std::vector<lora::Adapter> adapters;
    const auto found = uses.find(speech ? Network::Speech : step.high ? Network::HighNoise : Network::LowNoise);
    if (found == uses.end()) return adapters;
    for (const Use& use : found->second) {
      const double strength = use.scales[before * use.scales.size() / count];
      if (strength != 0) adapters.push_back({use.file, strength});
    }
    return adapters;
  };
}

uint64_t Loras::bytes(at::ScalarType compute) const {
  uint64_t most = 0;
  for (const auto& [network, uses] : uses_) {
    uint64_t bytes = 0;
    for (const Use& use : uses) bytes += lora::attached_bytes(*use.file, compute);
    most = std::max(most, bytes);
  }
  return most;
}

double Loras::flops() const {
  double most = 0;
  for (const auto& [network, uses] : uses_) {
    double flops = 0;
    for (const Use& use : uses) flops += lora::attached_flops(*use.file);
    most = std::max(most, flops);
  }
  return most;
}

void Loras::check_finite() const {
  std::set<std::string> seen;
  for (const auto& [network, uses] : uses_)
    for (const Use& use : uses)
      if (seen.insert(use.file->label()).second) use.file->check_finite();
}

void Loras::tell(const Log& log) const {
  for (const auto& [network, uses] : uses_)
    for (const Use& use : uses) log("lora", lora_fields(*use.file, use.name, name(network), use.scales));
}

void Loras::note(Notes& notes) const {
  for (const auto& [network, uses] : uses_)
    for (const Use& use : uses) {
      if (use.renamed)
        notes.add({kField, shown_text(use.name) + " goes to the " + name(network) + ", and its name says the other",
                   "without @ it goes where its name says"});
      if (lacks_alpha(*use.file))
        notes.add({kField, shown_text(use.name) + " says no alpha: its factors are taken as they are",
                   "a scale of alpha / rank weakens it, where its maker names one"});
    }
  const bool high = uses_.contains(Network::HighNoise), low = uses_.contains(Network::LowNoise);
  if (high == low) return;
  const Network changed = high ? Network::HighNoise : Network::LowNoise,
                plain = high ? Network::LowNoise : Network::HighNoise;
  const std::vector<Use>& uses = uses_.at(changed);
  notes.add({kField,
             std::string(uses.size() > 1 ? "all go" : "it goes") + " to the " + name(changed) + ", and the " +
                 name(plain) + " has none",
             std::string("the other file of the pair, or FILE@") + (high ? "low" : "high") + ", changes that, too"});
}

}  // namespace wan
