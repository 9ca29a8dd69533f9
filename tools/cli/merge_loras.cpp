#include "tools/cli/merge_loras.h"

#include "engine/base/error.h"
#include "engine/base/text.h"
#include "engine/request/files.h"
#include "engine/request/params.h"
#include "engine/request/values.h"
#include "engine/residency/identity.h"
#include "engine/residency/loras.h"
#include "engine/residency/noise_level.h"
#include "models/files/error.h"
#include "models/files/mapped_file.h"
#include "models/weights/format/format.h"

namespace wan {

namespace fs = std::filesystem;

namespace {

constexpr const char* kField = "merge_lora";  // told as its flag
constexpr const char* kFlag = "--merge-lora";

std::string level_text(const fs::path& path) {
  const auto level = noise_level({path, path.filename().string(), ""});
  return !level ? "" : *level == NoiseLevel::High ? "high" : "low";
}

std::string name_of(const Lora& lora) {
  return fs::path(lora.path).filename().string();
}

}  // namespace

std::vector<Lora> read_merges(const std::vector<std::string>& words) {
  std::vector<Lora> loras = read_loras(*find_parameter("loras"), words, /*text=*/true);
  for (const Lora& lora : loras) {
    check_lora_file(kField, lora);
    if (lora.scales.size() != 1 || lora.scales[0] == 0)
      throw InvalidRequest(kField,
                           "must have one scale that is not 0, as FILE:0.5; scales for runs of steps go with --lora");
    if (!lora.transformer.empty())
      throw InvalidRequest(
          kField, "must be FILE or FILE:SCALE, got @" + lora.transformer + ": IN is the one network it is for");
    std::error_code ignored;
    for (const Lora* other = loras.data(); other != &lora; ++other)
      if (fs::equivalent(other->path, lora.path, ignored))
        throw InvalidRequest(kField,
                             "must name each file once, has " + shown_path(lora.path) + " twice; give it one scale");
  }
  return loras;
}

MergedLoras::MergedLoras(const std::vector<Lora>& loras, const Checkpoint& base, const fs::path& path, bool lax,
                         Notes& notes)
    : loras_(loras) {
  const std::string expert = level_text(path);
  for (const Lora& lora : loras_) {
    std::optional<lora::Half> half;
    if (!expert.empty()) half = expert == "high" ? lora::Half::High : lora::Half::Low;
    files_.push_back(lora::File::open(lora.path, base.tensors(), {.lax = lax, .half = half}));
    const std::string level = level_text(lora.path);
    if (!expert.empty() && !level.empty() && level != expert)
      notes.add({kFlag,
                 shown_text(name_of(lora)) + " is for the " + level + "-noise expert by its name, and IN is the " +
                     expert + "-noise one",
                 "name the " + expert + "-noise LoRA"});
    if (const size_t all = read_tensors(MappedFile::open(lora.path)).size(), own = files_.back().keys(); own < all)
      notes.add({kFlag,
                 shown_text(name_of(lora)) + " has parts for both experts, and " + std::to_string(all - own) +
                     " of its keys, those for the other one, are left out",
                 "fold it into the other expert, too"});
    note_alpha(files_.back(), name_of(lora), kFlag, notes);
    note_zero(files_.back(), name_of(lora), kFlag, notes);
    IdentityCache cache;
    digests_.push_back(identify({{lora.path, name_of(lora), kLoraPart, ""}}, cache).at(0).digest);
  }
}

void MergedLoras::tell(const Log& log) const {
  for (size_t i = 0; i < files_.size(); ++i)
    log("lora", lora_fields(files_[i], name_of(loras_[i]), "IN", loras_[i].scales));
}

std::vector<convert::Merge> MergedLoras::merges() const {
  std::vector<convert::Merge> merges;
  for (size_t i = 0; i < files_.size(); ++i) merges.push_back({&files_[i], loras_[i].scales[0]});
  return merges;
}

std::string MergedLoras::record() const {
  nlohmann::ordered_json list = nlohmann::ordered_json::array();
  for (size_t i = 0; i < loras_.size(); ++i)
    list.push_back({{"name", name_of(loras_[i])}, {"digest", digests_[i]}, {"scale", loras_[i].scales[0]}});
  return list.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

}  // namespace wan
