#include "engine/residency/find_tokenizer.h"

#include "engine/residency/part_kinds.h"
#include "engine/residency/part_paths.h"
#include "engine/residency/tokenizer_places.h"
#include "models/text/tokenizer/source.h"
#include "models/weights/checkpoint.h"

namespace wan {

namespace fs = std::filesystem;

namespace {

bool holds_one(const fs::path& folder) {
  return is_there(folder / "tokenizer.json") || is_there(folder / "spiece.model");
}

/// Whether a folder, which may hold one, cannot be looked into.
bool is_closed(const fs::path& folder) {
  return !closed_to_us(folder / "tokenizer.json").empty();
}

class Search {
 public:
  TokenizerSearch run(const std::optional<ModelPart>& named, const fs::path& root, const ModelPart* encoder) {
    if (named) {
      found_.part = *named;
      check_named(named->path);
    } else if (!look_around(root, encoder) && !look_inside(encoder) && closed_) {
      refuse_closed(*closed_);
    }
    return std::move(found_);
  }

 private:
  void refuse(const fs::path& about, const std::string& what) { found_.errors.emplace_back(about.string(), what); }

  void refuse_closed(const fs::path& folder) {
    refuse(folder, "must be the tokenizer's folder, cannot be looked into: " + closed_to_us(folder / "tokenizer.json") +
                       ", or --tokenizer names another");
  }

  void check_named(const fs::path& path) {
    if (is_there(path) && is_closed(path)) return refuse_closed(path);
    if (holds_one(path)) return note_two();
    for (const char* inside : {kOfficialTokenizer, kDiffusersTokenizer})
      if (holds_one(path / inside))
        refuse(path, "must be the tokenizer's folder, is that of a whole model; --tokenizer " +
                         shown_name((path / inside).string(), true) + " names it");
  }

  /// Of a folder with both files the taken one is told, but not of the published folder, which has both, wherever it
  /// lies.
  void note_two() {
    const auto& [path, label, rule] = *found_.part;
    if (path.filename() == fs::path(kOfficialTokenizer).filename() || !is_there(path / "tokenizer.json") ||
        !is_there(path / "spiece.model"))
      return;
    found_.remarks.push_back(shown_text(label, 120) +
                             " holds tokenizer.json and spiece.model: tokenizer.json is taken");
  }

  /// Whether one lies at its place.
  bool look_around(const fs::path& root, const ModelPart* encoder) {
    std::vector<fs::path> encoders;
    if (encoder) encoders.push_back(encoder->path);
    for (const auto& [path, rule] : tokenizer_places(root, encoders)) {
      if (!closed_ && is_closed(path)) closed_ = path;
      if (!holds_one(path)) continue;
      found_.part = ModelPart{path, name_in(root, path), rule};
      note_two();
      return true;
    }
    return false;
  }

  /// Whether the text encoder holds one, or what is wrong with that file is told.
  bool look_inside(const ModelPart* encoder) {
    if (!encoder) return false;
    try {
      const auto inside =
          text::tokenizer_source(Checkpoint::open(encoder->path));  // what is wrong in it check_model tells
      if (!inside) return false;
      if (!inside->assumed.empty()) found_.remarks.push_back(inside->from + ": " + inside->assumed);
      found_.part = ModelPart{encoder->path, encoder->name, "inside the text encoder"};
    } catch (const ModelError& error) {
      found_.errors.push_back(error);
    }
    return true;
  }

  TokenizerSearch found_;
  std::optional<fs::path> closed_;  // the first place that nobody may look into
};

}  // namespace

TokenizerSearch find_tokenizer(const std::optional<ModelPart>& named, const fs::path& root, const ModelPart* encoder) {
  return Search().run(named, root, encoder);
}

}  // namespace wan
