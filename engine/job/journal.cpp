#include "engine/job/journal.h"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <fstream>
#include <random>
#include <sstream>

#include "engine/base/error.h"

namespace wan {

namespace {

namespace fs = std::filesystem;
using nlohmann::json;

constexpr const char* kName = "journal.jsonl";
constexpr int kFormat = 1;

[[noreturn]] void refused(const fs::path& path) {
  throw std::runtime_error("[" + path.string() + "] cannot be written: " + std::strerror(errno));
}

std::string content(const fs::path& path) {
  std::ostringstream text;
  text << std::ifstream(path, std::ios::binary).rdbuf();
  return text.str();
}

/// The line's object; discarded where it is none.
json parse_line(std::string_view line) {
  return json::parse(line.begin(), line.end(), nullptr, false);
}

/// The draw number of a journal's first line; nothing where a crash cut it off, or the file is new.
std::optional<uint64_t> draw_of(const fs::path& path, const std::string& text) {
  const size_t end = text.find('\n');
  if (end == std::string::npos) return std::nullopt;
  const json first = parse_line(std::string_view(text).substr(0, end));
  if (!first.is_object() || first.value("wan_infer_journal", json()) != kFormat ||
      !first.value("draw", json()).is_number_unsigned())
    throw InvalidRequest("work", "must be a folder of its own, got another program's or version's " + path.string() +
                                     "; --work names another");
  return first["draw"].get<uint64_t>();
}

bool is_work_file(const std::string& name) {
  return name.find_first_not_of("0123456789abcdef") == 32 && name[32] == '.' && name.find('/') == name.npos;
}

void sync_folder(const fs::path& folder) {
  const int opened = open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (opened < 0) return;
  fsync(opened);
  close(opened);
}

}  // namespace

uint64_t Journal::draw_number(const fs::path& folder) {
  std::random_device random;
  const uint64_t fresh = uint64_t(random()) << 32 | random();
  return draw_of(folder / kName, content(folder / kName)).value_or(fresh);
}

Journal::Journal(fs::path folder, uint64_t draw) : folder_(std::move(folder)) {
  std::error_code error;
  fs::create_directories(folder_, error);
  if (error) throw std::runtime_error("[" + folder_.string() + "] cannot be made: " + error.message());
  try {
    lock();
    load(draw);
  } catch (...) {
    if (file_ >= 0) close(file_);
    throw;
  }
  remove_parts();
}

Journal::~Journal() {
  close(file_);
}

void Journal::lock() {
  const fs::path path = folder_ / kName;
  file_ = open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0666);
  if (file_ < 0) refused(path);
  if (flock(file_, LOCK_EX | LOCK_NB) == 0) return;
  if (errno != EWOULDBLOCK) refused(path);
  throw InvalidRequest("work", "must be free, and another batch works in " + folder_.string() +
                                   "; wait for it, or --work names another folder");
}

void Journal::load(uint64_t draw) {
  const fs::path path = folder_ / kName;
  const std::string text = content(path);
  const std::optional<uint64_t> kept = draw_of(path, text);
  if (!kept) {
    append({{"wan_infer_journal", kFormat}, {"draw", draw}});
    sync_folder(folder_);
    sync_folder(fs::absolute(folder_).parent_path());
    return;
  }
  if (*kept != draw) throw InvalidRequest("work", "was begun by another batch just now; start again");
  for (size_t end; (end = text.find('\n', size_)) != std::string::npos; size_ = end + 1) {
    const json line = parse_line(std::string_view(text).substr(size_, end - size_));
    // After a power cut the end can be anything, also zeros; what it told is done again.
    if (!line.is_object()) break;
    if (line.contains("job") && line["job"].is_string()) notes_[line["job"].get<std::string>()] = line;
  }
}

void Journal::append(const json& line) {
  const fs::path path = folder_ / kName;
  const std::string text = line.dump() + "\n";
  // Cut first: an earlier attempt, or a crash, may have left a part of a line.
  if (ftruncate(file_, off_t(size_)) != 0) refused(path);
  for (size_t done = 0; done < text.size();) {
    const ssize_t written = pwrite(file_, text.data() + done, text.size() - done, off_t(size_ + done));
    if (written < 0 && errno != EINTR) refused(path);
    if (written > 0) done += size_t(written);
  }
  if (fdatasync(file_) != 0) refused(path);
  size_ += text.size();
}

void Journal::note(const std::string& key, const json& fields) {
  json line = fields;
  line["job"] = key;
  append(line);
  notes_[key] = std::move(line);
}

const json* Journal::find(const std::string& key) const {
  auto found = notes_.find(key);
  return found == notes_.end() ? nullptr : &found->second;
}

fs::path Journal::file(const std::string& name, const std::string& what) const {
  return folder_ / (name + "." + what + ".safetensors");
}

void Journal::remove(const std::string& name) const {
  std::error_code ignored;
  if (is_work_file(name)) fs::remove_all(folder_ / name, ignored);
}

void Journal::remove_parts() const {
  std::error_code ignored;
  for (const auto& entry : fs::directory_iterator(folder_, ignored)) {
    const std::string name = entry.path().filename().string();
    if (is_work_file(name) && name.ends_with(".part")) fs::remove(entry.path(), ignored);
  }
}

}  // namespace wan
