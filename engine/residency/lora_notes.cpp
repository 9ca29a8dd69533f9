// What the log and the notes say of LoRAs.
#include <ATen/core/Tensor.h>

#include <algorithm>
#include <filesystem>

#include "engine/base/text.h"
#include "engine/request/params.h"
#include "engine/residency/loras.h"
#include "models/files/error.h"

namespace wan {

namespace {

namespace fs = std::filesystem;

constexpr const char* kField = "loras";

bool is_zero(const at::Tensor& values) {
  return !values.any().item<bool>();
}

/// Whether a difference is 0 whatever the weight is.
bool is_zero(const lora::File& file, const lora::Difference& difference) {
  if (difference.dora) return false;
  if (difference.kind == lora::Kind::Kronecker) {
    const lora::Kronecker made = file.kronecker(difference, 1);
    const auto zero = [](const at::Tensor& values) { return is_zero(values); };
    return std::any_of(made.first.begin(), made.first.end(), zero) ||
           std::any_of(made.second.begin(), made.second.end(), zero);
  }
  if (const auto factors = file.factors(difference, 1)) return is_zero(factors->up) || is_zero(factors->down);
  return is_zero(file.scaled(difference, 1));
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

/// "198 of 201 keys".
std::string applied_text(const lora::File& file) {
  const size_t applied = file.keys() - file.exempt().size() - file.unknown().size();
  return std::to_string(applied) + " of " + std::to_string(file.keys()) + " keys";
}

}  // namespace

Log::Fields lora_fields(const lora::File& file, const std::string& name, const std::string& network,
                        const std::vector<double>& scales) {
  return {{"file", shown_text(name)},
          {"network", network},
          {"applied", applied_text(file)},
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

void note_zero(const lora::File& file, const std::string& name, const char* field, Notes& notes) {
  const std::vector<lora::Difference>& all = file.differences();
  if (std::all_of(all.begin(), all.end(), [&](const auto& difference) { return is_zero(file, difference); }))
    notes.add({field, shown_text(name) + " changes nothing: its differences are all 0",
               "its training may have failed; take another file"});
}

void Loras::note(Notes& notes) const {
  for (const auto& [network, uses] : uses_)
    for (const Use& use : uses) {
      if (!use.other_by.empty())
        notes.add({kField,
                   shown_text(use.name) + " goes to the " + name(network) + ", and by its " + use.other_by +
                       " it is for the other",
                   "without @ it goes by its " + use.other_by});
      if (use.left_out > 0) note_half(use, network, notes);
      note_alpha(*use.file, use.name, kField, notes);
      note_zero(*use.file, use.name, kField, notes);
    }
  note_left_out(notes);
  if (!uses_.contains(Network::Speech)) note_pairs(notes);
}

/// Nothing where the other half is on its expert by another --lora.
void Loras::note_half(const Use& use, Network network, Notes& notes) const {
  const bool high = network == Network::HighNoise;
  if (const auto found = uses_.find(high ? Network::LowNoise : Network::HighNoise); found != uses_.end())
    for (const Use& other : found->second) {
      std::error_code ignored;
      if (fs::equivalent(other.file->label(), use.file->label(), ignored)) return;
    }
  notes.add({kField,
             shown_text(use.name) + " has parts for both experts, and " + (high ? "@high" : "@low") + " leaves out " +
                 std::to_string(use.left_out) + (use.left_out == 1 ? " key" : " keys") + " of " +
                 (high ? "transformer_2, the low" : "transformer, the high") + "-noise expert's",
             std::string("without ") + (high ? "@high" : "@low") + " both halves go to their experts"});
}

/// One for both experts where they are alike.
void Loras::note_left_out(Notes& notes) const {
  struct Line {
    std::string name, text;
    bool lax;
    std::vector<std::string> networks;
  };
  std::vector<Line> lines;
  for (const auto& [network, uses] : uses_)
    for (const Use& use : uses) {
      const lora::File& file = *use.file;
      if (file.exempt().empty() && file.unknown().empty()) continue;
      Line line{shown_text(use.name, 120),
                "applied " + applied_text(file) + ", exempt " + exempt_text(file.exempt()) + ", unknown " +
                    unknown_text(file.unknown()) + ", effective scale " + effective_text(file, use.scales),
                !file.unknown().empty(),
                {}};
      const auto is_alike = [&](const Line& other) { return other.name == line.name && other.text == line.text; };
      auto at = std::find_if(lines.begin(), lines.end(), is_alike);
      if (at == lines.end()) at = lines.insert(lines.end(), std::move(line));
      at->networks.push_back(wan::name(network));
    }
  for (const Line& line : lines)
    notes.add({kField, line.name + " on the " + either(line.networks, " and the ") + ": " + line.text,
               line.lax ? "without --lora-lax unknown keys refuse the file" : ""});
}

/// The files of an expert that the other one does not have.
std::vector<const Loras::Use*> Loras::alone_on(Network network, Network other) const {
  std::vector<const Use*> alone;
  if (!uses_.contains(network)) return alone;
  const auto found = uses_.find(other);
  for (const Use& use : uses_.at(network)) {
    if (use.left_out > 0) continue;  // told as the half of a file
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
