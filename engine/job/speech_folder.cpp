#include "engine/job/speech_folder.h"

#include <ATen/ATen.h>

#include <cstdio>
#include <vector>

#include "models/weights/checkpoint.h"
#include "models/weights/format/safetensors.h"

namespace wan {

namespace {

namespace fs = std::filesystem;

constexpr const char* kMotion = ".motion.safetensors";
constexpr const char* kLatents = ".safetensors";
constexpr const char* kState = ".sampling.safetensors";
constexpr const char* kPrefix = "clip-";

}  // namespace

SpeechFolder::SpeechFolder(fs::path folder) : folder_(std::move(folder)) {
  fs::create_directories(folder_);
  remove_damaged();
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
void SpeechFolder::remove_damaged() const {
  remove_where(
      [](const fs::path& path) { return path.filename().string().ends_with(kLatents) && !is_undamaged(path); });
}

/// A kill comes between the file that makes others unneeded and their removal, or while one is written.
void SpeechFolder::remove_leftovers() const {
  const int64_t clips = finished();
  remove_where([&](const fs::path& path) {
    const std::string name = path.filename().string();
    if (name.ends_with(".part")) return true;
    if (name.ends_with(kMotion)) return clips == 0 || path != file(clips - 1, kMotion);
    return name.ends_with(kLatents) && path < file(clips, "");
  });
  if (fs::exists(file(clips, kLatents))) fs::remove(file(clips, kState));
}

fs::path SpeechFolder::file(int64_t clip, const char* ending) const {
  char name[32];
  std::snprintf(name, sizeof name, "%s%05lld", kPrefix, (long long)clip);
  return folder_ / (std::string(name) + ending);
}

int64_t SpeechFolder::finished() const {
  int64_t count = 0;
  while (fs::exists(piece(count))) ++count;
  // The piece is there before the frames that the next clip needs.
  while (count > 0 && !fs::exists(file(count - 1, kMotion))) --count;
  return count;
}

std::string SpeechFolder::piece(int64_t clip) const {
  return file(clip, ".mp4").string();
}

void SpeechFolder::finish(int64_t clip, const at::Tensor& motion, const AttentionChoices& attention) const {
  write_with_digest(file(clip, kMotion), {{"motion", motion.defined() ? motion : at::zeros({1})}}, attention);
  fs::remove(file(clip, kLatents));
  if (clip > 0) fs::remove(file(clip - 1, kMotion));
}

MotionBuffer SpeechFolder::motion() const {
  return MotionBuffer(Checkpoint::open(file(finished() - 1, kMotion)).map("motion").clone());
}

AttentionChoices SpeechFolder::attention() const {
  const int64_t clips = finished();
  std::vector<fs::path> saved = {file(clips, kLatents), file(clips, kState)};
  if (clips > 0) saved.push_back(file(clips - 1, kMotion));
  AttentionChoices choices;
  for (const fs::path& path : saved)
    if (fs::exists(path)) choices.merge(read_safetensors_metadata(MappedFile::open(path)));
  return choices;
}

std::optional<at::Tensor> SpeechFolder::latents(int64_t clip) const {
  const fs::path path = file(clip, kLatents);
  if (!fs::exists(path)) return std::nullopt;
  return Checkpoint::open(path).map("latents").clone();
}

std::optional<Sampling> SpeechFolder::running(int64_t clip, const Schedule& schedule, at::Device device) const {
  const fs::path path = file(clip, kState);
  if (!fs::exists(path)) return std::nullopt;
  return load_sampling(path, schedule, device);
}

void SpeechFolder::save_running(int64_t clip, const Sampling& state, const AttentionChoices& attention) const {
  save_sampling(file(clip, kState), state, attention);
}

void SpeechFolder::save_latents(int64_t clip, const at::Tensor& latents, const AttentionChoices& attention) const {
  write_with_digest(file(clip, kLatents), {{"latents", latents}}, attention);
  fs::remove(file(clip, kState));
}

void SpeechFolder::forget_clips() const {
  remove_where([](const fs::path&) { return true; });
}

}  // namespace wan
