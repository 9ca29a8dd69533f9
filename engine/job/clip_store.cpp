#include "engine/job/clip_store.h"

#include <ATen/ATen.h>
#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <nlohmann/json.hpp>
#include <set>
#include <vector>

#include "engine/media/digest.h"
#include "engine/request/error.h"
#include "engine/request/files.h"
#include "engine/request/params.h"
#include "models/checkpoint.h"

namespace wan {

namespace {

namespace fs = std::filesystem;

constexpr const char* kMotion = ".motion.safetensors";
constexpr const char* kFolderEnding = ".clips";

using Note = std::map<std::string, std::string>;

fs::path note_path(const fs::path& work) {
  return work / "record.safetensors";
}

/// What the clips in a folder were made of; empty where nothing says.
Note read_note(const fs::path& work) {
  if (!fs::exists(note_path(work))) return {};
  return read_safetensors_metadata(MappedFile::open(note_path(work)));
}

std::string content_of(const std::string& path) {
  return path.empty() ? "" : sha256({MappedFile::open(path)->bytes()});
}

/// The record names the inputs; the files of these names may be others today.
Note note_of(const Record& record, const Request& media) {
  return {{"wan_infer", to_text(record)},
          {"image_url", content_of(media.image_url)},
          {"audio_url", content_of(media.audio_url)},
          {"pose_video_url", content_of(media.pose_video_url)}};
}

/// Whether the inputs that are files here are still those of the note; of URLs the copies are kept beside it.
bool has_inputs_of(const Note& note, const Request& request) {
  auto same = [&](const char* field, const std::string& path) {
    return is_url(path) || (note.count(field) && note.at(field) == content_of(path));
  };
  return same("image_url", request.image_url) && same("audio_url", request.audio_url) &&
         same("pose_video_url", request.pose_video_url);
}

/// The seed with which `record` is the one of the note.
std::optional<int64_t> seed_in(const Note& note, Record record) {
  if (!note.count("wan_infer")) return std::nullopt;
  // Not by parse_record: another version's note is to be forgotten, not to end this run.
  const nlohmann::json values = nlohmann::json::parse(note.at("wan_infer"), nullptr, false);
  if (!values.is_object()) return std::nullopt;
  record.request.seed = values.value("/request/seed"_json_pointer, record.request.seed);
  if (to_text(record) != note.at("wan_infer")) return std::nullopt;
  return record.request.seed;
}

/// The folder, locked; negative where another process holds it or where it cannot be opened.
int locked(const fs::path& folder) {
  const int file = open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (file < 0 || flock(file, LOCK_EX | LOCK_NB) == 0) return file;
  close(file);
  return -1;
}

bool is_free(const fs::path& folder) {
  const int file = locked(folder);
  if (file >= 0) close(file);
  return file >= 0;
}

/// Folders in which a run that draws its seed may find its broken predecessor: its own, and where the output's name
/// holds the seed, those of outputs with other seeds.
std::set<fs::path> predecessors(const Request& request) {
  std::set<fs::path> folders = {clips_path(request.out)};
  const std::string prefix = std::string(task_name(request.task)) + "-", ending = ".mp4";
  const fs::path out = request.out, parent = out.has_parent_path() ? out.parent_path() : ".";
  if (out.filename() != prefix + std::to_string(request.seed) + ending) return folders;
  for (const auto& entry : fs::directory_iterator(parent)) {
    const std::string name = entry.path().filename().string();
    if (name.starts_with(prefix) && name.ends_with(ending + kFolderEnding) && entry.is_directory())
      folders.insert(out.parent_path() / name);
  }
  return folders;
}

}  // namespace

fs::path clips_path(const fs::path& out) {
  return out.string() + kFolderEnding;
}

ClipStore::ClipStore(fs::path work, const Record& record, const Request& media) : work_(std::move(work)) {
  const Note note = note_of(record, media);
  fs::create_directories(work_);
  lock_ = locked(work_);
  if (lock_ < 0) throw InvalidRequest("out", "is being made by another run: " + work_.string() + " is in use");
  if (read_note(work_) == note) return;
  const std::set<fs::path> inputs = {media.image_url, media.audio_url, media.pose_video_url};
  clear([&](const fs::path& path) { return inputs.count(path) == 0; });
  write_safetensors(note_path(work_), {{"none", at::zeros({1})}}, note);
}

ClipStore::~ClipStore() {
  if (lock_ < 0) return;
  if (!holds_work()) remove();
  close(lock_);
}

/// Whatever else lies in a folder of this name is not ours.
void ClipStore::clear(const std::function<bool(const fs::path&)>& unwanted) const {
  std::error_code ignored;
  std::vector<fs::path> ours;
  for (const auto& entry : fs::directory_iterator(work_, ignored)) {
    const std::string name = entry.path().filename().string();
    if (name.starts_with("clip-") || name.starts_with("record.") || name.find(".input") != name.npos)
      ours.push_back(entry.path());
  }
  for (const fs::path& path : ours)
    if (unwanted(path)) fs::remove(path, ignored);
}

bool ClipStore::holds_work() const {
  std::error_code ignored;
  for (const auto& entry : fs::directory_iterator(work_, ignored)) {
    const std::string name = entry.path().filename().string();
    if (name.starts_with("clip-") && !name.ends_with(".part")) return true;
  }
  return false;
}

fs::path ClipStore::file(int64_t clip, const char* ending) const {
  char name[32];
  std::snprintf(name, sizeof name, "clip-%05lld", (long long)clip);
  return work_ / (std::string(name) + ending);
}

int64_t ClipStore::finished() const {
  int64_t count = 0;
  while (fs::exists(piece(count))) ++count;
  // The piece is there before the frames that the next clip needs.
  while (count > 0 && !fs::exists(file(count - 1, kMotion))) --count;
  return count;
}

std::string ClipStore::piece(int64_t clip) const {
  return file(clip, ".mp4").string();
}

void ClipStore::finish(int64_t clip, const at::Tensor& motion,
                       const std::map<std::string, std::string>& attention) const {
  write_safetensors(file(clip, kMotion), {{"motion", motion.defined() ? motion : at::zeros({1})}}, attention);
  fs::remove(file(clip, ".safetensors"));
  if (clip > 0) fs::remove(file(clip - 1, kMotion));
}

MotionBuffer ClipStore::motion() const {
  return MotionBuffer(Checkpoint::open(file(finished() - 1, kMotion)).map("motion").clone());
}

std::map<std::string, std::string> ClipStore::attention() const {
  const int64_t clips = finished();
  return clips > 0 ? read_safetensors_metadata(MappedFile::open(file(clips - 1, kMotion))) : Note();
}

std::optional<at::Tensor> ClipStore::latents(int64_t clip) const {
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

void ClipStore::save_latents(int64_t clip, const at::Tensor& latents) const {
  write_safetensors(file(clip, ".safetensors"), {{"latents", latents}});
  fs::remove(file(clip, ".sampling.safetensors"));
}

void ClipStore::remove() const {
  clear([](const fs::path&) { return true; });
  std::error_code ignored;
  fs::remove(work_, ignored);  // where nothing else is in it
}

Record taken_up(Record record) {
  Request& request = record.request;
  if (request.seed_given) return record;
  for (const fs::path& folder : predecessors(request)) {
    const Note note = read_note(folder);
    const std::optional<int64_t> seed = seed_in(note, record);
    if (!seed || !has_inputs_of(note, request) || !is_free(folder)) continue;
    request.seed = *seed;
    request.out = folder.string().substr(0, folder.string().size() - std::strlen(kFolderEnding));
    break;
  }
  return record;
}

}  // namespace wan
