#include "engine/residency/loras.h"

#include <algorithm>
#include <filesystem>
#include <set>

#include "engine/base/error.h"
#include "engine/base/text.h"
#include "engine/request/lora_scales.h"
#include "engine/request/params.h"
#include "engine/residency/noise_level.h"
#include "engine/residency/open_network.h"
#include "engine/residency/short_names.h"
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
  const lora::Halves halves = lora::halves_of(lora.path);
  if (halves.both()) return {Network::HighNoise, Network::LowNoise};
  if (halves.low) return {Network::LowNoise};
  const ModelPart part = {lora.path, fs::path(lora.path).filename().string(), ""};
  const std::optional<NoiseLevel> level = noise_level(part);
  if (!level)
    throw InvalidRequest(kField, "must be for an expert, and the name of " + shown_path(lora.path) + " " +
                                     without_level(part) + "; write FILE@high, FILE@low or FILE@both");
  return {*level == NoiseLevel::High ? Network::HighNoise : Network::LowNoise};
}

/// Which part of a file of diffusers for two experts is a transformer's.
std::optional<lora::Half> half_of(Network network) {
  if (network == Network::HighNoise) return lora::Half::High;
  return network == Network::LowNoise ? std::optional(lora::Half::Low) : std::nullopt;
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

/// What multiplies the products of factors at a scale, of a file without them whole differences: "0.125", or "0.125
/// to 1" where modules differ.
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

std::string effective_text(const lora::File& file, const std::vector<double>& strengths) {
  std::string text;
  for (const double strength : strengths) text += (text.empty() ? "" : ", ") + effective_text(file, strength);
  return text;
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

}  // namespace

Log::Fields lora_fields(const lora::File& file, const std::string& name, const std::string& network,
                        const std::vector<double>& scales) {
  return {{"file", shown_text(name)},
          {"network", network},
          {"applied", std::to_string(file.differences().size()) + " of " + std::to_string(file.named())},
          {"exempt", exempt_text(file.exempt())},
          {"unknown", unknown_text(file.unknown())},
          {"scale", scales_text(scales)},
          {"effective", effective_text(file, scales)},
          {"dialect", file.dialect()}};
}

void note_alpha(const lora::File& file, const std::string& name, const char* field, Notes& notes) {
  const auto lacks = [](const lora::Difference& difference) {
    return difference.kind == lora::Kind::LowRank && !difference.alpha;
  };
  if (std::any_of(file.differences().begin(), file.differences().end(), lacks))
    notes.add({field, shown_text(name) + " has no alpha: its factors are taken as they are",
               "a scale of alpha / rank weakens it, where its page names an alpha"});
}

Loras::Loras(const Request& request, const ModelParts& parts) {
  std::vector<fs::path> paths;
  for (const Lora& lora : request.loras) paths.emplace_back(lora.path);
  const std::vector<std::string> names = short_names(paths);
  for (size_t i = 0; i < names.size(); ++i) add(request.loras[i], names[i], request, parts);
}

void Loras::add(const Lora& lora, const std::string& name, const Request& request, const ModelParts& parts) {
  const LoraScales scales(request);
  std::error_code ignored;
  for (const Network network : networks_for(lora, request.task)) {
    std::vector<Use>& uses = uses_[network];
    for (const Use& other : uses)
      if (fs::equivalent(other.file->label(), lora.path, ignored))
        throw InvalidRequest(kField, "must name each file once for a transformer, and " + shown_path(lora.path) +
                                         " comes twice for the " + wan::name(network) + "; add its scales up");
    const int64_t steps = scales.steps(network == Network::HighNoise);
    if (lora.scales.size() > 1 && std::ssize(lora.scales) > steps)
      throw InvalidRequest(kField, "must have no more scales than the " + std::string(wan::name(network)) +
                                       " makes steps (" + std::to_string(steps) + "), and " + shown_path(lora.path) +
                                       " has " + std::to_string(lora.scales.size()) +
                                       "; give one for each step, or fewer");
    const Checkpoint transformer = open_network(network, parts);
    auto file = std::make_shared<const lora::File>(
        lora::File::open(lora.path, transformer.tensors(), {.lax = request.lora_lax, .half = half_of(network)}));
    uses.push_back({std::move(file), name, lora.scales, is_of_other(lora, network)});
  }
}

StepAdapters Loras::in_steps(const Request& request) const {
  if (empty()) return {};
  return [uses = uses_, scales = LoraScales(request)](const Step& step) {
    const bool speech = uses.contains(Network::Speech);
    std::vector<lora::Adapter> adapters;
    const auto found = uses.find(speech ? Network::Speech : step.high ? Network::HighNoise : Network::LowNoise);
    if (found == uses.end()) return adapters;
    for (const Use& use : found->second)
      if (const double strength = scales.at(use.scales, step); strength != 0) adapters.push_back({use.file, strength});
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

lora::BranchWork Loras::work(at::ScalarType compute) const {
  lora::BranchWork most;  // one branch at a time
  for (const auto& [network, uses] : uses_)
    for (const Use& use : uses) {
      const lora::BranchWork work = lora::branch_work(*use.file, compute);
      most = {std::max(most.bytes, work.bytes), std::max(most.values, work.values)};
    }
  return most;
}

double Loras::flops() const {
  double most = 0;
  for (const auto& [network, uses] : uses_) {
    std::vector<std::shared_ptr<const lora::File>> files;
    for (const Use& use : uses) files.push_back(use.file);
    most = std::max(most, lora::attached_flops(files));
  }
  return most;
}

void Loras::check_finite(lora::Reading reading) const {
  std::set<std::pair<std::string, std::string>> seen;  // files, and where one is for two experts, which half of it
  for (const auto& [network, uses] : uses_)
    for (const Use& use : uses)
      if (const auto& all = use.file->differences(); !all.empty())
        if (seen.insert({use.file->label(), all[0].factors.begin()->second}).second) use.file->check_finite(reading);
}

void Loras::tell(const Log& log) const {
  for (const auto& [network, uses] : uses_)
    for (const Use& use : uses) log("lora", lora_fields(*use.file, use.name, name(network), use.scales));
}

void Loras::note(Notes& notes) const {
  for (const auto& [network, uses] : uses_)
    for (const Use& use : uses) {
      if (use.renamed)
        notes.add({kField,
                   shown_text(use.name) + " goes to the " + name(network) + ", and by its name it is for the other",
                   "without @ it goes by its name"});
      note_alpha(*use.file, use.name, kField, notes);
    }
  if (!uses_.contains(Network::Speech)) note_pairs(notes);
}

/// The files of an expert that the other one does not have.
std::vector<const Loras::Use*> Loras::alone_on(Network network, Network other) const {
  std::vector<const Use*> alone;
  if (!uses_.contains(network)) return alone;
  const auto found = uses_.find(other);
  for (const Use& use : uses_.at(network)) {
    std::error_code ignored;
    const auto is_same = [&](const Use& that) {
      return fs::equivalent(that.file->label(), use.file->label(), ignored);
    };
    if (found == uses_.end() || std::none_of(found->second.begin(), found->second.end(), is_same))
      alone.push_back(&use);
  }
  return alone;
}

/// Most LoRAs of two experts are pairs of files.
void Loras::note_pairs(Notes& notes) const {
  std::vector<const Use*> more = alone_on(Network::HighNoise, Network::LowNoise),
                          fewer = alone_on(Network::LowNoise, Network::HighNoise);
  const bool high = more.size() > fewer.size();
  if (!high) std::swap(more, fewer);
  if (more.size() == fewer.size()) return;
  std::vector<std::string> names;
  for (const Use* use : more) names.push_back(shown_text(use->name, 120));
  const std::string changed = name(high ? Network::HighNoise : Network::LowNoise),
                    other = name(high ? Network::LowNoise : Network::HighNoise);
  notes.add({kField,
             either(names, " and ") + (names.size() > 1 ? " go" : " goes") + " to the " + changed + " alone, and " +
                 (fewer.empty() ? "no file" : "of files for one expert only " + std::to_string(fewer.size())) +
                 " to the " + other,
             std::string("the other file of the pair, or FILE@") + (high ? "low" : "high") + ", changes that, too"});
}

}  // namespace wan
