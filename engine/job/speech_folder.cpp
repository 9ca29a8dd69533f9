#include "engine/job/speech_folder.h"

#include <ATen/ATen.h>
#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstring>
#include <nlohmann/json.hpp>
#include <set>
#include <vector>

#include "engine/base/error.h"
#include "engine/request/files.h"
#include "engine/request/params.h"
#include "models/files/digest.h"
#include "models/files/error.h"
#include "models/weights/checkpoint.h"
#include "models/weights/format/safetensors.h"

namespace wan {

namespace {

namespace fs = std::filesystem;

constexpr const char* kMotion = ".motion.safetensors";
constexpr const char* kLatents = ".safetensors";
constexpr const char* kState = ".sampling.safetensors";
constexpr const char* kFolderEnding = ".clips";

using Note = std::map<std::string, std::string>;

fs::path note_path(const fs::path& work) {
  return work / "record.safetensors";
}

/// What the clips in a folder were made of; empty where nothing says that can be read: such clips are nobody's.
Note read_note(const fs::path& work) {
  try {
    return read_safetensors_metadata(MappedFile::open(note_path(work)));
  } catch (const ModelError&) {
    return {};
  }
}

/// What lies in a folder, as far as it can be read.
std::vector<fs::path> content_of_folder(const fs::path& folder) {
  std::vector<fs::path> paths;
  std::error_code failed;
  for (fs::directory_iterator entry(folder, failed), end; !failed && entry != end; entry.increment(failed))
    paths.push_back(entry->path());
  return paths;
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
  const auto request = values.find("request");
  if (request == values.end() || !request->is_object()) return std::nullopt;
  const auto seed = request->find("seed");
  if (seed == request->end() || !seed->is_number_integer()) return std::nullopt;
  seed->get_to(record.request.seed);
  if (to_text(record) != note.at("wan_infer")) return std::nullopt;
  return record.request.seed;
}

/// With the folder that may be new.
const fs::path& made(const fs::path& folder) {
  fs::create_directories(folder);
  return folder;
}

/// Folders in which a run that draws its seed may find its broken predecessor: its own, and where the output's name
/// holds the seed, those of outputs with other seeds.
std::set<fs::path> predecessors(const Request& request) {
  std::set<fs::path> folders = {clips_path(request.out)};
  const std::string prefix = std::string(task_name(request.task)) + "-", ending = ".mp4";
  const fs::path out = request.out, parent = out.has_parent_path() ? out.parent_path() : ".";
  if (out.filename() != prefix + std::to_string(request.seed) + ending) return folders;
  std::error_code ignored;
  for (const fs::path& path : content_of_folder(parent)) {
    const std::string name = path.filename().string();
    if (name.starts_with(prefix) && name.ends_with(ending + kFolderEnding) && fs::is_directory(path, ignored))
      folders.insert(out.parent_path() / name);
  }
  return folders;
}

}  // namespace

fs::path clips_path(const fs::path& out) {
  return out.string() + kFolderEnding;
}

FolderLock::FolderLock(const fs::path& folder) : file_(open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC)) {
  if (file_ < 0 || flock(file_, LOCK_EX | LOCK_NB) == 0) return;
  close(file_);
  file_ = -1;
}

FolderLock::~FolderLock() {
  if (held()) close(file_);
}

ClipStore::ClipStore(fs::path work) : work_(std::move(work)), lock_(made(work_)) {
  if (!lock_.held()) throw InvalidRequest("out", "is being made by another run: " + work_.string() + " is in use");
}

void ClipStore::begin(const Record& record, const Request& media) const {
  const Note note = note_of(record, media);
  if (read_note(work_) == note) return remove_leftovers();
  const std::set<fs::path> inputs = {media.image_url, media.audio_url, media.pose_video_url};
  clear([&](const fs::path& path) { return inputs.count(path) == 0; });
  write_safetensors(note_path(work_), {{"none", at::zeros({1})}}, note);
}

ClipStore::~ClipStore() {
  if (!holds_work()) remove();
}

/// A kill comes between the file that makes others unneeded and their removal, or while one is written.
void ClipStore::remove_leftovers() const {
  const int64_t clips = finished();
  clear([&](const fs::path& path) {
    const std::string name = path.filename().string();
    if (name.ends_with(".part")) return true;
    if (name.ends_with(kMotion)) return clips == 0 || path != file(clips - 1, kMotion);
    return name.starts_with("clip-") && name.ends_with(kLatents) && path < file(clips, "");
  });
  if (fs::exists(file(clips, kLatents))) fs::remove(file(clips, kState));
}

/// Whatever else lies in a folder of this name is not ours.
void ClipStore::clear(const std::function<bool(const fs::path&)>& unwanted) const {
  std::error_code ignored;
  for (const fs::path& path : content_of_folder(work_)) {
    const std::string name = path.filename().string();
    const bool ours = name.starts_with("clip-") || name.starts_with("record.") || name.find(".input") != name.npos;
    if (ours && unwanted(path)) fs::remove(path, ignored);
  }
}

bool ClipStore::holds_work() const {
  const std::vector<fs::path> paths = content_of_folder(work_);
  return std::any_of(paths.begin(), paths.end(), [](const fs::path& path) {
    const std::string name = path.filename().string();
    return name.starts_with("clip-") && !name.ends_with(".part");
  });
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

void ClipStore::finish(int64_t clip, const at::Tensor& motion, const AttentionChoices& attention) const {
  write_safetensors(file(clip, kMotion), {{"motion", motion.defined() ? motion : at::zeros({1})}}, attention);
  fs::remove(file(clip, kLatents));
  if (clip > 0) fs::remove(file(clip - 1, kMotion));
}

MotionBuffer ClipStore::motion() const {
  return MotionBuffer(Checkpoint::open(file(finished() - 1, kMotion)).map("motion").clone());
}

AttentionChoices ClipStore::attention() const {
  const int64_t clips = finished();
  std::vector<fs::path> saved = {file(clips, kLatents), file(clips, kState)};
  if (clips > 0) saved.push_back(file(clips - 1, kMotion));
  AttentionChoices choices;
  for (const fs::path& path : saved)
    if (fs::exists(path)) choices.merge(read_safetensors_metadata(MappedFile::open(path)));
  return choices;
}

std::optional<at::Tensor> ClipStore::latents(int64_t clip) const {
  const fs::path path = file(clip, kLatents);
  if (!fs::exists(path)) return std::nullopt;
  return Checkpoint::open(path).map("latents").clone();
}

std::optional<Sampling> ClipStore::running(int64_t clip, const std::string& solver, const std::vector<Step>& schedule,
                                           at::Device device) const {
  const fs::path path = file(clip, kState);
  if (!fs::exists(path)) return std::nullopt;
  return load_sampling(path, solver, schedule, device);
}

void ClipStore::save_running(int64_t clip, const Sampling& state, const AttentionChoices& attention) const {
  save_sampling(file(clip, kState), state, attention);
}

void ClipStore::save_latents(int64_t clip, const at::Tensor& latents, const AttentionChoices& attention) const {
  write_safetensors(file(clip, kLatents), {{"latents", latents}}, attention);
  fs::remove(file(clip, kState));
}

void ClipStore::forget_clips() const {
  clear([](const fs::path& path) { return path.filename().string().starts_with("clip-"); });
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
    if (!seed || !has_inputs_of(note, request) || !FolderLock(folder).held()) continue;
    request.seed = *seed;
    request.out = folder.string().substr(0, folder.string().size() - std::strlen(kFolderEnding));
    break;
  }
  return record;
}

}  // namespace wan
