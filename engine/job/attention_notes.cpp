#include "engine/job/attention_notes.h"

#include <algorithm>

#include "models/files/error.h"

namespace wan {

std::set<std::string> drop_unknown(AttentionChoices& choices) {
  std::set<std::string> unknown;
  std::erase_if(choices, [&](const auto& choice) {
    const auto& [wanted, name] = choice;
    const bool known = wanted == kernels::kEightBits || name == "reference" ||
                       (kernels::is_of_8_bits(wanted) ? name == kernels::kFloatSums || name == kernels::kHalfSums
                                                      : std::count(kernels::kAttentionBackends.begin(),
                                                                   kernels::kAttentionBackends.end(), name) > 0);
    if (!known) unknown.insert(name);
    return !known;
  });
  return unknown;
}

void leave_out_unknown(AttentionChoices& choices, at::Device device, Notes& notes) {
  for (const std::string& name : drop_unknown(choices))
    if (device.is_cuda())
      notes.add({"attention", "'" + shown_text(name) +
                                  "' computed a part of it, and this version does not have that: where it is needed, "
                                  "another is chosen, and last bits may differ"});
}

void AttentionNotes::pin(const Placement& placement, const std::string& name,
                         const std::map<std::string, std::string>& replayed, Notes& notes) {
  std::map<std::string, std::string> choices = noted(name);
  choices.insert(replayed.begin(), replayed.end());
  choices.insert(used_.begin(), used_.end());
  leave_out_unknown(choices, placement.device, notes);
  placement.context->pin(choices);
}

void AttentionNotes::note(const Placement& placement, const std::string& name) {
  std::map<std::string, std::string> all = placement.context->choices();
  used_.insert(all.begin(), all.end());
  const std::map<std::string, std::string> before = noted(name);
  all.insert(before.begin(), before.end());
  if (all == before) return;
  const nlohmann::json* known = folder_.find(name);
  nlohmann::json fields = known ? *known : nlohmann::json::object();
  fields["attention"] = all;
  folder_.note(name, fields);
}

std::map<std::string, std::string> AttentionNotes::noted(const std::string& name) const {
  const nlohmann::json* known = folder_.find(name);
  if (!known || !known->contains("attention")) return {};
  return known->at("attention").get<std::map<std::string, std::string>>();
}

}  // namespace wan
