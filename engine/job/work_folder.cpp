#include "engine/job/work_folder.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
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
// What notes of jobs have, as far as it is known here: places of videos, seen from the folder, and names of work files.
constexpr const char *kDone = "done", *kFirst = "first", *kFiles = "files", *kRefused = "refused";

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

/// Whether a work file holds more the later it was written; others are whole as they are.
bool is_progress(const std::string& name) {
  return name.ends_with(".sampling.safetensors") || name.ends_with(".clips");
}

fs::path whole(const fs::path& path) {
  return fs::absolute(path).lexically_normal();
}

std::set<std::string> files_in(const json& note) {
  const auto found = note.find(kFiles);
  if (found == note.end() || !found->is_array()) return {};
  std::set<std::string> names;
  for (const json& name : *found)
    if (name.is_string()) names.insert(name.get<std::string>());
  return names;
}

/// A file as another name of the same content, or as a copy where the file system has no such names.
void link_or_copy(const fs::path& from, const fs::path& to) {
  std::error_code failed;
  fs::create_hard_link(from, to, failed);
  if (!failed) return;
  fs::copy_file(from, to);
  fs::last_write_time(to, fs::last_write_time(from));
}

/// A work file, or a folder of them.
void link_or_copy_all(const fs::path& from, const fs::path& to) {
  if (!fs::is_directory(from)) return link_or_copy(from, to);
  fs::create_directory(to);
  for (const auto& entry : fs::directory_iterator(from))
    if (entry.is_regular_file()) link_or_copy(entry.path(), to / entry.path().filename());
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

/// The line about the journal, with its end.
std::string begin_line(uint64_t draw) {
  return json{{"wan_infer_journal", kFormat}, {"draw", draw}}.dump() + "\n";
}

/// A journal of one line, whole or not at all; where another process was first, its journal stays.
void place_journal(const fs::path& path, const std::string& line) {
  std::string part = path.string() + ".XXXXXX";  // mkstemp's name is free, whatever other machines begin, too
  const int file = mkstemp(part.data());
  if (file < 0) cannot_write(path);
  const bool written = ::write(file, line.data(), line.size()) == ssize_t(line.size()) && fsync(file) == 0;
  bool placed = written && (::link(part.c_str(), path.c_str()) == 0 || errno == EEXIST);
  if (written && !placed && (errno == EPERM || errno == EOPNOTSUPP || errno == ENOSYS)) {  // no second names here
    const int made = open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    placed = made >= 0 ? ::write(made, line.data(), line.size()) == ssize_t(line.size()) && fsync(made) == 0
                       : errno == EEXIST;
    if (made >= 0) ::close(made);
  }
  const int error = errno;
  close(file);
  unlink(part.c_str());
  errno = error;
  if (!placed) cannot_write(path);
  sync_folder(path.parent_path().string());
  sync_folder(fs::absolute(path.parent_path()).parent_path().string());
}

}  // namespace

fs::path WorkFolder::beside(const fs::path& out) {
  return out.string() + ".work";
}

std::optional<uint64_t> WorkFolder::known_draw(const fs::path& folder) {
  const std::optional<json> first = first_line(content(folder / kName));
  if (!first || !is_journal(*first)) return std::nullopt;
  return first->at("draw").get<uint64_t>();
}

uint64_t WorkFolder::draw_number(const fs::path& folder) {
  if (const std::optional<uint64_t> known = known_draw(folder)) return *known;
  std::random_device random;
  return uint64_t(random()) << 32 | random();
}

uint64_t WorkFolder::agree_on_draw(const fs::path& asked, uint64_t draw) {
  const fs::path folder = made(asked, "work"), path = folder / kName;
  const std::string where = shown_path(folder.string());
  if (!fs::is_directory(folder))
    throw InvalidRequest("work", "must be a folder, and " + where + " is a file; remove it, or --work names another");
  if (!fs::exists(path)) place_journal(path, begin_line(draw));
  if (const std::optional<uint64_t> known = known_draw(folder)) return *known;
  throw InvalidRequest("work", "must have a " + std::string(kName) +
                                   " that begins as wan-infer writes it, and that in " + where +
                                   " does not; move that file away, or --work names another folder");
}

std::set<std::string> WorkFolder::finished_in(const fs::path& folder) {
  const std::string text = content(folder / kName);
  const std::optional<json> first = first_line(text);
  if (!first || !is_journal(*first)) return {};
  std::map<std::string, std::string> places;  // by job: a later note may take it back
  read_notes(text, [&](const json& note) {
    const auto done = note.find(kDone);
    places[note[kJob].get<std::string>()] = done != note.end() && done->is_string() ? done->get<std::string>() : "";
  });
  std::set<std::string> outputs;
  for (const auto& [job, place] : places)
    if (!place.empty()) outputs.insert(whole(folder / place).string());
  return outputs;
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
  append(begin_line(draw));
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

void WorkFolder::append(const std::string& text) {
  const fs::path path = folder_ / kName;
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
  append(line.dump() + "\n");
  notes_[key] = std::move(line);
}

const json* WorkFolder::find(const std::string& key) const {
  auto found = notes_.find(key);
  return found == notes_.end() ? nullptr : &found->second;
}

bool WorkFolder::any_note(const std::function<bool(const json& note)>& wanted) const {
  const auto any_in = [&](const std::map<std::string, json>& notes) {
    return std::any_of(notes.begin(), notes.end(), [&](const auto& entry) { return wanted(entry.second); });
  };
  return any_in(notes_) ||
         std::any_of(others_.begin(), others_.end(), [&](const Other& other) { return any_in(other.notes); });
}

void WorkFolder::look_into(const std::vector<fs::path>& others) {
  const fs::path here = whole(folder_);
  std::vector<std::pair<fs::file_time_type, Other>> found;
  for (const fs::path& path : others) {
    const std::string text = content(path / kName);
    const std::optional<json> first = first_line(text);
    std::error_code absent;
    const fs::file_time_type time = fs::last_write_time(path / kName, absent);
    if (absent || !first || !is_journal(*first)) continue;
    Other other{path, {}};
    read_notes(text, [&](const json& note) {
      json seen = note;
      for (const char* name : {kDone, kFirst})
        if (const auto place = seen.find(name); place != seen.end() && place->is_string())
          *place = whole(path / place->get<std::string>()).lexically_relative(here).string();
      if (const auto refused = seen.find(kRefused); refused != seen.end() && refused->is_object())
        for (const char* name : {"out", "kept"})
          if (const auto place = refused->find(name);
              place != refused->end() && place->is_string() && !place->get_ref<const std::string&>().empty())
            *place = whole(path / place->get<std::string>()).lexically_relative(here).string();
      other.notes[note[kJob].get<std::string>()] = std::move(seen);
    });
    found.emplace_back(time, std::move(other));
  }
  std::stable_sort(found.begin(), found.end(), [](const auto& a, const auto& b) { return a.first > b.first; });
  others_.clear();
  for (auto& [time, other] : found) others_.push_back(std::move(other));
}

const json* WorkFolder::recall(const std::string& key, const std::string& place) {
  for (const Other& other : others_) take_over(key, place, other);
  return find(key);
}

/// A job that is finished anywhere is finished; what is unfinished goes on from whatever has come furthest.
void WorkFolder::take_over(const std::string& key, const std::string& place, const Other& other) {
  const auto is_done = [&](const json& note) {
    const auto done = note.find(kDone);
    return done != note.end() && (place.empty() || *done == place);
  };
  const auto found = other.notes.find(key);
  const json* const own = find(key);
  if (found == other.notes.end() || (own && is_done(*own))) return;
  const json& theirs = found->second;
  if (is_done(theirs)) {
    notes_[key] = theirs;  // in memory alone: it stands in the other journal
    return;
  }
  if (!own || (theirs.contains(kRefused) && !own->contains(kRefused))) {
    note(key, theirs);
  } else {
    json both = *own;
    std::set<std::string> files = files_in(*own);
    files.merge(files_in(theirs));
    if (files != files_in(*own)) {
      both[kFiles] = files;
      note(key, both);
    }
  }
  if (theirs.contains(kDone)) return;
  for (const std::string& name : files_in(theirs)) take_file(name, other);
}

void WorkFolder::take_file(const std::string& name, const Other& other) {
  if (!is_work_file(name) || name.ends_with(".part")) return;
  const fs::path from = other.path / name, to = folder_ / name, part = folder_ / (name + ".part");
  std::error_code absent, absent_here, ignored;
  const fs::file_time_type theirs = fs::last_write_time(from, absent);
  const fs::file_time_type own = fs::last_write_time(to, absent_here);
  if (absent || (!absent_here && (!is_progress(name) || own >= theirs))) return;
  try {
    fs::remove_all(part);
    link_or_copy_all(from, part);
    if (fs::is_directory(to)) fs::remove_all(to);
    fs::rename(part, to);
  } catch (const fs::filesystem_error&) {  // removed meanwhile, or no room
    fs::remove_all(part, ignored);
    return;
  }
  // What computed it: of the file's folder, whatever this one noted of another file.
  const std::string stem = name.substr(0, name.find('.'));
  if (const auto noted = other.notes.find(stem); noted != other.notes.end()) note(stem, noted->second);
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
