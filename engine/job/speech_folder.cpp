#include "engine/job/speech_folder.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cstdio>
#include <vector>

#include "models/weights/checkpoint.h"
#include "models/weights/format/safetensors.h"

namespace wan {

namespace {

namespace fs = std::filesystem;

constexpr const char* kPiece = ".mp4";
constexpr const char* kMotion = ".motion.safetensors";
constexpr const char* kLatents = ".safetensors";
constexpr const char* kState = ".sampling.safetensors";
constexpr const char* kPrefix = "clip-";

/// What a file's name has behind the number of its clip.
std::string ending_of(const fs::path& path) {
  const std::string name = path.filename().string();
  const size_t end = std::min(name.find('.'), name.size());
  return name.substr(end);
}

/// Whether another chain drew what a file of this ending belongs to.
bool is_of_chain(const std::string& ending, const char* plain) {
  return ending.ends_with(plain) && ending != plain;
}

std::map<std::string, std::string> with_count(std::map<std::string, std::string> metadata,
                                              const SkippedBlocks& skipped) {
  metadata.merge(to_metadata(skipped));
  return metadata;
}

}  // namespace

SpeechFolder::SpeechFolder(fs::path folder, const Log& log, const std::string& chain)
    : folder_(std::move(folder)),
      piece_((chain.empty() ? "" : "." + chain) + kPiece),
      motion_((chain.empty() ? "" : "." + chain) + kMotion) {
  fs::create_directories(folder_);
  remove_damaged(log);
  keeps_latents_ = !chain.empty() || holds_latents_of_chain();
  remove_leftovers();
}

SpeechFolder::~SpeechFolder() {
  std::error_code ignored;
  fs::remove(folder_, ignored);  // where nothing is in it
}

/// Whatever else lies in a folder of this name is not ours.
template <typename Unwanted>
void SpeechFolder::remove_where(Unwanted unwanted) const {
  std::error_code ignored;
  for (const auto& entry : fs::directory_iterator(folder_, ignored))
    if (entry.path().filename().string().starts_with(kPrefix) && unwanted(entry.path()))
      fs::remove(entry.path(), ignored);
}

/// What a disk has damaged counts as absent, and is rendered again.
void SpeechFolder::remove_damaged(const Log& log) const {
  const int64_t before = finished();
  std::vector<std::string> damaged;
  remove_where([&](const fs::path& path) {
    const std::string name = path.filename().string();
    if (!name.ends_with(kLatents) || is_undamaged(path)) return false;
    damaged.push_back(name);
    return true;
  });
  std::sort(damaged.begin(), damaged.end());
  const int64_t lost = before - finished();
  for (const std::string& name : damaged) {
    const bool motion = name.ends_with(kMotion);
    const std::string made_again = !motion     ? "what it held is made again"
                                   : lost == 0 ? "the one after it serves"
                                   : lost == 1 ? "1 finished clip is made again"
                                               : std::to_string(lost) + " finished clips are made again";
    log("note", {{"subject", "work"}, {"text", "the kept file " + name + " is damaged: " + made_again}});
  }
}

/// Whether latents lie there that no job without a chain leaves: of clips after the one that comes next.
bool SpeechFolder::holds_latents_of_chain() const {
  const int64_t clips = finished();
  std::error_code ignored;
  for (const auto& entry : fs::directory_iterator(folder_, ignored))
    if (ending_of(entry.path()) == kLatents && entry.path() > file(clips + 1, "")) return true;
  return false;
}

/// A kill comes between the file that makes others unneeded and their removal, or while one is written. What other chains
/// have drawn is made again from latents.
void SpeechFolder::remove_leftovers() const {
  const int64_t clips = finished();
  const fs::path next = file(clips, ""), oldest = file(std::max<int64_t>(clips - kGenerations, 0), "");
  remove_where([&](const fs::path& path) {
    const std::string ending = ending_of(path);
    if (ending.ends_with(".part")) return true;
    if (ending == piece_) return false;
    if (ending == motion_) return path < oldest || path > next;
    if (is_of_chain(ending, kPiece) || is_of_chain(ending, kMotion)) return true;
    if (ending == kLatents) return path < next && !keeps_latents_;
    return ending == kState && path < next;
  });
  if (fs::exists(file(clips, kLatents))) fs::remove(file(clips, kState));
}

fs::path SpeechFolder::file(int64_t clip, const std::string& ending) const {
  char name[32];
  std::snprintf(name, sizeof name, "%s%05lld", kPrefix, (long long)clip);
  return folder_ / (std::string(name) + ending);
}

int64_t SpeechFolder::finished() const {
  int64_t count = 0;
  while (fs::exists(piece(count))) ++count;
  // The piece is there before the frames that the next clip needs.
  while (count > 0 && !fs::exists(file(count - 1, motion_))) --count;
  return count;
}

std::string SpeechFolder::piece(int64_t clip) const {
  return file(clip, piece_).string();
}

void SpeechFolder::finish(int64_t clip, const at::Tensor& motion, const AttentionChoices& attention,
                          const SkippedBlocks& skipped, const at::Tensor& last, const at::Tensor& quality) const {
  // First, so that the disk never holds more than it is meant to.
  if (clip >= kGenerations) fs::remove(file(clip - kGenerations, motion_));
  std::map<std::string, at::Tensor> kept = {{"motion", motion.defined() ? motion : at::zeros({1})}};
  if (last.defined()) kept["last_frame"] = last;
  if (quality.defined()) kept["quality"] = quality;
  write_with_digest(file(clip, motion_), kept, with_count(attention, skipped));
  if (!keeps_latents_) fs::remove(file(clip, kLatents));
}

MotionBuffer SpeechFolder::motion() const {
  return MotionBuffer(Checkpoint::open(file(finished() - 1, motion_)).map("motion").clone());
}

at::Tensor SpeechFolder::last_frame() const {
  return Checkpoint::open(file(finished() - 1, motion_)).map("last_frame").clone();
}

at::Tensor SpeechFolder::quality() const {
  const int64_t clips = finished();
  if (clips == 0) return {};
  const Checkpoint kept = Checkpoint::open(file(clips - 1, motion_));
  return kept.tensors().count("quality") ? kept.map("quality").clone() : at::Tensor();
}

/// Of states, latents and motion.
std::vector<std::pair<fs::path, std::map<std::string, std::string>>> SpeechFolder::metadata() const {
  std::vector<std::pair<fs::path, std::map<std::string, std::string>>> all;
  std::error_code ignored;
  for (const auto& entry : fs::directory_iterator(folder_, ignored)) {
    const std::string name = entry.path().filename().string();
    if (name.starts_with(kPrefix) && name.ends_with(kLatents))
      all.emplace_back(entry.path(), read_safetensors_metadata(MappedFile::open(entry.path())));
  }
  return all;
}

AttentionChoices SpeechFolder::attention() const {
  AttentionChoices choices;
  for (auto& [path, fields] : metadata()) {
    std::erase_if(fields, [](const auto& field) { return is_skipped_count(field.first); });
    choices.merge(fields);
  }
  return choices;
}

/// Each file counts from the first clip on: the newest has seen the most blocks. A state may wait for a clip before it
/// that is made again, and has counted that one.
SkippedBlocks SpeechFolder::skipped(int64_t clip) const {
  SkippedBlocks most;
  for (const auto& [path, fields] : metadata())
    if (const SkippedBlocks found = skipped_in(fields); path < file(clip + 1, "") && found.all > most.all) most = found;
  return most;
}

std::optional<at::Tensor> SpeechFolder::latents(int64_t clip) const {
  const fs::path path = file(clip, kLatents);
  if (!fs::exists(path)) return std::nullopt;
  return Checkpoint::open(path).map("latents").clone();
}

std::optional<Sampling> SpeechFolder::running(int64_t clip, const Schedule& schedule, at::Device device,
                                              std::optional<FreshNoise> noise) const {
  const fs::path path = file(clip, kState);
  if (!fs::exists(path)) return std::nullopt;
  return load_sampling(path, schedule, device, noise);
}

std::optional<int64_t> SpeechFolder::running_step(int64_t clip) const {
  const fs::path path = file(clip, kState);
  return fs::exists(path) ? std::optional(saved_step(path)) : std::nullopt;
}

void SpeechFolder::save_running(int64_t clip, const Sampling& state, const AttentionChoices& attention,
                                const SkippedBlocks& skipped) const {
  save_sampling(file(clip, kState), state, with_count(attention, skipped));
}

void SpeechFolder::save_latents(int64_t clip, const at::Tensor& latents, const AttentionChoices& attention,
                                const SkippedBlocks& skipped) const {
  write_with_digest(file(clip, kLatents), {{"latents", latents}}, with_count(attention, skipped));
  fs::remove(file(clip, kState));
}

int64_t SpeechFolder::sampled() const {
  const int64_t first = finished();
  int64_t count = 0;
  while (fs::exists(file(first + count, kLatents))) ++count;
  return count;
}

void SpeechFolder::forget_clips() const {
  remove_where([&](const fs::path& path) {
    const std::string ending = ending_of(path);
    return !keeps_latents_ || ending == piece_ || ending == motion_;
  });
}

}  // namespace wan
