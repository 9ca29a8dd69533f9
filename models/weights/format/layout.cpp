#include "models/weights/format/layout.h"

#include <algorithm>
#include <cstdio>
#include <map>
#include <optional>
#include <string>

#include "models/files/error.h"
#include "models/files/foreign.h"
#include "models/weights/format/shards.h"

namespace wan {
namespace {

namespace fs = std::filesystem;

constexpr const char* kNames[] = {"diffusion_pytorch_model.safetensors.index.json",
                                  "diffusion_pytorch_model.safetensors", "model.safetensors.index.json",
                                  "model.safetensors", "pytorch_model.bin"};

/// NAME-00001-of-00002.safetensors.
struct Shard {
  std::string family;  // NAME
  int number, count;

  std::string name(int other) const {
    char numbers[32];
    std::snprintf(numbers, sizeof numbers, "-%05d-of-%05d", other, count);
    return family + numbers + ".safetensors";
  }
};

std::optional<Shard> shard_of(const std::string& name) {
  constexpr size_t kNumbers = sizeof "-00001-of-00002.safetensors" - 1;
  if (name.size() <= kNumbers) return {};
  const std::string family = name.substr(0, name.size() - kNumbers), numbers = name.substr(family.size());
  int number = 0, count = 0;
  if (std::sscanf(numbers.c_str(), "-%5d-of-%5d", &number, &count) != 2 || number < 1 || count < 1) return {};
  const Shard shard{family, number, count};
  return shard.name(number) == name ? std::optional(shard) : std::nullopt;
}

/// Visible files of a folder with this extension, by name.
std::vector<fs::path> files_with(const fs::path& folder, const char* extension) {
  std::vector<fs::path> files;
  std::error_code error;
  for (fs::directory_iterator entry(folder, error), end; !error && entry != end; entry.increment(error)) {
    std::error_code ignored;
    if (entry->path().extension() == extension && !is_hidden(entry->path()) && !entry->is_directory(ignored))
      files.push_back(entry->path());
  }
  std::sort(files.begin(), files.end());
  return files;
}

/// Visible .safetensors files of a folder, or its .gguf files where it has none of those.
std::vector<fs::path> weights_of(const fs::path& folder) {
  std::vector<fs::path> files = files_with(folder, ".safetensors");
  return files.empty() ? files_with(folder, ".gguf") : files;
}

/// All files of a family; those that are absent are told.
std::vector<fs::path> family_of(const fs::path& folder, const Shard& first) {
  std::vector<fs::path> files;
  std::error_code error;
  for (int number = 1; number <= first.count; ++number) {
    files.push_back(folder / first.name(number));
    if (fs::exists(fs::symlink_status(files.back(), error))) continue;
    const std::string unfinished = unfinished_download(files.back());
    throw ModelError(files.back().string(), "is absent, and other shards of it are there; download it" +
                                                (unfinished.empty() ? "" : ": " + unfinished + " is unfinished"));
  }
  return files;
}

/// Without any of the names: one family of shards, or the only file.
std::vector<fs::path> unnamed(const fs::path& folder) {
  std::vector<fs::path> single;
  std::map<std::string, Shard> families;  // by their first file
  for (const fs::path& file : weights_of(folder)) {
    if (const auto shard = shard_of(file.filename().string()))
      families.emplace(shard->name(1), *shard);
    else
      single.push_back(file);
  }
  const auto refuse_several = [&](const std::string& one, const std::string& other) {
    throw ModelError(folder.string(), "must hold one network, holds " + shown_text(one, 100) + " and " +
                                          shown_text(other, 100) + " without an index; move one away");
  };
  if (families.size() > 1) refuse_several(families.begin()->first, std::next(families.begin())->first);
  if (families.size() == 1) return family_of(folder, families.begin()->second);
  if (single.size() > 1) refuse_several(single[0].filename().string(), single[1].filename().string());
  return single;
}

/// The first of the names that is there, and be it a link to nothing.
fs::path named(const fs::path& folder) {
  std::error_code error;
  for (const char* name : kNames)
    if (fs::exists(fs::symlink_status(folder / name, error))) return folder / name;
  return {};
}

}  // namespace

bool is_hidden(const fs::path& file) {
  return file.filename().string().starts_with('.');
}

bool is_shard(const fs::path& file) {
  return shard_of(file.filename().string()).has_value();
}

CheckpointLayout checkpoint_layout(const fs::path& folder) {
  const fs::path found = named(folder);
  if (found.empty()) return {{}, unnamed(folder)};
  if (found.extension() == ".json") return {found, shards_of(found)};
  return {{}, {found}};
}

bool holds_checkpoint(const fs::path& folder) {
  if (!named(folder).empty()) return true;
  const std::vector<fs::path> files = weights_of(folder);
  std::error_code error;
  return std::any_of(files.begin(), files.end(), is_shard) ||
         (files.size() == 1 && fs::exists(folder / "config.json", error));
}

}  // namespace wan
