#include "engine/residency/verify.h"

#include <algorithm>
#include <map>
#include <set>
#include <system_error>

#include "engine/base/error.h"
#include "engine/base/listing.h"
#include "engine/base/text.h"
#include "engine/residency/checksums.h"
#include "engine/residency/folder_scan.h"
#include "engine/residency/part_paths.h"
#include "models/files/digest.h"
#include "models/files/error.h"
#include "models/files/mapped_file.h"
#include "models/weights/format/layout.h"

namespace wan {
namespace {

namespace fs = std::filesystem;

constexpr size_t kMostFiles = 10'000;
constexpr int64_t kReports = 100;  // of the progress

/// Whether a path is a link that leads nowhere: to nothing, or in a loop.
bool is_dead_link(const fs::path& path) {
  std::error_code error;
  if (!fs::is_symlink(fs::symlink_status(path, error))) return false;
  const fs::file_type type = fs::status(path, error).type();
  return type == fs::file_type::not_found || error == std::errc::too_many_symbolic_link_levels;
}

/// What opening a path that is no readable file says.
std::string why_closed(const fs::path& path) {
  try {
    MappedFile::open(path);
  } catch (const ModelError& error) {
    return error.text;
  }
  return "";
}

/// Visible files under a folder, and links that lead nowhere, relative to it, by name. Folders that are links are not
/// entered.
std::vector<fs::path> files_under(const fs::path& folder) {
  std::vector<fs::path> files;
  std::error_code error;
  fs::recursive_directory_iterator entry(folder, fs::directory_options::skip_permission_denied, error), end;
  for (; !error && entry != end; entry.increment(error)) {
    std::error_code ignored;
    if (is_hidden(entry->path()))
      entry.disable_recursion_pending();
    else if (entry->is_regular_file(ignored) || is_dead_link(entry->path()))
      files.push_back(entry->path().lexically_relative(folder));
    if (files.size() > kMostFiles) throw ModelError(folder.string(), "must be a model folder, holds over 10,000 files");
  }
  if (error) throw ModelError(folder.string(), "must be a folder that can be listed, cannot");
  std::sort(files.begin(), files.end());
  return files;
}

/// The parts of a model that lie behind links to folders, which files_under does not enter.
void add_linked_parts(const fs::path& folder, std::vector<fs::path>& files) {
  const std::set<fs::path> known(files.begin(), files.end());
  const auto add = [&](const fs::path& path) {
    const fs::path file = path.lexically_relative(folder);
    if (!known.contains(file)) files.push_back(file);
  };
  std::error_code ignored;
  for (const ModelPart& part : scan_folder(folder).checkpoints) {
    if (!fs::is_directory(part.path, ignored)) {
      add(part.path);
      continue;
    }
    for (const auto& entry : fs::directory_iterator(part.path, ignored))
      if (!is_hidden(entry.path()) && entry.is_regular_file(ignored)) add(entry.path());
  }
  std::sort(files.begin(), files.end());
}

/// Reports a hundred times, whatever the size.
class Counter {
 public:
  Counter(uint64_t total, Progress& progress) : total_(total), progress_(progress) { report(); }
  void add(uint64_t bytes) {
    done_ += bytes;
    if (done_ * kReports / std::max<uint64_t>(total_, 1) > uint64_t(reported_)) report();
  }

 private:
  void report() {
    reported_ = int64_t(done_ * kReports / std::max<uint64_t>(total_, 1));
    progress_.at({Stage::Load, std::min(reported_, kReports), kReports, "", "verify"});
  }
  uint64_t total_, done_ = 0;
  int64_t reported_ = 0;
  Progress& progress_;
};

/// The entry of a file: by its place, or with `alone` by its name without folders where no other entry has it.
const Checksums::Entry* entry_of(const Checksums& checksums, const fs::path& file, bool alone) {
  const auto found = checksums.entries.find(file.generic_string());
  if (found != checksums.entries.end()) return &found->second;
  if (!alone) return nullptr;
  const Checksums::Entry* only = nullptr;
  for (const auto& [name, entry] : checksums.entries) {
    if (fs::path(name).filename() != file.filename()) continue;
    if (only) return nullptr;
    only = &entry;
  }
  return only;
}

/// Reads a file that a list names.
void compare(const fs::path& path, VerifiedFile& file, Counter& counter) {
  try {
    file.sha256 = content_of_file(path, [&](uint64_t bytes) { counter.add(bytes); }).sha256;
    file.state = file.sha256 == file.wanted ? Verdict::Same : Verdict::Differs;
  } catch (const std::system_error& error) {
    file.state = Verdict::Unreadable;
    file.why = error.code().message();
  }
}

/// A file that a list names and the walk through the folder did not meet: it is hidden, in a folder that cannot be
/// listed, or absent.
VerifiedFile not_seen(const fs::path& folder, const fs::path& name, const Checksums::Entry& entry) {
  VerifiedFile file{
      .name = name.generic_string(), .state = Verdict::Absent, .wanted = entry.sha256, .list = entry.list};
  if (name.empty() || name.is_absolute() || *name.begin() == "..") return file;
  std::error_code error;
  const fs::file_status status = fs::status(folder / name, error);
  if (is_dead_link(folder / name)) {
    file.state = Verdict::Unreadable;
    file.link = true;
    file.why = why_closed(folder / name);
  } else if (fs::is_regular_file(status)) {
    file.state = Verdict::NotListed;  // until it is read
    file.bytes = fs::file_size(folder / name, error);
  } else if (status.type() == fs::file_type::none) {
    file.state = Verdict::Unreadable;
    file.why = error.message();
  }
  return file;
}

/// What is compared: a folder's files, or one file.
struct Subject {
  fs::path folder;
  std::vector<fs::path> files, lists;  // relative to it; `lists` are the files among which lists are looked for
  bool single;
};

Subject subject_of(const fs::path& path) {
  std::error_code error;
  if (fs::is_directory(path, error)) {
    const fs::path folder = (path / "").parent_path();
    Subject subject{folder, {}, files_under(folder), /*single=*/false};
    add_linked_parts(folder, subject.lists);
    for (const fs::path& file : subject.lists)
      if (!is_checksum_list(file)) subject.files.push_back(file);
    return subject;
  }
  if (!fs::is_regular_file(path, error)) {
    if (is_there(path) || !closed_to_us(path).empty()) MappedFile::open(path);  // which says why it cannot be read
    throw ModelError(path.string(), "must be a model folder or file, is neither");
  }
  Subject subject{path.parent_path(), {path.filename()}, {path.filename()}, /*single=*/true};
  for (const auto& entry : fs::directory_iterator(subject.folder.empty() ? "." : subject.folder, error))
    if (is_checksum_list(entry.path())) subject.lists.push_back(entry.path().filename());
  return subject;
}

/// The files that an entry without folders may stand for: those of its name that have no entry of their own. None for
/// an entry with a folder.
std::vector<std::string> meant_by(const fs::path& name, const std::vector<VerifiedFile>& files) {
  std::vector<std::string> found;
  if (name.has_parent_path()) return found;
  for (const VerifiedFile& file : files)
    if (file.wanted.empty() && fs::path(file.name).filename() == name) found.push_back(shown_text(file.name, 120));
  return found;
}

Checksums checksums_for(const Subject& subject, const fs::path& list) {
  Checksums found = list.empty() ? find_checksums(subject.folder, subject.lists) : read_checksums(list);
  if (!found.lists.empty()) return found;
  throw InvalidRequest("verify",
                       "must have checksums to compare with, and there are none (SHA256SUMS, *.sha256 or what hf "
                       "download keeps); inspect DIR --verify FILE names a list");
}

}  // namespace

int64_t Verification::count(Verdict state) const {
  return std::count_if(files.begin(), files.end(), [&](const VerifiedFile& file) { return file.state == state; });
}

bool Verification::is_good() const {
  return count(Verdict::Same) > 0 && count(Verdict::Same) + count(Verdict::NotListed) == int64_t(files.size());
}

void Verification::refuse_uncompared() const {
  if (count(Verdict::Same) + count(Verdict::Differs) > 0) return;
  std::vector<std::string> names;
  for (const std::string& list : lists) names.push_back(shown_text(list, 120));
  throw ModelError(path, "must have a file that " + listed(std::move(names)) +
                             " names and that can be read, has none: nothing was compared; names in a list start at "
                             "the folder that is inspected");
}

Verification verify_files(const fs::path& path, const fs::path& list, Progress& progress) {
  const Subject subject = subject_of(path);
  const Checksums wanted = checksums_for(subject, list);
  Verification result{.path = shown_name(path.string()), .lists = wanted.lists, .files = {}};
  std::map<fs::path, int> named;  // how many of the files have a name: the shards of both experts have the same
  for (const fs::path& file : subject.files) ++named[file.filename()];
  std::set<const Checksums::Entry*> used;
  uint64_t total = 0;
  std::error_code ignored;
  for (const fs::path& file : subject.files) {
    VerifiedFile verified{.name = file.generic_string()};
    if (is_dead_link(subject.folder / file)) {
      verified.link = true;
      verified.why = why_closed(subject.folder / file);
    } else {
      verified.bytes = fs::file_size(subject.folder / file, ignored);
    }
    if (const Checksums::Entry* entry = entry_of(wanted, file, !list.empty() && named[file.filename()] == 1)) {
      used.insert(entry);
      verified.wanted = entry->sha256;
      verified.list = entry->list;
      total += verified.bytes;
      if (verified.link) verified.state = Verdict::Unreadable;
    }
    result.files.push_back(verified);
  }
  const std::vector<VerifiedFile> seen = result.files;
  for (const auto& [name, entry] : wanted.entries) {
    if (subject.single || used.contains(&entry)) continue;
    VerifiedFile file = not_seen(subject.folder, name, entry);
    const auto same_name = named.find(name);
    if (file.state == Verdict::Absent && !list.empty() && same_name != named.end() && same_name->second > 1)
      if (const std::vector<std::string> meant = meant_by(name, seen); meant.size() > 1) {
        file.state = Verdict::Unclear;
        file.why = "could be " + (meant.size() > kListedNames ? listed(meant) : either(meant)) +
                   "; write the folder in the list";
      }
    total += file.bytes;
    result.files.push_back(std::move(file));
  }
  Counter counter(total, progress);
  for (VerifiedFile& file : result.files) {
    if (file.wanted.empty() || file.state != Verdict::NotListed) continue;
    compare(subject.folder / file.name, file, counter);
  }
  return result;
}

}  // namespace wan
