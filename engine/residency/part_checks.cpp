#include "engine/residency/part_checks.h"

#include "engine/request/params.h"
#include "engine/residency/noise_level.h"
#include "engine/residency/part_kinds.h"

namespace wan {

namespace fs = std::filesystem;

namespace {

/// What is said of another network than the part.
std::string is_another(Network network, Task task, const RecognisedFile& file, bool by_name) {
  const std::string must = std::string("must be ") + kind_of(network, task).words + " as the " + name(network) +
                           " of " + task_name(task) + ", is";
  const std::string way = by_name ? flag_of(network) : "--model";
  if (file.network.other == Other::Lora)
    return must + " a LoRA, which changes a network and is none; --lora applies it; " + way + " names a checkpoint";
  return must + ": " + file.network.name + "; " + way + " names another";
}

/// Judges an expert that the user named by the words of its name.
void judge_name(Network network, const ModelPart& part, PartVerdict& verdict) {
  const auto wanted = level_of(network);
  if (!wanted) return;
  const auto says = noise_level(part);
  if (says == wanted) return;
  const std::string taken = shown_text(part.name, 120) + " is taken as the " + name(network) + " as asked: ";
  if (says_both(part))
    verdict.remarks.push_back(taken + "its name says both high and low noise");
  else if (!says)
    verdict.remarks.push_back(taken +
                              "neither its tensors nor its name tell which expert it is, or whether it is of Wan 2.1");
  else
    verdict.error =
        ModelError(part.path.string(),
                   std::string("must be the ") + name(network) + ", is named as the other one; " +
                       flag_of(*wanted == NoiseLevel::High ? Network::LowNoise : Network::HighNoise) + " takes it");
}

}  // namespace

fs::path part_inside(const fs::path& folder, Network network) {
  std::error_code ignored;
  for (const auto places : {official_places(), diffusers_places()})
    for (const UsualPlace& place : places)
      if (place.network == network && place.path != std::string(".") && fs::exists(folder / place.path, ignored))
        return folder / place.path;
  return {};
}

PartVerdict judge(Network network, Task task, const ModelPart& part, const RecognisedFile& file, bool by_name) {
  PartVerdict verdict;
  const bool other = !file.broken && file.network.model != kind_of(network, task).model;
  const fs::path inside = by_name ? part_inside(part.path, network) : fs::path();
  if ((other || file.broken) && !inside.empty()) {
    verdict.error =
        ModelError(part.path.string(), std::string("must be the ") + name(network) +
                                           ", is the folder of a whole model; " + flag_of(network) + " " +
                                           shown_name(inside.string(), true) + " names the part, --model the whole");
  } else if (other) {
    verdict.other = true;
    verdict.error = ModelError(part.path.string(), is_another(network, task, file, by_name));
  } else if (by_name) {
    judge_name(network, part, verdict);
  }
  return verdict;
}

}  // namespace wan
