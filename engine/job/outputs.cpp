#include "engine/job/outputs.h"

#include <filesystem>
#include <nlohmann/json.hpp>
#include <utility>

#include "engine/base/error.h"
#include "engine/base/text.h"
#include "engine/media/metadata.h"

namespace wan {

namespace {

namespace fs = std::filesystem;

/// What a record says but for the attention, the blocks that it left out and the VAE's tiles, which follow from the
/// card, the steps that reused a residual, which follow from the request, the expanded prompt, which a language server
/// made, and the notes, which follow from the inputs.
nlohmann::json comparable(Record record, uint64_t seed) {
  record.request.seed = seed;
  record.attention.clear();
  record.skipped = {};
  record.reused_steps.clear();
  record.vae_tiles = {};
  record.drawing = {};
  record.expanded_prompt.clear();
  record.safety = {};
  record.notes.clear();
  record.quality.reset();
  record.quality_first.reset();
  for (FileIdentity& file : record.files) file.rule.clear();  // found in another way, it is the same file
  return nlohmann::json::parse(to_text(record));
}

// The note of a work folder whose run shows a preview.
constexpr const char *kPreview = "preview", *kFile = "file";

std::string whole_path(const std::string& path) {
  return fs::absolute(path).lexically_normal().string();
}

}  // namespace

std::optional<uint64_t> finished_seed(const std::string& out, const Record& record) {
  try {
    Record made = parse_record(read_metadata({out, "out"}), "out");
    if (made.asked) {  // a second render: what was asked for counts, and not what it then computed with
      made.request = *std::exchange(made.asked, std::nullopt);
      made.vae_dtype = record.vae_dtype;
      made.rotation = record.rotation;
    }
    const uint64_t seed = record.request.seed;
    if (record.request.seed_given && made.request.seed != seed) return std::nullopt;
    if (comparable(made, seed) != comparable(record, seed)) return std::nullopt;
    return made.request.seed;
  } catch (const InvalidRequest&) {
    return std::nullopt;
  }
}

void check_beside(const std::string& field, const std::string& file, bool overwrite) {
  if (!file.empty() && !overwrite && fs::exists(fs::symlink_status(file)))
    throw InvalidRequest(field, "must not be there already: " + shown_path(file) + "; --overwrite replaces it");
}

void check_preview(const std::string& preview, bool overwrite, const fs::path& work) {
  if (preview.empty() || overwrite || !fs::exists(fs::symlink_status(preview))) return;
  const auto note = WorkFolder::peek(work, kPreview);
  if (note && note->is_object() && note->value(kFile, nlohmann::json()) == whole_path(preview)) return;
  throw InvalidRequest("preview", "must not be there already: " + shown_path(preview) + "; --overwrite replaces it");
}

void note_preview(const std::string& preview, WorkFolder& work) {
  if (!preview.empty()) work.note(kPreview, {{kFile, whole_path(preview)}});
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
