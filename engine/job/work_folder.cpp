#include "engine/job/work_folder.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <fstream>
#include <random>
#include <sstream>

#include "engine/base/error.h"
#include "engine/base/text.h"
#include "models/files/atomic_file.h"
#include "models/files/error.h"
#include "models/files/json.h"

namespace wan {

namespace {

namespace fs = std::filesystem;
using nlohmann::json;

constexpr const char* kName = "journal.jsonl";
constexpr const char* kJob = "job";
constexpr int kFormat = 1;

[[noreturn]] void cannot_write(const fs::path& path) {
  throw std::runtime_error("[" + shown_path(path.string()) + "] cannot be written: " + std::strerror(errno));
}

std::string content(const fs::path& path) {
  std::ostringstream text;
  text << std::ifstream(path, std::ios::binary).rdbuf();
  return text.str();
}

/// The line's object; discarded where it is none.
json parse_line(std::string_view line) {
  try {
    return parse_json(line, {.bytes = 16 << 20, .depth = 16, .values = 1'000'000});
  } catch (const BrokenJson&) {
    return json(json::value_t::discarded);
  }
}

/// Whether a text without a whole line is what a crash leaves of a new journal: some of its first letters, zeros behind.
bool is_cut_off(std::string_view text) {
  constexpr std::string_view kBegin = "{\"draw\":";
  text = text.substr(0, text.find('\0'));
  return text.starts_with(kBegin) || kBegin.starts_with(text);
}

/// The first line of a journal, discarded where it is no JSON; nothing where a crash cut it off, or the file is new.
std::optional<json> first_line(const std::string& text) {
  const size_t end = text.find('\n');
  if (end == std::string::npos && is_cut_off(text)) return std::nullopt;
  return parse_line(std::string_view(text).substr(0, end));
}

bool is_journal(const json& first) {
  return first.is_object() && first.value("wan_infer_journal", json()) == kFormat &&
         first.value("draw", json()).is_number_unsigned();
}

/// Whether an object is the first line of another program's file. A line without its first letters is no object, and a
/// journal that lost its first line begins with a note.
bool is_foreign(const json& first) {
  return first.is_object() && !first.contains("wan_infer_journal") && !first.contains(kJob);
}

/// The whole lines of a journal.
struct Lines {
  size_t bytes = 0;
  int64_t count = 0;
  bool ended = true;  // none that is damaged follows; the rest of one that was cut off may
};

/// Calls take(note) for each note of a journal's text.
template <typename Take>
Lines read_notes(const std::string& text, Take take) {
  Lines lines;
  for (size_t end; (end = text.find('\n', lines.bytes)) != std::string::npos; lines.bytes = end + 1, ++lines.count) {
    const json line = parse_line(std::string_view(text).substr(lines.bytes, end - lines.bytes));
    // After a power cut the end can be anything, also zeros; what it told is done again.
    lines.ended = line.is_object();
    if (!lines.ended) break;
    if (line.contains(kJob) && line[kJob].is_string()) take(line);
  }
  return lines;
}

bool is_work_file(const std::string& name) {
  return name.find_first_not_of("0123456789abcdef") == 32 && name[32] == '.' && name.find('/') == name.npos;
}

[[noreturn]] void cannot_make(const fs::path& folder, const std::string& field, int error) {
  const fs::path parent = folder.has_parent_path() ? folder.parent_path() : ".";
  const std::string why = std::generic_category().message(error);
  if (error == ENOSPC || error == EDQUOT || error == EIO)
    throw std::runtime_error("[" + shown_name(folder.string()) + "] cannot be made: " + why);
  throw InvalidRequest(field, "must lie in a folder in which files can be made, and " + shown_path(parent.string()) +
                                  " refuses " + shown_path(folder.string()) + ": " + why + "; choose another folder");
}

/// With the folder that may be new.
fs::path made(fs::path folder, const std::string& field) {
  if (!folder.has_filename()) folder = folder.parent_path();
  if (fs::is_directory(folder)) return folder;
  std::error_code error;
  if (folder.has_parent_path()) fs::create_directories(folder.parent_path(), error);
  if (error) cannot_make(folder.parent_path(), field, error.value());
  if (mkdir(folder.c_str(), 0700) != 0 && errno != EEXIST) cannot_make(folder, field, errno);
  return folder;
}

}  // namespace

fs::path WorkFolder::beside(const fs::path& out) {
  return out.string() + ".work";
}

uint64_t WorkFolder::draw_number(const fs::path& folder) {
  const std::optional<json> first = first_line(content(folder / kName));
  if (first && is_journal(*first)) return first->at("draw").get<uint64_t>();
  std::random_device random;
  return uint64_t(random()) << 32 | random();
}

std::optional<json> WorkFolder::peek(const fs::path& folder, const std::string& key) {
  const std::string text = content(folder / kName);
  const std::optional<json> first = first_line(text);
  if (!first || !is_journal(*first)) return std::nullopt;
  std::optional<json> found;
  read_notes(text, [&](const json& note) {
    if (note[kJob] == key) found = note;
  });
  return found;
}

WorkFolder::WorkFolder(fs::path folder, uint64_t draw, std::string field, Broken broken)
    : folder_(made(std::move(folder), field)), field_(std::move(field)), lock_(folder_) {
  if (!fs::is_directory(folder_))
    refuse("must be a folder, and " + shown_path(folder_.string()) + " is a file; remove it");
  if (!lock_.held()) refuse("must be free, and another run works in " + shown_path(folder_.string()) + "; wait for it");
  try {
    open_journal();
    load(draw, broken);
  } catch (...) {
    if (file_ >= 0) close(file_);
    throw;
  }
  remove_where([](const std::string& name) { return name.ends_with(".part"); });
}

WorkFolder::~WorkFolder() {
  if (file_ >= 0) close(file_);
}

void WorkFolder::refuse(const std::string& wrong) const {
  throw InvalidRequest(field_, wrong + (field_ == "work" ? ", or --work names another folder" : ""));
}

void WorkFolder::open_journal() {
  const fs::path path = folder_ / kName;
  file_ = open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
  if (file_ < 0) cannot_write(path);
}

/// Says what is wrong with a journal that is not ours to go on from, and the way out.
void WorkFolder::refuse_journal(const json& first) const {
  const std::string where = shown_path(folder_.string()) + ", and its " + kName;
  if (is_foreign(first))
    refuse("must have a work folder of its own, got " + where + " is another program's; move that file away");
  const bool older = first.is_object() && first.contains("wan_infer_journal");
  const std::string wrong = older ? " is another version's" : " is damaged: it does not begin as it was written";
  refuse("has its unfinished work in " + where + wrong + "; " +
         (field_ == "out" ? "--fresh starts anew" : "without that file it starts anew"));
}

void WorkFolder::begin_journal(uint64_t draw) {
  size_ = 0;
  append({{"wan_infer_journal", kFormat}, {"draw", draw}});
  first_ = size_;
  sync_folder(folder_.string());
  sync_folder(fs::absolute(folder_).parent_path().string());
}

void WorkFolder::load(uint64_t draw, Broken broken) {
  const std::string text = content(folder_ / kName);
  const std::optional<json> first = first_line(text);
  if (!first) return begin_journal(draw);
  if (!is_journal(*first)) {
    if (broken == Broken::Refuse || is_foreign(*first)) refuse_journal(*first);
    return begin_journal(draw);
  }
  if (first->at("draw") != draw) refuse("was begun by another run just now; start again");
  first_ = text.find('\n') + 1;
  const Lines lines = read_notes(text, [&](const json& note) { notes_[note[kJob].get<std::string>()] = note; });
  size_ = lines.bytes;
  if (!lines.ended) damaged_line_ = lines.count + 1;
}

void WorkFolder::append(const json& line) {
  const fs::path path = folder_ / kName;
  const std::string text = line.dump() + "\n";
  // Cut first: an earlier attempt, or a crash, may have left a part of a line.
  if (ftruncate(file_, off_t(size_)) != 0) cannot_write(path);
  for (size_t done = 0; done < text.size();) {
    const ssize_t written = pwrite(file_, text.data() + done, text.size() - done, off_t(size_ + done));
    if (written < 0 && errno != EINTR) cannot_write(path);
    if (written > 0) done += size_t(written);
  }
  if (fdatasync(file_) != 0) cannot_write(path);
  size_ += text.size();
}

void WorkFolder::note(const std::string& key, const json& fields) {
  json line = fields;
  line[kJob] = key;
  append(line);
  notes_[key] = std::move(line);
}

const json* WorkFolder::find(const std::string& key) const {
  auto found = notes_.find(key);
  return found == notes_.end() ? nullptr : &found->second;
}

bool WorkFolder::any_note(const std::function<bool(const json& note)>& wanted) const {
  return std::any_of(notes_.begin(), notes_.end(), [&](const auto& entry) { return wanted(entry.second); });
}

fs::path WorkFolder::file(const std::string& name, const std::string& ending) const {
  return folder_ / (name + "." + ending);
}

void WorkFolder::remove(const std::string& name) const {
  std::error_code ignored;
  if (is_work_file(name)) fs::remove_all(folder_ / name, ignored);
}

template <typename Unwanted>
void WorkFolder::remove_where(Unwanted unwanted) const {
  std::error_code ignored;
  for (const auto& entry : fs::directory_iterator(folder_, ignored)) {
    const std::string name = entry.path().filename().string();
    if (is_work_file(name) && unwanted(name)) remove(name);
  }
}

std::optional<fs::path> WorkFolder::find_file(const std::string& ending) const {
  std::error_code ignored;
  for (const auto& entry : fs::directory_iterator(folder_, ignored)) {
    const std::string name = entry.path().filename().string();
    if (is_work_file(name) && name.ends_with(ending)) return entry.path();
  }
  return std::nullopt;
}

std::optional<fs::path> WorkFolder::latents() const {
  return find_file(".latents.safetensors");
}

bool WorkFolder::holds_steps() const {
  if (latents() || find_file(".sampling.safetensors")) return true;
  std::error_code ignored;
  const std::optional<fs::path> clips = find_file(".clips");
  return clips && !fs::is_empty(*clips, ignored);
}

void WorkFolder::restart() {
  remove_where([](const std::string&) { return true; });
  notes_.clear();
  size_ = first_;
  if (ftruncate(file_, off_t(size_)) != 0) cannot_write(folder_ / kName);
}

void WorkFolder::discard() {
  remove_where([](const std::string&) { return true; });
  std::error_code ignored;
  fs::remove(folder_ / kName, ignored);
  fs::remove(folder_, ignored);  // where nothing else is in it
}

}  // namespace wan
