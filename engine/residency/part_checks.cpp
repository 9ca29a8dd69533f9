#include "engine/residency/part_checks.h"

#include "engine/request/params.h"
#include "engine/residency/noise_level.h"
#include "engine/residency/part_kinds.h"
#include "engine/residency/part_paths.h"
#include "models/weights/format/layout.h"

namespace wan {

namespace fs = std::filesystem;

namespace {

/// The files of a part; none where its folder cannot be told.
std::vector<fs::path> files_of(const fs::path& part) {
  if (!is_folder(part)) return {part};
  try {
    return checkpoint_layout(part).weights;
  } catch (const ModelError&) {
    return {};
  }
}

/// A note where an expert's file has the other expert's name, and its place says which one it is; empty otherwise.
std::string contrary_name(Network network, const ModelPart& part) {
  const auto wanted = level_of(network);
  if (!wanted) return "";
  const bool folder = is_folder(part.path);
  for (const fs::path& file : files_of(part.path)) {
    const std::string own = folder ? part.name + "/" + file.filename().string() : part.name;
    const auto says = noise_level({file, own, ""});
    if (says && says != wanted)
      return shown_text(own, 120) + " is taken as the " + name(network) + " by its folder, and its name says " +
             (says == NoiseLevel::High ? "high" : "low") + " noise: are the experts swapped?";
  }
  return "";
}

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
    const std::vector<fs::path> files = files_of(part.path);
    const bool lora = file.network.other == Other::Lora && files.size() == 1;  // it is one file, also in a folder
    verdict.error = ModelError((lora ? files[0] : part.path).string(), is_another(network, task, file, by_name));
  } else if (by_name) {
    judge_name(network, part, verdict);
  }
  // Of a file that the user named, judge_name has looked at the name.
  if (!verdict.error && !file.broken && (!by_name || is_folder(part.path)))
    if (std::string remark = contrary_name(network, part); !remark.empty()) verdict.remarks.push_back(remark);
  return verdict;
}

}  // namespace wan
