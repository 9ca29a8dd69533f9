#include "models/weights/convert/part_file.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <fstream>
#include <stdexcept>
#include <system_error>

#include "models/files/atomic_file.h"
#include "models/files/error.h"

namespace wan::convert {
namespace {

namespace fs = std::filesystem;

[[noreturn]] void fail(const fs::path& path, int error) {
  const std::string text =
      "[" + shown_name(path.string()) + "] cannot be written: " + std::generic_category().message(error);
  if (error == ENOSPC || error == EDQUOT) throw DiskFull(text + "; make room, then the same command goes on");
  throw std::runtime_error(text);
}

int open_file(const fs::path& path, int flags) {
  const int file = open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW | flags, 0666);
  if (file < 0) fail(path, errno);
  return file;
}

void write_all(int file, const fs::path& path, const char* data, size_t size, uint64_t offset) {
  while (size > 0) {
    const ssize_t written = pwrite(file, data, size, off_t(offset));
    if (written < 0 && errno != EINTR) fail(path, errno);
    if (written > 0) data += written, size -= size_t(written), offset += uint64_t(written);
  }
}

}  // namespace

void check_space(const fs::path& out, uint64_t size) {
  constexpr uint64_t kMargin = 64 << 20;
  std::error_code unknown;
  const fs::path folder = out.has_parent_path() ? out.parent_path() : ".";
  const fs::space_info space = fs::space(folder, unknown);
  struct stat part {};
  const bool begun = stat((out.string() + ".part").c_str(), &part) == 0;
  const uint64_t missing = missing_bytes(size, begun ? uint64_t(part.st_blocks) * 512 : 0);
  if (unknown || space.available >= missing + kMargin) return;
  throw std::runtime_error("[" + shown_name(out.string()) + "] takes " + std::to_string(missing >> 20) +
                           " MB more, and its disk has " + std::to_string(space.available >> 20) +
                           " MB free; make room, or name a file on another disk");
}

PartFile::PartFile(fs::path out, const std::string& key, uint64_t size)
    : out_(std::move(out)), part_(out_.string() + ".part"), notes_(out_.string() + ".part.done") {
  try {
    open_locked();
    load(key);
    if (ftruncate(file_, off_t(size)) != 0) fail(part_, errno);
  } catch (...) {
    close_all();
    throw;
  }
}

PartFile::~PartFile() {
  close_all();
}

void PartFile::close_all() {
  if (notes_file_ >= 0) close(notes_file_);
  if (file_ >= 0) close(file_);
  notes_file_ = file_ = -1;
}

// Between opening and locking, another run may have renamed the file to its place or removed it: the lock is then on a file
// that has this name no more.
void PartFile::open_locked() {
  for (;;) {
    file_ = open_file(part_, 0);
    if (flock(file_, LOCK_EX | LOCK_NB) != 0)
      throw std::runtime_error("[" + shown_name(out_.string()) +
                               "] is written by another run; wait for it, or take another name");
    struct stat locked {}, named {};
    if (fstat(file_, &locked) != 0) fail(part_, errno);
    if (lstat(part_.c_str(), &named) == 0 && named.st_dev == locked.st_dev && named.st_ino == locked.st_ino) return;
    close(file_);
    file_ = -1;
  }
}

void PartFile::load(const std::string& key) {
  std::ifstream lines(notes_, std::ios::binary);
  std::string line;
  uint64_t whole = 0;  // bytes of lines that can be read
  const bool same = std::getline(lines, line) && line == key && !lines.eof();
  if (same) whole = key.size() + 1;
  while (same && std::getline(lines, line) && !lines.eof()) {  // eof: half a line, of a run that was killed
    const nlohmann::json note = nlohmann::json::parse(line, nullptr, /*allow_exceptions=*/false);
    if (!note.is_object() || !note.contains("piece") || !note.at("piece").is_string()) break;
    done_[note.at("piece").get<std::string>()] = note;
    whole += line.size() + 1;
  }
  notes_file_ = open_file(notes_, 0);
  if (ftruncate(notes_file_, off_t(whole)) != 0) fail(notes_, errno);
  if (!same) append(key);
}

void PartFile::append(const std::string& line) {
  const std::string bytes = line + "\n";
  const off_t end = lseek(notes_file_, 0, SEEK_END);
  write_all(notes_file_, notes_, bytes.data(), bytes.size(), uint64_t(end));
}

const nlohmann::json* PartFile::done(const std::string& piece) const {
  const auto found = done_.find(piece);
  return found == done_.end() ? nullptr : &found->second;
}

void PartFile::write(const void* data, size_t size, uint64_t offset) {
  write_all(file_, part_, static_cast<const char*>(data), size, offset);
}

void PartFile::note(const std::string& piece, const nlohmann::json& fields) {
  if (fdatasync(file_) != 0 && errno != EINVAL) fail(part_, errno);
  nlohmann::json note = fields;
  note["piece"] = piece;
  append(note.dump());
  done_[piece] = note;
}

void PartFile::finish() {
  if (fsync(file_) != 0 && errno != EINVAL) fail(part_, errno);
  // Notes first: once the name is free another run may take it, and would take them for its own file's.
  std::error_code ignored;
  fs::remove(notes_, ignored);
  fs::rename(part_, out_);
  sync_folder(out_.parent_path().string());
}

void PartFile::discard() {
  std::error_code ignored;
  fs::remove(notes_, ignored);
  fs::remove(part_, ignored);
}

}  // namespace wan::convert
