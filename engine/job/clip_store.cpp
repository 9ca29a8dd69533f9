#include "engine/job/clip_store.h"

#include <ATen/ATen.h>

#include <cstdio>
#include <nlohmann/json.hpp>

#include "models/checkpoint.h"

namespace wan {

namespace {

namespace fs = std::filesystem;

using Note = std::map<std::string, std::string>;

fs::path note_path(const fs::path& work) {
  return work / "record.safetensors";
}

/// What the clips in a folder were made of; empty where nothing says.
Note read_note(const fs::path& work) {
  if (!fs::exists(note_path(work))) return {};
  return read_safetensors_metadata(MappedFile::open(note_path(work)));
}

/// The record names the inputs; the files of these names may be others today.
Note note_of(const Record& record, const Request& media) {
  auto content = [](const std::string& path) { return path.empty() ? "" : sha256({MappedFile::open(path)->bytes()}); };
  return {{"wan_infer", to_text(record)},
          {"image_url", content(media.image_url)},
          {"audio_url", content(media.audio_url)},
          {"pose_video_url", content(media.pose_video_url)}};
}

}  // namespace

ClipStore::ClipStore(fs::path work, const Record& record, const Request& media) : work_(std::move(work)) {
  const Note note = note_of(record, media);
  if (read_note(work_) == note) return;
  fs::remove_all(work_);
  fs::create_directories(work_);
  write_safetensors(note_path(work_), {{"none", at::zeros({1})}}, note);
}

fs::path ClipStore::file(int64_t clip, const char* ending) const {
  char name[32];
  std::snprintf(name, sizeof name, "clip-%05lld", (long long)clip);
  return work_ / (std::string(name) + ending);
}

std::optional<at::Tensor> ClipStore::finished(int64_t clip) const {
  const fs::path path = file(clip, ".safetensors");
  if (!fs::exists(path)) return std::nullopt;
  return Checkpoint::open(path).map("latents").clone();
}

std::optional<Sampling> ClipStore::running(int64_t clip, const std::string& solver, const std::vector<Step>& schedule,
                                           at::Device device) const {
  const fs::path path = file(clip, ".sampling.safetensors");
  if (!fs::exists(path)) return std::nullopt;
  return load_sampling(path, solver, schedule, device);
}

void ClipStore::save_running(int64_t clip, const Sampling& state) const {
  save_sampling(file(clip, ".sampling.safetensors"), state);
}

void ClipStore::finish(int64_t clip, const at::Tensor& latents) const {
  write_safetensors(file(clip, ".safetensors"), {{"latents", latents}});
  fs::remove(file(clip, ".sampling.safetensors"));
}

void ClipStore::remove() const {
  fs::remove_all(work_);
}

Record with_kept_seed(Record record, const fs::path& work) {
  if (record.request.seed_given) return record;
  const Note note = read_note(work);
  if (!note.count("wan_infer")) return record;
  // Not by parse_record: another version's note is to be forgotten, not to end this run.
  const nlohmann::json values = nlohmann::json::parse(note.at("wan_infer"), nullptr, false);
  if (!values.is_object()) return record;
  Record kept = record;
  kept.request.seed = values.value("/request/seed"_json_pointer, record.request.seed);
  return to_text(kept) == note.at("wan_infer") ? kept : record;
}

}  // namespace wan
